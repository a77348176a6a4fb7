package protocol

import "time"

// Inbox answers GET /api/inbox with what concerns a user now, over all sessions.
type Inbox struct {
	// NeedsYou are the sessions with open questions. The one whose question is oldest is
	// first.
	NeedsYou []InboxNeed `json:"needsYou"`
	// Finished are sessions at rest that the user has not read since. The last one that
	// finished is first. Archived sessions are left out, here and in Working.
	Finished []InboxFinished `json:"finished"`
	// Working are the other sessions that are not at rest. The one that began last is first.
	Working []InboxWorking `json:"working"`

	// Truncated says that there may be more than the lists have.
	Truncated bool `json:"truncated,omitempty"`
}

// InboxNeed is a session with open questions, each list with its oldest first. Since is when
// the oldest one was asked. A private question comes without its content.
type InboxNeed struct {
	Session      Session            `json:"session"`
	Since        time.Time          `json:"since"`
	Approvals    []ToolApprovalData `json:"approvals"`
	Elicitations []ElicitationData  `json:"elicitations"`
}

// InboxFinished is a session whose work ended. StopReason is that of its last turn. LastText
// is the last line that the agent wrote, or what its last tool did, on one line.
type InboxFinished struct {
	Session    Session   `json:"session"`
	FinishedAt time.Time `json:"finishedAt"`
	StopReason string    `json:"stopReason,omitempty"`
	LastText   string    `json:"lastText,omitempty"`
}

// InboxWorking is a session that works, or waits for a worker. Since is when the turn began;
// of a session without a turn, its last activity.
type InboxWorking struct {
	Session  Session   `json:"session"`
	Since    time.Time `json:"since"`
	LastText string    `json:"lastText,omitempty"`
}

// Bounds of an Inbox. Sessions are looked for among the newest InboxScan of the user.
const (
	InboxScan         = 10_000
	MaxInboxNeeds     = 200
	MaxInboxFinished  = 50
	MaxInboxWorking   = 100
	MaxInboxTextBytes = 200     // of a LastText
	MaxInboxBytes     = 4 << 20 // of the questions together; at least one session comes
)

// SeenRequest is the body of POST seen: the user has read the log up to the event Seq.
type SeenRequest struct {
	Seq uint64 `json:"seq"`
}

// The actions of a BatchRequest. BatchSeen marks everything that a session has as read.
const (
	BatchDelete    = "delete"
	BatchArchive   = "archive"
	BatchUnarchive = "unarchive"
	BatchPin       = "pin"
	BatchUnpin     = "unpin"
	BatchSeen      = "seen"
)

// BatchActions are all of them.
var BatchActions = []string{BatchDelete, BatchArchive, BatchUnarchive, BatchPin, BatchUnpin, BatchSeen}

// MaxBatch is the most sessions of a BatchRequest.
const MaxBatch = 100

// BatchRequest is the body of POST /api/sessions/batch: one action on each of the sessions.
type BatchRequest struct {
	Action     string   `json:"action"`
	SessionIDs []string `json:"sessionIds"`
}

// BatchResponse answers a BatchRequest. The results are in the order of the request.
type BatchResponse struct {
	Results []BatchResult `json:"results"`
}

// BatchResult says what became of one session. Problem is absent if the action is done.
type BatchResult struct {
	SessionID string   `json:"sessionId"`
	Problem   *Problem `json:"problem,omitempty"`
}

// Bounds of a search through sessions (GET /api/sessions?query=). One request looks at so
// many sessions, and with text=true reads so many bytes of their logs.
const (
	MaxSearchBytes  = 200 // of the text that is looked for
	SearchScan      = 1000
	SearchTextBytes = 16 << 20
)
