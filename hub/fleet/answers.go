package fleet

import (
	"context"
	"sync"
	"sync/atomic"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// Bounds of the answers to a worker's frames that wait for the link's writer.
const (
	// maxAnswers is how many answers may wait. When so many wait, the storer takes no more
	// frames until the writer has sent them: no answer is ever dropped. Each of the
	// storer's helpers can add one more. The writer and timers can add one for each
	// session of the link, and a hello one for each session that it names.
	maxAnswers = 1000

	// maxDetailBytes bounds the text of an error frame. A JSON error can quote
	// what the worker has sent.
	maxDetailBytes = 512
)

// answers are the hub's answers to frames of the worker. The link's mu guards all fields
// but waiting and room.
type answers struct {
	revoked  []protocol.Revoke
	known    map[protocol.Revoke]struct{} // those in revoked: many frames of one session make one
	problems []protocol.LinkError

	waiting atomic.Int64  // answers that have not been sent
	room    chan struct{} // holds a token when some were sent

	once sync.Once
	lost chan struct{} // closed by abandon
}

func newAnswers() *answers {
	return &answers{known: make(map[protocol.Revoke]struct{}), room: make(chan struct{}, 1), lost: make(chan struct{})}
}

// abandon says that nothing more can be sent, so await must not wait. The number of
// answers stays bounded, since the link reads no more frames.
func (a *answers) abandon() { a.once.Do(func() { close(a.lost) }) }

// takeLocked gives all answers to the writer, which calls sent after it has sent them.
func (a *answers) takeLocked() ([]protocol.Revoke, []protocol.LinkError) {
	revoked, problems := a.revoked, a.problems
	a.revoked, a.problems = nil, nil
	clear(a.known)
	return revoked, problems
}

func (a *answers) sent(n int) {
	a.waiting.Add(int64(-n))
	signal(a.room)
}

// revokeLocked tells the worker that an assignment is not its own, or not any more.
func (l *link) revokeLocked(r protocol.Revoke) {
	a := l.answers
	if _, ok := a.known[r]; ok {
		return
	}
	a.known[r] = struct{}{}
	a.revoked = append(a.revoked, r)
	a.waiting.Add(1)
	l.kick()
}

// problem tells the worker about a fault in a frame.
func (l *link) problem(code, detail string) {
	l.mu.Lock()
	l.answers.problems = append(l.answers.problems, protocol.LinkError{Code: code, Detail: session.ClipTo(detail, maxDetailBytes)})
	l.answers.waiting.Add(1)
	l.mu.Unlock()
	l.kick()
}

// awaitRoom waits until another answer may be added. The storer and its helpers call it
// before each frame. The writer must not call it: only the writer makes room. If the
// worker takes nothing, the writer ends the link.
func (r receiver) awaitRoom(ctx context.Context) error { return r.answers.await(ctx, maxAnswers-1) }

// await waits until at most so many answers are unsent, or nothing more can be sent.
func (a *answers) await(ctx context.Context, most int64) error {
	for waited := false; ; waited = true {
		if a.waiting.Load() <= most {
			if waited {
				signal(a.room) // for the next goroutine that waits
			}
			return nil
		}
		select {
		case <-a.room:
		case <-a.lost:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
