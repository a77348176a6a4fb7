package protocol

import "time"

// FileType is what an entry of a directory is.
type FileType string

const (
	FileRegular   FileType = "file"
	FileDirectory FileType = "directory"
	FileLink      FileType = "link"  // a symbolic link; what it leads to is not looked at
	FileOther     FileType = "other" // a device, a socket, a pipe
)

// FileEntry is an entry of a directory. Size is in bytes.
type FileEntry struct {
	Name       string    `json:"name"`
	Type       FileType  `json:"type"`
	Size       int64     `json:"size"`
	ModifiedAt time.Time `json:"modifiedAt"`
}

// FileList is a page of a directory, by name. NextAfter is there if more follow.
type FileList struct {
	Path      string      `json:"path"`
	Entries   []FileEntry `json:"entries"`
	NextAfter string      `json:"nextAfter,omitempty"`
}

// FileMatch is a path that a search has found.
type FileMatch struct {
	Path string   `json:"path"`
	Type FileType `json:"type"`
}

// FileMatches are the best matches of a search, the best one first. Truncated says that the
// directory has more entries than the search has looked at.
type FileMatches struct {
	Files     []FileMatch `json:"files"`
	Truncated bool        `json:"truncated,omitempty"`
}
