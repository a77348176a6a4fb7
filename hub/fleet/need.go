package fleet

import (
	"context"
	"errors"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// need is a session that waits, and what its worker must be able to do.
type need struct {
	store.Waiting
	judge bool // the session names a mode: only a worker that judges modes may have it
	load  bool // it takes up one of its agent's: only a worker that may load that may have it
	fork  bool // with load: that is of a session of the user's, which the worker's agents may know
}

// runs reports whether the link's worker could run the session if it had free capacity.
func (l *link) runs(n need) bool {
	return l.serves(n.Waiting) && (!n.judge || l.hello.Takes(protocol.WorkerSetOption)) && (!n.load || l.loads(n.User, n.fork))
}

// loads reports whether the link's worker may load what the user's agents keep, or fork it
// for a session of the user that the hub has.
func (l *link) loads(user string, fork bool) bool {
	return slices.Contains(l.hello.Requests, protocol.MethodAgentSessions) && (fork || l.fleet.mayTakeUp(l.key.only(), user))
}

// needsAgent reports whether a session needs a worker that loads or forks its agent's.
func needsAgent(s *session.State) (load, fork bool) {
	return s.Load != "" || s.ForkOf != "", s.ForkOf != ""
}

// mayTakeUp reports whether a user may see and take up what agents keep on a worker that is
// for the sessions of only. The agents of a worker for everybody keep everybody's sessions.
func (f *Fleet) mayTakeUp(only, user string) bool {
	return f.cfg.ShareAgentSessions || only != "" && only == user
}

// needsLoad finds out, for a session that a worker may not load, whether another one may.
// If none may, the session waits, and its status says so.
func (d dispatcher) needsLoad(ctx context.Context, n need) (there bool, err error) {
	d.mu.Lock()
	for l := range d.links {
		there = there || l.runs(n)
	}
	d.mu.Unlock()
	if !there {
		_, _, err = d.engine.Change(ctx, n.ID, session.InNeedsJudge{}, nil)
		if errors.Is(err, session.ErrNotFound) {
			err = nil
		}
	}
	return there, err
}

// needs says what a waiting session needs. It reads the session only if a worker of an
// earlier version could get it. Such a worker would give the agent any mode. ok is false if
// there are only such workers, and the session names a mode: then it waits, and its status
// says so.
func (d dispatcher) needs(ctx context.Context, w store.Waiting) (n need, ok bool, err error) {
	n = need{Waiting: w}
	older, newer := d.versions(w)
	if !older {
		return n, true, nil
	}
	snap, err := d.store.Load(ctx, w.ID)
	switch {
	case errors.Is(err, session.ErrNotFound): // the rules say so too
		return n, true, nil
	case err != nil:
		return n, false, err
	}
	n.judge = snap.State.AgentOptions().Mode != ""
	if !n.judge || newer {
		return n, true, nil
	}
	_, _, err = d.engine.Change(ctx, w.ID, session.InNeedsJudge{}, nil)
	if errors.Is(err, session.ErrNotFound) {
		err = nil
	}
	return n, false, err
}

// versions reports whether workers that do not judge modes could run a waiting session, and
// whether workers that do could.
func (d dispatcher) versions(w store.Waiting) (older, newer bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.links {
		if l.serves(w) {
			judges := l.hello.Takes(protocol.WorkerSetOption)
			older, newer = older || !judges, newer || judges
		}
	}
	return older, newer
}
