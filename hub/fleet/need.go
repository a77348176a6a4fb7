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
	trees bool // it works in a worktree: only a worker that makes worktrees may have it
	fork  bool // with load: that is of a session of the user's, which the worker's agents may know

	brings []protocol.MCPServer // without secrets: only a worker that lets the session bring them may have it
}

// unfit says what a session needs that the chosen worker does not have. Nothing was changed.
type unfit need

func (u *unfit) Error() string { return "the worker has not all that the session needs" }

// knows reports whether what a worker lacks was known before: then it was chosen wrongly.
func (n *need) knows(u *unfit) bool {
	return (n.load || !u.load) && (n.trees || !u.trees) && (len(n.brings) > 0 || len(u.brings) == 0)
}

func (n *need) add(u *unfit) {
	n.load, n.fork, n.trees = n.load || u.load, n.fork || u.fork, n.trees || u.trees
	if len(u.brings) > 0 {
		n.brings = u.brings
	}
}

// lacks says what a session needs that the link's worker does not have; nil: nothing.
func lacks(l *link, s *session.State, in session.InAssign) *unfit {
	var u unfit
	if load, fork := needsAgent(s); load && !loads(l, s.Info.UserID, fork) {
		u.load, u.fork = true, fork
	}
	u.trees = s.Info.Worktree != nil && !in.Worktrees
	if servers := s.Info.AgentOptions.MCPServers; len(servers) > 0 {
		if _, refused := in.MCP.Refuses(servers); refused {
			u.brings = servers
		}
	}
	if !u.load && !u.trees && len(u.brings) == 0 {
		return nil
	}
	return &u
}

// runs reports whether the link's worker could run the session if it had free capacity.
func (l *link) runs(n need) bool {
	if !l.serves(n.Waiting) || n.judge && !l.hello.Takes(protocol.WorkerSetOption) || n.load && !loads(l, n.User, n.fork) || n.trees && !makesWorktrees(l) {
		return false
	}
	_, refused := sessionMCP(l.offer.now().details, n.Provider).Refuses(n.brings)
	return !refused
}

// makesWorktrees reports whether the link's worker knows of worktrees.
func makesWorktrees(l *link) bool {
	return slices.Contains(l.hello.Requests, protocol.MethodWorktreeMake)
}

// loads reports whether the link's worker may load what the user's agents keep, or fork it
// for a session of the user that the hub has.
func loads(l *link, user string, fork bool) bool {
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

// someoneFits finds out whether a worker of this node has all that a session needs. If there
// is none, the session waits, and its status says so. A worker of another node may let it
// bring its MCP servers.
func (d dispatcher) someoneFits(ctx context.Context, n need) (there bool, err error) {
	d.mu.Lock()
	for l := range d.links {
		there = there || l.runs(n)
	}
	d.mu.Unlock()
	if there {
		return true, nil
	}
	var in session.Input = session.InNeedsJudge{}
	if n.trees {
		in = session.InNeedsWorktrees{}
	}
	if len(n.brings) > 0 {
		live, err := d.store.Workers(ctx)
		if err != nil {
			return false, err
		}
		for _, w := range live {
			if _, refused := sessionMCP(w.Details, n.Provider).Refuses(n.brings); !refused && w.Node != d.Node && slices.Contains(w.Providers, n.Provider) {
				return false, nil
			}
		}
		in = session.InNeedsMCP{}
	}
	_, _, err = d.engine.Change(ctx, n.ID, in, nil)
	if errors.Is(err, session.ErrNotFound) {
		err = nil
	}
	return false, err
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
