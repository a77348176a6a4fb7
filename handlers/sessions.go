package handlers

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// maxListed bounds one page of GET /api/sessions.
const maxListed = 200

func (s *Server) listProviders(c *fiber.Ctx) error {
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
	providers, err := s.cfg.Hub.Providers(ctx, user)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, providers)
}

func (s *Server) stats(c *fiber.Ctx) error {
	if _, err := s.admitUser(c, auth.ScopeRead); err != nil {
		return err
	}
	answer := protocol.Stats{Node: s.cfg.Node, StartedAt: s.cfg.Metrics.Started().UTC().Truncate(time.Millisecond)}
	for _, b := range s.cfg.Metrics.Deliveries() {
		answer.Delivery = append(answer.Delivery, protocol.DeliveryBucket{UpToMicros: uint64(b.UpTo.Microseconds()), Count: b.Count})
	}
	return send(c, fiber.StatusOK, answer)
}

func (s *Server) createSession(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeCreate)
	if err != nil {
		return err
	}
	var r protocol.CreateRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	user := who.user
	if r.UserID != "" && r.UserID != user {
		if !who.service {
			return refuse(protocol.CodeForbidden, "this credential may create sessions for the user %q only", who.user)
		}
		user = r.UserID
	}
	key, err := idempotencyKey(c, who, user)
	if err != nil {
		return err
	}
	limit := timeout
	if r.Worktree.Wanted {
		limit = workerTimeout
	}
	ctx, cancel := limit()
	defer cancel()
	snap, err := s.cfg.Hub.Create(ctx, user, key, r)
	if err != nil {
		return err
	}
	return s.created(ctx, c, who, snap, "session created")
}

// forkSession serves POST /api/sessions/:id/fork. The fork is of the same user.
func (s *Server) forkSession(c *fiber.Ctx) error {
	if _, err := s.admitUser(c, auth.ScopeCreate); err != nil {
		return err
	}
	ctx, cancel := workerTimeout() // a long log takes its time
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeAll)
	if err != nil {
		return err
	}
	var r protocol.ForkRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	key, err := idempotencyKey(c, who, snap.State.Info.UserID)
	if err != nil {
		return err
	}
	fork, err := s.cfg.Hub.Fork(ctx, snap.State.Info.SessionID, key, r)
	if err != nil {
		return err
	}
	return s.created(ctx, c, who, fork, "session forked")
}

// created answers with a new session.
func (s *Server) created(ctx context.Context, c *fiber.Ctx, who caller, snap hub.Snapshot, what string) error {
	view, err := s.cfg.Hub.View(ctx, snap)
	if err != nil {
		return err
	}
	var token string
	var expires time.Time
	if scope := who.scope & auth.ScopeAll; scope != 0 { // a narrowed user token makes no wider one
		made, claims := s.cfg.Signer.Mint(who.order(view.SessionID, view.UserID, scope, snap.State.Generation, 0))
		token, expires = made, claims.ExpiresAt
	}
	s.audit(what, who, view.SessionID, "user", view.UserID, "provider", view.Provider)
	base := s.base(c) + "/api/sessions/" + view.SessionID
	return send(c, fiber.StatusCreated, protocol.CreateResponse{
		SessionID: view.SessionID, Token: token, ExpiresAt: expires, Session: view,
		EventsURL: base + "/events", WebsocketURL: "ws" + strings.TrimPrefix(base, "http") + "/ws",
		MessagesURL: base + "/messages", ApproveURL: base + "/approve",
	})
}

// maxIdempotencyKey bounds the header, in bytes.
const maxIdempotencyKey = 256

// idempotencyKey names the request among the requests of all callers for all users. It is
// empty without the header.
func idempotencyKey(c *fiber.Ctx, who caller, user string) (string, error) {
	key := c.Get("Idempotency-Key")
	if key == "" {
		return "", nil
	}
	if len(key) > maxIdempotencyKey {
		return "", refuse(protocol.CodeInvalidRequest, "Idempotency-Key is longer than %d bytes", maxIdempotencyKey)
	}
	return strings.Join([]string{who.user, user, key}, "\x00"), nil
}

// base is the start of absolute URLs, without a slash at the end.
func (s *Server) base(c *fiber.Ctx) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimSuffix(s.cfg.PublicURL, "/")
	}
	u := url.URL{Scheme: "http", Host: string(c.Request().Host())}
	if s.overTLS(c) {
		u.Scheme = "https"
	}
	return u.String()
}

