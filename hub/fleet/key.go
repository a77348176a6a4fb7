package fleet

// WorkerKey is the key that opened a worker's link.
type WorkerKey struct {
	Name string // the key's name, for the log; empty for a worker of this process
	User string // the one user whose sessions the worker may have; "" or "*": every user's
}

// all reports whether the worker may have every user's sessions.
func (k WorkerKey) all() bool { return k.User == "" || k.User == "*" }

// only is the one user whose sessions the worker may have; empty: every user's.
func (k WorkerKey) only() string {
	if k.all() {
		return ""
	}
	return k.User
}

// serves reports whether the worker may have a session of the user.
func (k WorkerKey) serves(user string) bool { return k.all() || k.User == user }

// worker is the worker's name in the hub. Workers choose their names themselves. A worker
// whose key is for one user gets that user's name in front. So it cannot take the name,
// and with it the sessions, of another user's worker.
func (k WorkerKey) worker(name string) string {
	if k.all() {
		return name
	}
	return k.User + "/" + name
}
