package store

import (
	"context"
	"time"

	"sessionhub/protocol"
)

// WorkerRegistry knows the workers of all nodes. A worker lives as long as its lease. The
// node that has the worker's link renews the lease. When no node has renewed it in time,
// the worker is lost.
type WorkerRegistry interface {
	// RenewWorker makes the worker's lease last for left from now. A lease that another
	// node has renewed for longer keeps its end.
	RenewWorker(ctx context.Context, w WorkerInfo, left time.Duration) error

	// ForgetWorker ends the lease of a worker that has left and had no session. It does
	// nothing unless this node was the last to renew the lease.
	ForgetWorker(ctx context.Context, w WorkerInfo) error

	// WorkerLease tells how much of the worker's lease is left; 0 if it is over or there is
	// none. The result lapsed is true once for each lease that ended by itself, for the
	// first caller that asks.
	WorkerLease(ctx context.Context, name string) (left time.Duration, lapsed bool, err error)

	// Workers lists the workers whose lease has not ended.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Hold notes that a worker is about to get a session by an assignment. Unhold notes
	// that this assignment is over; another assignment of the session stays. Held lists a
	// worker's holdings: at least those that it really has.
	Hold(ctx context.Context, worker string, h Holding) error
	Unhold(ctx context.Context, worker string, h Holding) error
	Held(ctx context.Context, worker string) ([]Holding, error)
}

// Holding is a session that a worker has, or is about to get, by an assignment.
type Holding struct {
	Session    string
	Assignment uint64 // 0: not known; it stands for any
}

// WorkerInfo is what the nodes know about a worker.
type WorkerInfo struct {
	Name      string   `json:"name"`
	Node      string   `json:"node"`           // the node that has the worker's link
	User      string   `json:"user,omitempty"` // the worker may have this user's sessions alone; empty: everybody's
	Workspace string   `json:"workspace"`
	Providers []string `json:"providers"`
	Capacity  int      `json:"capacity"`

	// Requests are the methods of requests that the worker answers.
	Requests []protocol.WorkerMethod `json:"requests,omitempty"`

	// Details is as in the worker's hello: at most protocol.MaxDetailsBytes as JSON. Nobody
	// changes it.
	Details map[string]protocol.ProviderDetails `json:"details,omitempty"`
}
