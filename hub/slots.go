package hub

import (
	"fmt"
	"sync"

	"sessionhub/metrics"
)

// slots counts the streams of this node, under their session. A place is taken
// before a stream starts and given back once.
type slots struct {
	mu    sync.Mutex
	by    map[string]int
	total int
}

// take takes a place, or refuses with ErrConnectionLimit and the limit that was
// reached. A limit of 0 is none.
func (s *slots) take(session string, perSession, perNode int) (metrics.Limit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if perSession > 0 && s.by[session] >= perSession {
		return metrics.LimitConnectionsPerSession, fmt.Errorf("%w: the session has %d, which is the most", ErrConnectionLimit, perSession)
	}
	if perNode > 0 && s.total >= perNode {
		return metrics.LimitConnections, fmt.Errorf("%w: this node has %d, which is the most", ErrConnectionLimit, perNode)
	}
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.by[session]++
	s.total++
	return "", nil
}

func (s *slots) give(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.by[session]--; s.by[session] == 0 {
		delete(s.by, session)
	}
}
