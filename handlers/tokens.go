package handlers

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// postToken makes a token that is not wider than the caller. It revokes all others if asked
// to.
func (s *Server) postToken(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, 0)
	if err != nil {
		return err
	}
	var r protocol.TokenRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	scope := who.scope
	if who.session == "" {
		scope &= auth.ScopeAll // what goes beyond it is asked for by name
	}
	if r.Scope != "" {
		if scope, err = auth.ParseScope(r.Scope); err != nil {
			return refuse(protocol.CodeInvalidRequest, "%v", err)
		}
		if !who.scope.Contains(scope) {
			return deny(protocol.CodeScope, metrics.AuthScope, "the caller has the scope %q, which does not hold %q", who.scope, scope)
		}
	}
	switch {
	case r.TTLSeconds < 0:
		return refuse(protocol.CodeInvalidRequest, "ttlSeconds must not be negative")
	case scope.Contains(auth.ScopeCreate):
		return refuse(protocol.CodeInvalidRequest, "a token of one session cannot have the scope create: see POST /api/user/token")
	case scope == 0:
		return deny(protocol.CodeScope, metrics.AuthScope, "the caller has the scope %q, which holds nothing of a session", who.scope)
	}
	id, generation := snap.State.Info.SessionID, snap.State.Generation
	if r.RevokeOthers {
		if !who.scope.Contains(auth.ScopeAll) {
			return deny(protocol.CodeScope, metrics.AuthScope, "revokeOthers needs the full scope, the token has %q", who.scope)
		}
		if generation, err = s.cfg.Hub.RevokeAll(ctx, id); err != nil {
			return err
		}
		s.audit("tokens revoked", who, id)
	}
	token, claims := s.cfg.Signer.Mint(who.order(id, snap.State.Info.UserID, scope, generation, tokenTTL(r.TTLSeconds)))
	s.audit("token made", who, id, "scope", scope.String(), "expires", claims.ExpiresAt)
	return send(c, fiber.StatusCreated, protocol.TokenResponse{Token: token, ExpiresAt: claims.ExpiresAt, Scope: scope.String()})
}

// tokenTTL is the life that the caller wants for a token, 0 for none. The signer limits it
// to --token-ttl.
func tokenTTL(seconds int64) time.Duration {
	const year = 365 * 24 * 3600
	return time.Duration(min(seconds, year)) * time.Second
}

// order is the token that the caller wants for a session, or for a user if there is no
// session. A token made from a token names the same API key, and ends with the same sign-in.
// It ends no later if that token was narrowed. What a user token makes for a session also
// ends with that token.
func (who caller) order(session, user string, scope auth.Scope, generation uint64, ttl time.Duration) auth.Order {
	o := auth.Order{Session: session, User: user, Scope: scope, Generation: generation, TTL: ttl, Key: who.key, From: who.token.From}
	if who.isKey() {
		return o
	}
	maker := who.token
	if session != "" && who.account && who.signIn == nil {
		o.From, maker.Renewable = hub.FromToken(who.grant()), false
	}
	o.Maker = &maker
	return o
}

// deleteToken revokes the caller's token.
func (s *Server) deleteToken(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, 0)
	if err != nil {
		return err
	}
	if who.session == "" {
		return refuse(protocol.CodeInvalidRequest, "the request has no session token that could be revoked")
	}
	if err := s.cfg.Hub.Revoke(ctx, snap.State.Info.SessionID, who.grant()); err != nil {
		return err
	}
	s.audit("token revoked", who, snap.State.Info.SessionID)
	return c.SendStatus(fiber.StatusNoContent)
}

// postTicket makes a ticket for one stream.
func (s *Server) postTicket(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	grant := who.grant()
	if who.isKey() { // it acts as the session's user, like a token that a key makes
		grant.User = snap.State.Info.UserID
	}
	ticket, expires, err := s.cfg.Hub.NewTicket(ctx, snap.State.Info.SessionID, grant)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusCreated, protocol.TicketResponse{Ticket: ticket, ExpiresAt: expires})
}

// postCookie sets the cookie that reads this session's streams.
func (s *Server) postCookie(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	id, claims := snap.State.Info.SessionID, who.token
	if who.session == "" { // the cookie gets the end of a token that the caller makes
		_, claims = s.cfg.Signer.Mint(who.order(id, snap.State.Info.UserID, auth.ScopeRead, snap.State.Generation, 0))
	}
	c.Cookie(&fiber.Cookie{
		Name: cookieName, Value: s.cfg.Signer.MintCookie(claims), Path: s.basePath + "/api/sessions/" + id, Expires: claims.ExpiresAt,
		HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode, Secure: s.overTLS(c),
	})
	s.audit("cookie made", who, id)
	return c.SendStatus(fiber.StatusNoContent)
}
