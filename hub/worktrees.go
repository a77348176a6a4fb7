package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Worktrees are the git worktrees of sessions, which their workers keep. All methods may be
// called concurrently. The errors are those of fleet.Fleet.Ask.
type Worktrees struct{ *Commands }

// errNoTree says that a session works in its directory itself.
var errNoTree = &protocol.RequestError{Code: protocol.CodeNotFound, Detail: "the session has no worktree of its own"}

// maxBranchBytes bounds the names of branches that a caller gives.
const maxBranchBytes = 200

func checkBranch(field, name string) error {
	if err := session.CheckOptional(field, name, maxBranchBytes); err != nil {
		return fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return nil
}

// Prepare has a worker make a worktree in advance, for a session that the user is about to
// create. It counts as a session for the user's rate.
func (w Worktrees) Prepare(ctx context.Context, user string, r protocol.PrepareWorktreeRequest) (out protocol.PreparedWorktree, err error) {
	if err := w.env.Ready(); err != nil {
		return out, err
	}
	if err := w.allow(ctx, metrics.LimitSessionRate, user, w.cfg.Limits.Sessions); err != nil {
		return out, err
	}
	info, err := w.newInfo(ctx, user, protocol.CreateRequest{Provider: r.Provider, WorkingDirectory: r.WorkingDirectory})
	if err == nil {
		err = checkBranch("base", r.Base)
	}
	if err != nil {
		return out, err
	}
	return out, w.askMaker(ctx, info, protocol.MethodWorktreePrepare, protocol.WorktreeMakeParams{Base: r.Base}, &out)
}

// askMaker asks a worker of the provider that makes worktrees.
func (w Worktrees) askMaker(ctx context.Context, info session.Info, method protocol.WorkerMethod, params, out any) error {
	err := w.fleet.Ask(ctx, fleet.Asked{Provider: info.Provider, User: info.UserID}, protocol.WorkerRequest{
		Method: method, SessionID: info.SessionID, Provider: info.Provider, WorkingDirectory: info.WorkingDirectory, Params: protocol.Marshal(params),
	}, out)
	if errors.Is(err, fleet.ErrNoWorker) {
		return fmt.Errorf("%w: no worker with this provider makes worktrees; it has to be of this version or newer", err)
	}
	return err
}

var errWorkerAnswer = &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: "the worker's answer cannot be read"}

// make has a worker make the worktree of a session that is about to be created. A worker
// that takes longer answers before the worktree is there.
func (w Worktrees) make(ctx context.Context, info *session.Info, r protocol.CreateRequest) (session.InWorktree, error) {
	var note session.InWorktree
	switch err := errors.Join(checkBranch("worktree.base", r.Worktree.Base), checkBranch("worktree.branch", r.Worktree.Branch)); {
	case err != nil:
		return note, err
	case !r.Worktree.Wanted:
		return note, nil
	case r.AgentSession != "":
		return note, fmt.Errorf("%w: a session that takes up one of its agent's works where that began: it has no worktree", session.ErrInvalid)
	}
	var made protocol.WorktreeMade
	params := protocol.WorktreeMakeParams{Base: r.Worktree.Base, Branch: r.Worktree.Branch}
	if err := w.askMaker(ctx, *info, protocol.MethodWorktreeMake, params, &made); err != nil {
		return note, err
	}
	if made.Branch == "" || made.Commit == "" || len(made.Branch)+len(made.Base)+len(made.Commit) > 4096 || len(made.Workspace) > protocol.MaxWorkspaceBytes ||
		strings.ContainsFunc(made.Branch+made.Base+made.Commit+made.Workspace, unicode.IsControl) {
		return note, errWorkerAnswer
	}
	info.Worktree = &session.Worktree{ID: info.SessionID, Branch: made.Branch, Base: made.Base, Commit: made.Commit, Workspace: made.Workspace}
	return session.InWorktree{Directory: made.Directory}, nil
}

