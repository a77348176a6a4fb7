package protocol

import "time"

// Requests to a worker about the files of a session's working directory. A path is relative
// to it and has slashes; "" is the directory itself. An absolute path of a file in the
// directory is taken too. A link that leads out of the directory is refused.
const (
	MethodFilesList   WorkerMethod = "files.list"   // FilesListParams -> FileList
	MethodFilesRead   WorkerMethod = "files.read"   // FilesReadParams -> FilePiece
	MethodFilesSearch WorkerMethod = "files.search" // FilesSearchParams -> FileMatches
)

// Bounds of what is asked about files.
const (
	MaxPathBytes   = 4096
	MaxFileEntries = 500       // of one FileList
	MaxFilePiece   = 256 << 10 // bytes of one FilePiece
	MaxFileMatches = 200
	MaxFileQuery   = 256     // bytes
	MaxFilesWalked = 200_000 // by one search
)

// FilesListParams asks for the entries of a directory whose names come after After, at most
// Limit.
type FilesListParams struct {
	Path  string `json:"path"`
	After string `json:"after,omitempty"`
	Limit int    `json:"limit"`
}

// FilesReadParams asks for bytes of a file.
type FilesReadParams struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset,omitempty"`
	Limit  int    `json:"limit"`
}

// FilePiece is a piece of a file from Offset on. Size is the file's. MediaType is that of
// the file's first bytes. Version changes with the file.
type FilePiece struct {
	Path       string    `json:"path"`
	Size       int64     `json:"size"`
	ModifiedAt time.Time `json:"modifiedAt"`
	MediaType  string    `json:"mediaType"`
	Version    string    `json:"version"`
	Offset     int64     `json:"offset"`
	Data       []byte    `json:"data"` // in base64
}

// FilesSearchParams asks for files and directories whose paths have the letters of Query in
// this order, whatever their case.
type FilesSearchParams struct {
	Query string `json:"query"`
	Limit int    `json:"limit"`
}
