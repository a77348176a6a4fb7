package processtree

import (
	"context"
	"maps"
	"syscall"
	"time"
)

// belowPause is the time between two looks at processes that were asked to end.
const belowPause = 20 * time.Millisecond

// Below is what ran below an agent at one moment. The zero value is nothing.
type Below struct{ known map[incarnation]bool }

// Below remembers what runs below the supervisor now: the agent, and whatever it
// has started.
func (p *Process) Below() Below {
	b := Below{known: make(map[incarnation]bool)}
	p.tree.look(func(root int) { signalDescendants(root, b.known) })
	return b
}

// EndNew ends what came up after b was taken: SIGTERM, and SIGKILL after the grace
// time. The agent and everything that was there before go on. It is for agents
// that leave a tool running when its turn was cancelled. It returns when nothing
// new is alive, or when ctx ends, with what was new at first, at most 64, and the
// number of those that are left.
func (p *Process) EndNew(ctx context.Context, b Below) (ended []Running, left int) {
	ended = p.Running(b)
	over := time.After(p.grace)
	asked := maps.Clone(b.known) // each gets SIGTERM once
	signal := func(root int) { signalDescendants(root, asked, syscall.SIGTERM, syscall.SIGCONT) }
	for none := 0; ; {
		left = 0
		p.tree.look(func(root int) {
			signal(root)
			left = aliveBeside(root, b.known)
		})
		// Twice none, as in tree.kill: one that lost its parent during the look is
		// not met.
		if left > 0 {
			none = 0
		} else if none++; none == 2 {
			return ended, 0
		}
		select {
		case <-ctx.Done():
			return ended, left
		case <-p.done:
			return ended, 0
		case <-over:
			over = nil
			signal = func(root int) { signalDescendants(root, maps.Clone(b.known), syscall.SIGKILL) }
		case <-time.After(belowPause):
		}
	}
}

// look calls f with the supervisor's number, unless that may be somebody else's.
func (t *tree) look(f func(root int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reaped {
		f(t.cmd.Process.Pid)
	}
}

// aliveBeside counts the living descendants of root that are not known.
func aliveBeside(root int, known map[incarnation]bool) (alive int) {
	all := maps.Clone(known)
	signalDescendants(root, all)
	for id := range all {
		if known[id] {
			continue
		}
		if st, err := readStatus(id.pid); err == nil && st.start == id.start && !st.dead() {
			alive++
		}
	}
	return alive
}