// Status says what git says of a session's worktree now.
func (w Worktrees) Status(ctx context.Context, s *session.State) (out protocol.WorktreeStatus, err error) {
	if s.Info.Worktree == nil {
		return out, errNoTree
	}
	if s.Tree.State == protocol.WorktreeDiscarded {
		out.SessionWorktree = *session.ViewOfTree(s)
		return out, nil
	}
	if err := (Files{w.rooms}).ask(ctx, s, protocol.MethodWorktreeStatus, nil, &out); err != nil {
		return out, err
	}
	if s.Tree.State != "" {
		out.State = s.Tree.State
	}
	return out, w.note(ctx, s, session.InWorktree{Directory: out.Directory})
}

// Act merges, keeps or throws away the work of a session. ErrBusy: the agent is at work.
func (w Worktrees) Act(ctx context.Context, s *session.State, r protocol.WorktreeActionRequest) (out protocol.WorktreeStatus, err error) {
	switch r.Action {
	case protocol.WorktreeMerge, protocol.WorktreeKeep, protocol.WorktreeDiscard:
	default:
		return out, fmt.Errorf("%w: action must be one of merge, keep, discard", session.ErrInvalid)
	}
	if err := errors.Join(session.CheckOptional("version", r.Version, protocol.MaxNameBytes), session.CheckLength("message", r.Message, protocol.MaxWorktreeMessage)); err != nil {
		return out, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	switch {
	case s.Info.Worktree == nil:
		return out, errNoTree
	case s.Tree.State == protocol.WorktreeDiscarded && r.Action == protocol.WorktreeDiscard:
		out.SessionWorktree = *session.ViewOfTree(s) // a repeat
		return out, nil
	case r.Action != protocol.WorktreeKeep && s.Busy():
		return out, session.ErrBusy
	}
	if err := (Files{w.rooms}).ask(ctx, s, protocol.MethodWorktreeAct, r, &out); err != nil {
		return out, err
	}
	state := map[protocol.WorktreeAction]protocol.WorktreeState{
		protocol.WorktreeMerge: protocol.WorktreeMerged, protocol.WorktreeKeep: protocol.WorktreeKept, protocol.WorktreeDiscard: protocol.WorktreeDiscarded,
	}[r.Action]
	out.State = state
	return out, w.note(ctx, s, session.InWorktree{State: state, Directory: out.Directory})
}

// note keeps what a worker has said. A session that was deleted meanwhile does not matter.
func (w Worktrees) note(ctx context.Context, s *session.State, in session.InWorktree) error {
	_, _, err := w.engine.Change(ctx, s.Info.SessionID, in, nil)
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	return err
}

// Bounds of the sessions whose workers are told that they have ended.
const (
	maxEndedTrees   = 1024 // that wait
	maxToldTogether = 4
)

// treeEnded has the worker told that a session has ended, if it worked in a worktree. It does
// not wait. If the worker is not there, or too many wait, the worktree stays.
func (r rooms) treeEnded(s *session.State) {
	if s.Info.Worktree == nil || s.Tree.State == protocol.WorktreeDiscarded {
		return
	}
	select {
	case r.endedTrees <- s:
	default:
		r.env.Log.Warn("a worktree stays: too many sessions with worktrees ended at once", "session", s.Info.SessionID)
	}
}

// tellEndedTrees tells workers which sessions have ended, until ctx ends.
func (w Worktrees) tellEndedTrees(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range maxToldTogether {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s := <-w.endedTrees:
					w.tellEnded(ctx, s)
				}
			}
		})
	}
}

func (w Worktrees) tellEnded(ctx context.Context, s *session.State) {
	var out protocol.WorktreeReleased
	err := w.env.Guard("the end of a worktree", func() error {
		return (Files{w.rooms}).ask(ctx, s, protocol.MethodWorktreeRelease, nil, &out)
	}, "session", s.Info.SessionID)
	id, branch := s.Info.SessionID, s.Info.Worktree.Branch
	switch {
	case err != nil:
		w.env.Log.Warn("a worktree stays: its worker could not be told that the session has ended", "session", id, "branch", branch, "error", err)
	case out.Kept != "":
		w.env.Log.Info("a worktree stays after its session", "session", id, "branch", branch, "why", session.Clip(out.Kept))
	}
}
