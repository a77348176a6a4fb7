package protocol

// EventSessionInfo says that a session has another title.
const EventSessionInfo EventType = "session_info"

// SessionInfoData is the data of a session_info event. By is the user who has named the
// session; empty: its agent has.
type SessionInfoData struct {
	Title string `json:"title"`
	By    string `json:"by,omitempty"`
}

// MaxTitleBytes bounds a title in bytes of UTF-8. An agent's is cut.
const MaxTitleBytes = 1024

// CommandRename names a session on a WebSocket. Its data is a RenameRequest.
const CommandRename CommandType = "rename"

// RenameRequest is the body of PATCH /api/sessions/:id and the data of a rename command. It
// is answered by the Session. It changes what is not nil, at least one member. An empty
// title takes the name away: the session then has the agent's title, or else the first line
// of its first message. An ended session can be pinned and archived, but not be named.
type RenameRequest struct {
	Title    *string `json:"title,omitempty"`
	Pinned   *bool   `json:"pinned,omitempty"`
	Archived *bool   `json:"archived,omitempty"`
}
