package store

import "sessionhub/protocol"

// Page is a piece of an event log. Entries follow each other without a hole. The first
// entry can be a compacted one that reaches back to the requested seq or before it. It lies
// beyond that seq if the log was trimmed there (see First).
type Page struct {
	Entries     []protocol.Entry
	First, Last uint64 // ends of the whole log
	Epoch       string // the log's, as of this read
}

// Notice says that a batch was appended. Entries are the batch's events if the store has
// them at hand. Changed says that the state or the command log changed, or that notices may
// have been lost. The watcher must read both again then.
type Notice struct {
	Entries []protocol.Entry
	Last    uint64
	Epoch   string // the log's present one; empty in a store whose epoch never changes
	Changed bool
}
