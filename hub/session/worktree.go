package session

import (
	"errors"

	"sessionhub/protocol"
)

// Worktree is the git worktree that a session works in. It is fixed when the session is
// created. ID is that of the session that it was made for; a fork works in the worktree of
// its original. Only workers of Workspace have it.
type Worktree struct {
	ID        string `json:"id"`
	Branch    string `json:"branch"`
	Base      string `json:"base,omitempty"`
	Commit    string `json:"commit"`
	Workspace string `json:"workspace"`
}

// ErrNeedsWorktrees: the session works in a worktree, and the worker knows of none. It would
// let the agent work in the user's own files.
var ErrNeedsWorktrees = errors.New("the worker makes no worktrees")

// Tree is what was last told of a session's worktree.
type Tree struct {
	State     protocol.WorktreeState `json:"state,omitempty"` // empty: active
	Directory string                 `json:"directory,omitempty"`
}

// ViewOfTree is a session's worktree as its users see it; nil: it has none.
func ViewOfTree(s *State) *protocol.SessionWorktree {
	w := s.Info.Worktree
	if w == nil {
		return nil
	}
	view := &protocol.SessionWorktree{Branch: w.Branch, Base: w.Base, Commit: w.Commit, Directory: s.Tree.Directory, State: s.Tree.State}
	if view.State == "" {
		view.State = protocol.WorktreeActive
	}
	return view
}

// InWorktree notes what a worker has said of the session's worktree. An empty field says
// nothing.
type InWorktree struct {
	State     protocol.WorktreeState
	Directory string
}

func (in InWorktree) apply(st *step) error {
	s := st.s
	switch {
	case s.Closed == protocol.ClosedDeleted:
		return ErrNotFound
	case s.Info.Worktree == nil:
		return nil
	case in.State == protocol.WorktreeDiscarded:
		s.Tree.Directory = ""
	case in.Directory != "":
		s.Tree.Directory = CutText(in.Directory, protocol.MaxPathBytes)
	}
	if in.State != "" {
		s.Tree.State = in.State
	}
	return nil
}

// InNeedsWorktrees says that a waiting session cannot run on the workers that are there.
type InNeedsWorktrees struct{}

func (InNeedsWorktrees) apply(st *step) error {
	if st.s.NeedsWorker() {
		id := ""
		if wants(st.s) {
			id = st.s.Messages[0].ID
		}
		st.status(protocol.StatusQueued, id, "the session works in a worktree, and no worker that is connected makes worktrees: one of this version or newer with --worktrees must")
	}
	return nil
}
