package worker

import (
	"strings"
	"sync"
)

// lastWords keeps the end of an agent's output on stderr. Its methods may be called
// concurrently.
type lastWords struct {
	limit int

	mu  sync.Mutex
	buf []byte // at most 2*limit
	cut bool
}

func (t *lastWords) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > t.limit {
		p = p[len(p)-t.limit:]
		t.buf, t.cut = t.buf[:0], true
	}
	if len(t.buf)+len(p) > 2*t.limit {
		keep := max(0, t.limit-len(p))
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-min(keep, len(t.buf)):]...)
		t.cut = true
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

// String returns the last limit bytes as text that can be shown. It begins with a line if
// one begins there.
func (t *lastWords) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, cut := t.buf, t.cut
	if len(b) > t.limit {
		b, cut = b[len(b)-t.limit:], true
	}
	s := string(b)
	if cut {
		if _, rest, ok := strings.Cut(s, "\n"); ok && strings.TrimSpace(rest) != "" {
			s = rest
		}
	}
	return strings.TrimSpace(printable(s))
}
