package store

import (
	"context"

	"sessionhub/protocol"
)

// Slots counts the open streams of all nodes. When a node dies, its counts are forgotten
// within 30 s.
type Slots interface {
	// TakeSlot counts one more stream of this node. It fails with ErrSessionFull or
	// ErrUserFull if the session or the user already has the most (0: no limit).
	TakeSlot(ctx context.Context, s Slot, perSession, perUser int) error

	// GiveSlot gives one slot back. It does not block; a store that is away learns of it
	// later.
	GiveSlot(s Slot)

	// Connections counts the streams of each session.
	Connections(ctx context.Context, sessions []string) ([]protocol.Connections, error)
}

// Slot names what one stream counts for. Without a session, it counts for the user alone;
// without a user, for the session alone. One of the two is set.
type Slot struct {
	Session  string
	User     string
	Encoding protocol.Encoding
}
