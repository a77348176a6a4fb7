package hub

import (
	"context"
	"errors"
	"fmt"

	"sessionhub/metrics"
)

// takeSlot takes a stream's place under its node, its session and its user, or
// refuses with ErrConnectionLimit. giveSlot gives it back, once.
func (h *Hub) takeSlot(ctx context.Context, s Slot) error {
	refuse := func(limit metrics.Limit, who string, most int) error {
		h.cfg.Metrics.LimitRejected(limit)
		return fmt.Errorf("%w: %s has %d, which is the most", ErrConnectionLimit, who, most)
	}
	if open, most := h.open.Add(1), h.cfg.MaxConnections; most > 0 && open > int64(most) {
		h.open.Add(-1)
		return refuse(metrics.LimitConnections, "this node", most)
	}
	perSession, perUser := h.cfg.MaxConnectionsPerSession, h.cfg.Limits.ConnectionsPerUser
	err := h.store.TakeSlot(ctx, s, perSession, perUser)
	if err != nil {
		h.open.Add(-1)
	}
	switch {
	case errors.Is(err, ErrSessionFull):
		return refuse(metrics.LimitConnectionsPerSession, "the session", perSession)
	case errors.Is(err, ErrUserFull):
		return refuse(metrics.LimitConnectionsPerUser, "the user", perUser)
	}
	return err
}

func (h *Hub) giveSlot(s Slot) {
	h.open.Add(-1)
	h.store.GiveSlot(s)
}
