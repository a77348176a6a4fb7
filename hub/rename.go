package hub

import (
	"context"
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Rename names and marks a session for a user, and returns it. An empty title takes the name
// away.
func (cmd *Commands) Rename(ctx context.Context, id, user string, r protocol.RenameRequest) (protocol.Session, error) {
	in := session.InMark{Pinned: r.Pinned, Archived: r.Archived}
	switch {
	case r.Title != nil:
		if err := session.CheckOptional("title", *r.Title, protocol.MaxTitleBytes); err != nil {
			return protocol.Session{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
		}
		// Each new title is an event, as each message is.
		if err := cmd.allow(ctx, metrics.LimitMessageRate, user, cmd.cfg.Limits.Messages); err != nil {
			return protocol.Session{}, err
		}
		in.Name = &session.InRename{Title: *r.Title, By: user}
	case r.Pinned == nil && r.Archived == nil:
		return protocol.Session{}, fmt.Errorf(`%w: want a title ("" takes the name away), pinned or archived`, session.ErrInvalid)
	}
	if _, _, err := cmd.engine.Change(ctx, id, in, nil); err != nil {
		return protocol.Session{}, err
	}
	snap, err := cmd.Load(ctx, id)
	if err != nil {
		return protocol.Session{}, err
	}
	return cmd.View(ctx, snap)
}

// usageOf is a session's usage as its users see it; nil while nothing is known.
func usageOf(s *session.State) *protocol.SessionUsage {
	if s.Usage == nil {
		return nil
	}
	u := s.Usage.SessionUsage
	return &u
}
