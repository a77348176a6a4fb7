package store

// UserWatcher tells what changes about a user: the entries of the user's list of sessions,
// and the user's account.
type UserWatcher interface {
	// WatchUser calls notify when a session of the user is created, when a batch with
	// Listed is stored, when a session is deleted, and when the account changes. Notices
	// may come out of order, or twice. The store gives them after it has stored the change,
	// so a read behind a notice finds the change.
	//
	// Every change that is stored behind WatchUser gives its notice or, after the change, a
	// Lost. So a store gives Lost when it can tell again behind a break. It may also give
	// Lost once the watch works, and more often than once.
	//
	// notify must not block and must not call the store. Calls of one watcher do not
	// overlap. The store does not call notify after stop has returned. stop may be called
	// twice, and not by notify.
	WatchUser(user string, notify func(UserNotice)) (stop func())
}

// UserNotice is a hint about a user. One of its fields is set.
type UserNotice struct {
	Session string // what a listing says of this session may have changed, or it is gone
	Lost    bool   // notices may have been lost: read everything again
	Account bool   // the user's account may have changed
}
