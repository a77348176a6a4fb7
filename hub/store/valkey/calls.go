package valkey

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// calls is what the parts of a Store share: the client, the names of keys and channels, the
// time limit of calls, and their errors.
type calls struct {
	opt     Options
	client  valkey.Client
	publish string // SPUBLISH in a cluster: PUBLISH would go to every node
}

// keys are a session's keys: the hash, the events, the commands, the notes, the compacted
// events. ok is false for a text that cannot be an id: braces would put its keys into
// several hash slots.
func (c *calls) keys(id string) (keys [5]string, ok bool) {
	if id == "" || isTopic(id) || strings.ContainsAny(id, "{}") {
		return keys, false
	}
	base := c.channel(id)
	return [5]string{base + ":session", base + ":events", base + ":commands", base + ":notes", base + ":compacted"}, true
}

// channel is where appends to a session are announced, and what belongs to a topic.
func (c *calls) channel(id string) string {
	if id == queueTopic {
		return c.opt.Prefix + "queue{queue}" // in the slot of the lanes
	}
	if user, ok := strings.CutPrefix(id, userTopic); ok {
		return c.userChannel(user)
	}
	if box, ok := strings.CutPrefix(id, boxTopic); ok {
		return c.opt.Prefix + "box{" + box + "}"
	}
	return c.opt.Prefix + "{" + id + "}"
}

func (c *calls) openKey(user string) string     { return c.opt.Prefix + "{u:" + user + "}:open" }
func (c *calls) sessionsKey(user string) string { return c.opt.Prefix + "{u:" + user + "}:sessions" }
func (c *calls) allKey() string                 { return c.opt.Prefix + "sessions" }

// deadline bounds one call.
func (c *calls) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.opt.CallTimeout)
}

// unavailable makes the error of a call that got no answer, or an answer that does not fit
// the call. The cause is the end of the caller's ctx, or a fault of the store.
func (c *calls) unavailable(ctx context.Context, op, what string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	c.opt.Failed(op)
	return fmt.Errorf("%s: %w: %w", what, unavailability(err), err)
}

// unavailability returns the sentinel that an error of the server or the network belongs
// to.
func unavailability(err error) error {
	if _, answered := valkey.IsValkeyErr(err); answered {
		return store.ErrUnavailable
	}
	return store.ErrUnreachable
}

func notFound(id string) error { return fmt.Errorf("session %s: %w", id, session.ErrNotFound) }
