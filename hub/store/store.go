// Package store is the port between the hub and the stores that keep its sessions. It has a
// small interface for each kind of data, and the types that these interfaces share.
//
// The nodes of a cluster also exchange data beside the sessions' logs: DueIndex, WorkQueue,
// WorkerRegistry and Mail. These are hints. The session's state is the truth about its worker
// and its deadlines. A hint that is lost or stale costs time but never changes the outcome.
// Every open session keeps an entry in the due-index, and the check of that entry repairs
// the hints. Slots alone are no hint.
package store

// Store is everything that a hub keeps beyond its process's life and shares with the other
// nodes of its cluster. Any number of goroutines may call every method. hub/store/storetest
// tests every implementation against the comments of these interfaces.
type Store interface {
	Sessions
	DueIndex
	WorkQueue
	WorkerRegistry
	Slots
	Limiter
	Mail
	UserWatcher
	Accounts
	Counter
	Availability

	// Shared reports whether other nodes can serve the same sessions.
	Shared() bool
}

// Availability tells whether a store answers.
type Availability interface {
	// Available says why the store cannot be asked about a session now, or nil. For an
	// empty id it says why it cannot be asked about any. It does not block: it tells how
	// the last calls went.
	Available(id string) error
}

// Away reports whether the part of the store that has one session is away while other parts
// answer.
func Away(s Availability, session string) bool {
	return s.Available(session) != nil && s.Available("") == nil
}
