package app

import (
	"context"

	"sessionhub/worker"
)

// AttachWorker joins a worker of the caller's to the hub, as the embedded one is
// joined: the caller speaks a worker's frames on what it returns. The link ends
// with ctx, which must end before Stop is called.
func (n *Node) AttachWorker(ctx context.Context) (worker.Conn, error) { return n.dialWorker(ctx) }
