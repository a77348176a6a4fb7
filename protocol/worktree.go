package protocol

// WorktreeState says what a user did last with a session's worktree.
type WorktreeState string

// The states of a worktree.
const (
	WorktreeActive    WorktreeState = "active"
	WorktreeMerged    WorktreeState = "merged"    // its work then was merged; more may have come since
	WorktreeKept      WorktreeState = "kept"      // it stays when the session ends
	WorktreeDiscarded WorktreeState = "discarded" // it is gone: the session runs no more
)

// SessionWorktree is the worktree of a session as it was last told. Base is empty if the
// session began on no branch (a detached HEAD). Commit is what the worktree began with.
// Directory is where the agent works; it is empty until that is known.
type SessionWorktree struct {
	Branch    string        `json:"branch"`
	Base      string        `json:"base,omitempty"`
	Commit    string        `json:"commit"`
	Directory string        `json:"directory,omitempty"`
	State     WorktreeState `json:"state"`
}

// WorktreeStatus is what git says of a session's worktree now, on its worker.
type WorktreeStatus struct {
	SessionWorktree
	// Making says that the worktree is not there yet. The fields behind it are empty then.
	Making bool `json:"making,omitempty"`
	// Head is the commit of the worktree, and HeadBranch its branch; empty: none.
	Head       string `json:"head,omitempty"`
	HeadBranch string `json:"headBranch,omitempty"`
	// Ahead counts the commits that Base lacks, and Behind those of Base that the worktree
	// lacks. Both are from Commit on if Base is empty or gone.
	Ahead    int  `json:"ahead"`
	Behind   int  `json:"behind"`
	BaseGone bool `json:"baseGone,omitempty"`
	// Uncommitted counts files that are changed or new, and not ignored. Conflicts counts
	// those of them that a merge has left with conflicts.
	Uncommitted int `json:"uncommitted"`
	Conflicts   int `json:"conflicts,omitempty"`
	// Merged says that nothing would be lost without the worktree.
	Merged bool `json:"merged"`
	// Unfinished names an operation of git that is under way, such as a rebase.
	Unfinished string `json:"unfinished,omitempty"`
	// Version changes with the work in the worktree. A discard of work that is not merged
	// names it.
	Version string `json:"version,omitempty"`
}

// WorktreeAction names what is to become of a session's worktree.
type WorktreeAction string

// The actions.
const (
	WorktreeMerge   WorktreeAction = "merge"
	WorktreeKeep    WorktreeAction = "keep"
	WorktreeDiscard WorktreeAction = "discard"
)

// WorktreeActionRequest is the body of POST worktree. Commit and Message are of a merge: with
// Commit, what is not committed is committed first. Version is of a discard: the Version of
// the WorktreeStatus that the user saw. Only with it is work thrown away that is not merged.
type WorktreeActionRequest struct {
	Action  WorktreeAction `json:"action"`
	Commit  bool           `json:"commit,omitempty"`
	Message string         `json:"message,omitempty"`
	Version string         `json:"version,omitempty"`
}

// MaxWorktreeMessage bounds the message of a commit, in bytes.
const MaxWorktreeMessage = 4096

// PrepareWorktreeRequest is the body of POST /api/worktrees.
type PrepareWorktreeRequest struct {
	Provider         string `json:"provider,omitempty"`
	WorkingDirectory string `json:"workingDirectory,omitempty"`
	UserID           string `json:"userId,omitempty"`
	Base             string `json:"base,omitempty"`
}

// PreparedWorktree answers a PrepareWorktreeRequest: a session could have a worktree from
// Base at Commit. Ready says that the next one takes no time; otherwise one is being made.
type PreparedWorktree struct {
	Base   string `json:"base,omitempty"`
	Commit string `json:"commit"`
	Ready  bool   `json:"ready"`
}