// overTLS reports whether clients reach the hub over TLS. --public-url tells it about a
// proxy's TLS.
func (s *Server) overTLS(c *fiber.Ctx) bool {
	return c.Context().IsTLS() || strings.HasPrefix(s.cfg.PublicURL, "https://")
}

func (s *Server) listSessions(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeRead)
	if err != nil {
		return err
	}
	q := hub.ListQuery{Status: protocol.Status(c.Query("status")), After: c.Query("cursor")}
	if q.Limit, err = queryLimit(c, maxListed); err != nil {
		return err
	}
	if q.User, err = queryUser(c, who); err != nil {
		return err
	}
	if q.Status != "" && !knownStatus(q.Status) {
		return refuse(protocol.CodeInvalidRequest, "status must be one of idle, queued, starting, running, requires_action, ended, failed")
	}
	if q.Archived, err = queryBool(c, "archived"); err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	if c.Context().QueryArgs().Has("query") {
		found, err := s.search(ctx, c, q)
		if err != nil {
			return err
		}
		return send(c, fiber.StatusOK, found)
	}
	snaps, next, err := s.cfg.Hub.List(ctx, q)
	if err != nil {
		return err
	}
	views, err := s.cfg.Hub.Views(ctx, snaps)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, protocol.SessionList{Sessions: views, NextCursor: next})
}

// listAgentSessions serves GET /api/agent-sessions.
func (s *Server) listAgentSessions(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeRead)
	if err != nil {
		return err
	}
	q := hub.AgentSessionsQuery{
		Provider: c.Query("provider"), WorkingDirectory: c.Query("workingDirectory"),
		Workspace: c.Query("workspace"), Cursor: c.Query("cursor"),
	}
	if q.Limit, err = queryLimit(c, protocol.MaxAgentSessions); err != nil {
		return err
	}
	if q.User, err = queryUser(c, who); err != nil {
		return err
	}
	ctx, cancel := workerTimeout()
	defer cancel()
	page, err := s.cfg.Hub.AgentSessions.List(ctx, q)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, page)
}

func knownStatus(st protocol.Status) bool {
	for _, k := range protocol.Statuses {
		if k == st {
			return true
		}
	}
	return false
}

// queryUser reads ?userId=, the user whose sessions a key sees. Without it, a service key
// sees everybody's.
func queryUser(c *fiber.Ctx, who caller) (string, error) {
	u := c.Query("userId")
	if !who.service && u != "" && u != who.user {
		return "", refuse(protocol.CodeForbidden, "this credential sees what the user %q may see only", who.user)
	}
	if !who.service {
		u = who.user
	}
	return u, nil
}

// queryLimit reads ?limit=. It must be at least 1; a value above most counts as most.
func queryLimit(c *fiber.Ctx, most int) (int, error) {
	v := c.Query("limit")
	if v == "" {
		return most, nil
	}
	n, err := strconv.Atoi(v)
	if errors.Is(err, strconv.ErrRange) && n > 0 {
		err = nil // more than an int holds is more than most, too
	}
	if err != nil || n < 1 {
		return 0, refuse(protocol.CodeInvalidRequest, "limit must be a number of at least 1")
	}
	return min(n, most), nil
}

func (s *Server) getSession(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	view, err := s.cfg.Hub.View(ctx, snap)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, view)
}

func (s *Server) patchSession(c *fiber.Ctx) error {
	return s.command(c, commandScopes[protocol.CommandRename], protocol.CommandRename, fiber.StatusOK)
}

func (s *Server) deleteSession(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeWrite)
	if err != nil {
		return err
	}
	if err := s.cfg.Hub.Delete(ctx, snap.State.Info.SessionID); err != nil {
		return err
	}
	s.audit("session deleted", who, snap.State.Info.SessionID)
	return c.SendStatus(fiber.StatusNoContent)
}

// audit logs the caller, the action and the address. It logs no secret and no body.
func (s *Server) audit(what string, who caller, session string, more ...any) {
	by := "none" // local mode
	switch {
	case who.signIn != nil:
		by = "sign-in " + who.signIn.ID
	case !who.isKey():
		by = "token " + who.token.ID
	case who.key != "":
		by = "key " + who.key
	}
	var about []any
	if session != "" {
		about = []any{"session", session}
	}
	s.cfg.Log.Info(what, append(append(about, "by", who.user, "credential", by, "remote", who.remote.String()), more...)...)
}
