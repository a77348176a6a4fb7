package handlers

import (
	"context"
	"strconv"
	"sync"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// readInbox serves GET /api/inbox.
func (s *Server) readInbox(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeRead)
	if err != nil {
		return err
	}
	user, err := queryUser(c, who)
	if err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	inbox, err := s.cfg.Hub.Inbox.Read(ctx, user)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, inbox)
}

// postSeen serves POST /api/sessions/:id/seen. A link that may only read marks nothing.
func (s *Server) postSeen(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeWrite)
	if err != nil {
		return err
	}
	var r protocol.SeenRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	if r.Seq == 0 {
		return refuse(protocol.CodeInvalidRequest, "seq is missing: want the last event that the user has read")
	}
	if err := s.cfg.Hub.Inbox.Seen(ctx, snap.State.Info.SessionID, r.Seq); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// batchAtOnce is how many sessions of one batch are worked on at a time.
const batchAtOnce = 8

// postBatch serves POST /api/sessions/batch. What fails for one session is a result, and
// the others go on.
func (s *Server) postBatch(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeRead|auth.ScopeWrite)
	if err != nil {
		return err
	}
	var r protocol.BatchRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	known := false
	for _, a := range protocol.BatchActions {
		known = known || a == r.Action
	}
	switch {
	case !known:
		return refuse(protocol.CodeInvalidRequest, "action must be one of delete, archive, unarchive, pin, unpin, seen")
	case len(r.SessionIDs) == 0 || len(r.SessionIDs) > protocol.MaxBatch:
		return refuse(protocol.CodeInvalidRequest, "sessionIds must name 1 to %d sessions", protocol.MaxBatch)
	}
	ctx, cancel := timeout()
	defer cancel()
	out := protocol.BatchResponse{Results: make([]protocol.BatchResult, len(r.SessionIDs))}
	var wg sync.WaitGroup
	slots := make(chan struct{}, batchAtOnce)
	for i, id := range r.SessionIDs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out.Results[i] = protocol.BatchResult{SessionID: id}
			if err := s.act(ctx, who, id, r.Action); err != nil {
				a := toAnswer(err)
				if a.internal {
					s.cfg.Log.Error("an action of a batch failed", "action", r.Action, "session", id, "error", err)
				}
				out.Results[i].Problem = new(problemOf(a))
			}
		})
	}
	wg.Wait()
	return send(c, fiber.StatusOK, out)
}

// act does one action of a batch. A panic is this session's error alone.
func (s *Server) act(ctx context.Context, who caller, id, action string) (err error) {
	defer func() { s.panicked(recover(), "/api/sessions/batch", &err) }()
	snap, err := s.cfg.Hub.Load(ctx, id)
	if err != nil {
		return err
	}
	if err := s.admits(who, snap, auth.ScopeWrite); err != nil {
		return err
	}
	if err := s.cfg.Hub.Inbox.Act(ctx, id, action); err != nil {
		return err
	}
	if action == protocol.BatchDelete {
		s.audit("session deleted", who, id)
	}
	return nil
}

// search answers a listing with ?query=.
func (s *Server) search(ctx context.Context, c *fiber.Ctx, q hub.ListQuery) (out protocol.SessionList, err error) {
	logs, err := queryBool(c, "text")
	if err != nil {
		return out, err
	}
	found, err := s.cfg.Hub.Inbox.Search(ctx, hub.SearchQuery{ListQuery: q, Text: c.Query("query"), InLogs: logs != nil && *logs})
	if err != nil {
		return out, err
	}
	out = protocol.SessionList{NextCursor: found.Next, Unsearched: found.Unsearched}
	out.Sessions, err = s.cfg.Hub.Views(ctx, found.Sessions)
	return out, err
}

// queryBool reads true or false; nil: the parameter is absent.
func queryBool(c *fiber.Ctx, name string) (*bool, error) {
	v := c.Query(name)
	if v == "" {
		return nil, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil || v != "true" && v != "false" {
		return nil, refuse(protocol.CodeInvalidRequest, "%s must be true or false", name)
	}
	return &b, nil
}
