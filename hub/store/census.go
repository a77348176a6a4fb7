package store

import (
	"context"

	"sessionhub/protocol"
)

// Counter takes the census.
type Counter interface {
	// Census counts what belongs to no node. ours says that this node is the one that
	// reports the count now.
	Census(ctx context.Context) (c Census, ours bool, err error)
}

// Census counts what belongs to no node.
type Census struct {
	Sessions         map[protocol.Status]int // that can be read
	ApprovalsPending int
	Queue            map[string]int // sessions that wait for a worker, by provider
}
