package hub

// WorkerKey is the key that opened a worker's link.
type WorkerKey struct {
	Name string // of the key, for the log; empty for a worker of this process
	User string // whose sessions alone the worker may have; "" or "*": everybody's
}

// all reports whether the key is for everybody's sessions.
func (k WorkerKey) all() bool { return k.User == "" || k.User == "*" }

// serves reports whether the worker may have a session of the user.
func (k WorkerKey) serves(user string) bool { return k.all() || k.User == user }

// worker is what a worker is known by in the hub. Names are the workers' own
// choice, so one whose key is for one user must not be able to take the name,
// and with it the sessions, of another user's worker.
func (k WorkerKey) worker(name string) string {
	if k.all() {
		return name
	}
	return k.User + "/" + name
}
