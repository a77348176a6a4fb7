package store

import "context"

// WorkQueue holds the sessions that wait for a worker.
type WorkQueue interface {
	// Enqueue puts a session behind those that wait for the same provider and workspace.
	// Users take turns (start-time fair queueing, Goyal 1996); each user's own sessions
	// stay in order. A session that is already queued keeps its place.
	Enqueue(ctx context.Context, w Waiting) error

	// Dequeue takes a session out of the queue. A session that is not queued is no error.
	Dequeue(ctx context.Context, w Waiting) error

	// Queued gives the first n sessions that wait for a provider in a workspace. An empty
	// workspace means sessions that have not run anywhere yet.
	Queued(ctx context.Context, provider, workspace string, n int) ([]Waiting, error)

	// WatchQueue calls notify with each session that any node gives to Enqueue. When calls
	// may have been missed, notify gets the zero Waiting, which stands for any session.
	// notify must not block.
	WatchQueue(notify func(Waiting)) (stop func())
}

// Waiting is a session that waits for a worker. Nodes send it to each other as JSON.
type Waiting struct {
	ID        string `json:"id"`
	User      string `json:"user"`
	Provider  string `json:"provider"`
	Workspace string `json:"workspace,omitempty"` // where it must run, once it has run somewhere
}
