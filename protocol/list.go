package protocol

import "encoding/json"

// The frames about a user's list of sessions. They name no session of a stream.
const (
	ControlListed       ControlType = "listed"
	ControlUnlisted     ControlType = "unlisted"
	ControlListComplete ControlType = "list_complete"
)

// ListChange says what has happened to a session in a list.
type ListChange string

const (
	ListSnapshot ListChange = "snapshot"  // it is there; part of a snapshot
	ListCreated  ListChange = "created"   // it is new
	ListChanged  ListChange = "changed"   // something else
	ListNeedsYou ListChange = "needs_you" // a question came, and a question is open
	ListFinished ListChange = "finished"  // its turn has ended, or itself
)

// ListChanges are all of them.
var ListChanges = []ListChange{ListSnapshot, ListCreated, ListChanged, ListNeedsYou, ListFinished}

// Listed is a session as a listing has it now. Session is the JSON of a Session.
type Listed struct {
	Change  ListChange      `json:"change"`
	Session json.RawMessage `json:"session"`
}

// Unlisted says that a listing does not have the session any more.
type Unlisted struct {
	SessionID string `json:"sessionId"`
}

// ListComplete ends a snapshot: the list has so many sessions now. A session without a
// snapshot frame since the last ListComplete is not in it.
type ListComplete struct {
	Sessions int `json:"sessions"`
}
