package protocol

// Requests to a worker about worktrees. A worker that answers MethodWorktreeMake knows
// Assign.Worktree and WorkerRequest.Worktree.
const (
	MethodWorktreePrepare WorkerMethod = "worktree.prepare" // WorktreeMakeParams -> PreparedWorktree
	MethodWorktreeMake    WorkerMethod = "worktree.make"    // WorktreeMakeParams -> WorktreeMade
	MethodWorktreeStatus  WorkerMethod = "worktree.status"  // -> WorktreeStatus
	MethodWorktreeAct     WorkerMethod = "worktree.act"     // WorktreeActionRequest -> WorktreeStatus
	// MethodWorktreeRelease says that a session has ended. The worker removes its worktree
	// if nothing is lost by that.
	MethodWorktreeRelease WorkerMethod = "worktree.release" // -> WorktreeReleased
)

// WorktreeMakeParams ask for a worktree of the request's WorkingDirectory. Its id is the
// request's session.
type WorktreeMakeParams struct {
	Base   string `json:"base,omitempty"`
	Branch string `json:"branch,omitempty"`
}

// WorktreeMade answers MethodWorktreeMake. Directory is empty while the worktree is being
// made. Workspace is the worker's: see Hello.
type WorktreeMade struct {
	Branch    string `json:"branch"`
	Base      string `json:"base,omitempty"`
	Commit    string `json:"commit"`
	Directory string `json:"directory,omitempty"`
	Workspace string `json:"workspace"`
}

// WorktreeReleased says what became of the worktree of a session that ended. Kept says why
// it is still there; empty: it is not.
type WorktreeReleased struct {
	Kept string `json:"kept,omitempty"`
}
