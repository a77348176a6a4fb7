package protocol

import "strings"

// Requests to a worker about what git sees in a session's working directory.
const (
	MethodGitChanges WorkerMethod = "git.changes" // GitChangesParams -> Changes
	MethodGitDiff    WorkerMethod = "git.diff"    // GitDiffParams -> FileDiff
)

// Bounds of what is asked about changes.
const (
	MaxChangedFiles = 1000
	MaxDiffPage     = 64 << 10 // bytes of one FileDiff
	MaxDiffBytes    = 4 << 20  // of a file's diff: the rest cannot be read
	MaxGitBase      = 129      // bytes of a WorkerStatusData.GitBase
)

// GitChangesParams asks for the changes since Base, which is the WorkerStatusData.GitBase of
// the session. Without it they are those since the last commit.
type GitChangesParams struct {
	Base string `json:"base,omitempty"`
}

// GitDiffParams asks for a page of a file's diff from Offset on. OldPath is the earlier path
// of a file that was renamed.
type GitDiffParams struct {
	Base    string `json:"base,omitempty"`
	Path    string `json:"path"`
	OldPath string `json:"oldPath,omitempty"`
	Offset  int    `json:"offset,omitempty"`
}

// SplitGitBase reads a WorkerStatusData.GitBase: "commit", ":tree" or "commit:tree". ok is
// false for anything else.
func SplitGitBase(base string) (commit, tree string, ok bool) {
	commit, tree, _ = strings.Cut(base, ":")
	return commit, tree, base != "" && (commit == "" || isObjectID(commit)) && (tree == "" || isObjectID(tree)) && commit+tree != ""
}

// isObjectID reports whether s is the full id of an object of git: SHA-1 or SHA-256.
func isObjectID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
