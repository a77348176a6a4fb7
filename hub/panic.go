package hub

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// How far a fault of this program reaches. A panic ends the smallest thing that
// its goroutine works for, which then begins anew: a stream, a worker's link, the
// look at one session, one round of a loop of the hub's. Each is logged with its
// stack. What is done under a lock of the hub's without a defer is reads and writes
// of fields, which do not panic: a lock that stayed locked would be worse than the
// process's end.

// errPanic is what guard returns for a panic, which it has logged.
var errPanic = errors.New("a panic: see the log")

// guard calls f, and logs its panic. args are for the log.
func (h *Hub) guard(where string, f func() error, args ...any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			h.logPanic(where, p, args...)
			err = errPanic
		}
	}()
	return f()
}

// logPanic is called by the deferred function that has recovered: the stack is
// still the one that panicked.
func (h *Hub) logPanic(where string, p any, args ...any) {
	h.cfg.Log.Error("panic in "+where, append(args, "panic", p, "stack", string(debug.Stack()))...)
}

// loopPause is how long a loop of the hub's rests behind a panic.
const loopPause = time.Second

// keep runs a loop until ctx ends, which is when it returns by itself. After a
// panic it is started again: without it sessions would wait for ever, and a process
// that ended would take every session of the node with it, and perhaps those of the
// next node that meets the same one.
func (h *Hub) keep(ctx context.Context, loop string, run func(context.Context)) {
	for h.guard(loop, func() error { run(ctx); return nil }) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(loopPause):
		}
	}
}

// guard calls f, which works for the link: its panic ends the link, and no more
// than that. It is the error then.
func (l *link) guard(f func() error) error {
	err := l.hub.guard("a worker link", f, "worker", l.hello.Worker, "key", l.key.Name)
	if errors.Is(err, errPanic) {
		err = protocol.LinkError{Code: protocol.LinkInternal, Detail: "a fault of the node: come back"}
		l.end(err)
	}
	return err
}

// fail cuts all streams of a tail after a panic in what is done for all of them,
// which has left nobody knows what undone. They resume.
func (t *tail) fail() {
	t.mu.Lock()
	all := append([]*Subscriber(nil), t.subs...)
	t.mu.Unlock()
	for _, s := range all {
		s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal})
		_ = t.hub.guard("a stream", func() error { s.sink.Cut(); return nil }, "session", t.session)
	}
}
