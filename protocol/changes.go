package protocol

// ChangeStatus says what became of a file.
type ChangeStatus string

const (
	ChangeAdded      ChangeStatus = "added"
	ChangeModified   ChangeStatus = "modified"
	ChangeDeleted    ChangeStatus = "deleted"
	ChangeRenamed    ChangeStatus = "renamed"
	ChangeUntracked  ChangeStatus = "untracked"  // git does not know the file yet
	ChangeConflicted ChangeStatus = "conflicted" // a merge has left the file with conflicts
)

// ChangedFile is a file that differs from the beginning. Paths are relative to the session's
// working directory. OldPath is that of a renamed file. Additions and Deletions are counted
// in lines; they are missing for a binary file, and where counting failed or took too long.
type ChangedFile struct {
	Path      string       `json:"path"`
	OldPath   string       `json:"oldPath,omitempty"`
	Status    ChangeStatus `json:"status"`
	Additions *int         `json:"additions,omitempty"`
	Deletions *int         `json:"deletions,omitempty"`
	Binary    bool         `json:"binary,omitempty"`
}

// ChangesSince says which beginning changes are counted from.
type ChangesSince string

const (
	SinceStart ChangesSince = "start" // of the session
	SinceHead  ChangesSince = "head"  // the last commit: the start is not known
)

// Changes are what git sees as changed in a session's working directory. If the directory is
// in no repository, Repository is false and the rest is empty. Base is the commit that was
// checked out at the beginning; it is empty in a repository that had no commit. Unnamed
// counts files that are left out, since their names are not valid UTF-8. Truncated says that
// more files have changed.
type Changes struct {
	Repository bool          `json:"repository"`
	Branch     string        `json:"branch,omitempty"`
	Base       string        `json:"base,omitempty"`
	Since      ChangesSince  `json:"since,omitempty"`
	Files      []ChangedFile `json:"files"`
	Unnamed    int           `json:"unnamed,omitempty"`
	Truncated  bool          `json:"truncated,omitempty"`
}

// FileDiff is a page of the unified diff of one file. Offset, NextOffset and Size are bytes
// of the diff's text; NextOffset is there if more follows. Version changes with the diff.
// Truncated says that the diff is longer than Size, and its rest cannot be read.
type FileDiff struct {
	Path       string `json:"path"`
	OldPath    string `json:"oldPath,omitempty"`
	Diff       string `json:"diff"`
	Offset     int    `json:"offset"`
	NextOffset int    `json:"nextOffset,omitempty"`
	Size       int    `json:"size"`
	Version    string `json:"version"`
	Truncated  bool   `json:"truncated,omitempty"`
}
