package stream

import (
	"context"
	"errors"
	"fmt"

	"sessionhub/hub/store"
	"sessionhub/metrics"
)

// takeSlot takes a stream's slot under its node, its session and its user, or refuses
// with ErrConnectionLimit. giveSlot gives the slot back, once. A slot without a user is no
// connection: it is a channel's subscription.
func (ss *Streams) takeSlot(ctx context.Context, s store.Slot) error {
	refuse := func(limit metrics.Limit, who string, most int) error {
		ss.Metrics.LimitRejected(limit)
		return fmt.Errorf("%w: %s has %d, which is the most", ErrConnectionLimit, who, most)
	}
	connection := int64(0)
	if s.User != "" {
		connection = 1
	}
	if open, most := ss.open.Add(connection), ss.limits.PerNode; connection > 0 && most > 0 && open > int64(most) {
		ss.open.Add(-connection)
		return refuse(metrics.LimitConnections, "this node", most)
	}
	perSession, perUser := ss.limits.PerSession, ss.limits.PerUser
	err := ss.store.TakeSlot(ctx, s, perSession, perUser)
	if err != nil {
		ss.open.Add(-connection)
	}
	switch {
	case errors.Is(err, store.ErrSessionFull):
		return refuse(metrics.LimitConnectionsPerSession, "the session", perSession)
	case errors.Is(err, store.ErrUserFull):
		return refuse(metrics.LimitConnectionsPerUser, "the user", perUser)
	}
	return err
}

func (ss *Streams) giveSlot(s store.Slot) {
	if s.User != "" {
		ss.open.Add(-1)
	}
	ss.store.GiveSlot(s)
}
