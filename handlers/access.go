package handlers

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// The users of requests without a credential.
const (
	localUser     = "local"
	anonymousUser = "anonymous"
)

// requestTimeout bounds what a request may wait for the store.
const requestTimeout = 15 * time.Second

func stack() string { return string(debug.Stack()) }

// guard judges a request before it can act: who it says it talks to, which page
// it comes from, and how its body is declared. Together they keep a web page
// that a person happens to visit from reaching a hub on their machine.
func (s *Server) guard(c *fiber.Ctx) error {
	if err := checkFraming(c.Request().Header.RawHeaders(), c.Request().Header.IsHTTP11()); err != nil {
		c.Response().Header.SetConnectionClose()
		return refuse(protocol.CodeInvalidRequest, "%v", err)
	}
	host := string(c.Request().Host()) // not Hostname, which would believe X-Forwarded-Host
	if s.cfg.Local && !s.cfg.Origins.CheckHost(host) {
		return deny(protocol.CodeHostRefused, metrics.AuthHost, "this hub serves its own machine only: use localhost, or allow the origin with --allowed-origins")
	}
	if origin := c.Get(fiber.HeaderOrigin); origin != "" {
		c.Vary(fiber.HeaderOrigin)
		if !s.cfg.Origins.Check(origin, host) {
			return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "the origin is not among --allowed-origins")
		}
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		c.Set(fiber.HeaderAccessControlExposeHeaders, fiber.HeaderRetryAfter)
		if c.Method() == fiber.MethodOptions {
			return preflight(c)
		}
	}
	if in := incomingOf(c); in != nil && in.length > s.cfg.MaxMessageBytes {
		return fiber.ErrRequestEntityTooLarge
	}
	return c.Next()
}

// commonHeaders are on every answer, refusals among them.
func commonHeaders(c *fiber.Ctx) {
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
}

// preflight answers a CORS preflight (Fetch standard, section 3.2) of an origin
// that was let through.
func preflight(c *fiber.Ctx) error {
	c.Set(fiber.HeaderAccessControlAllowMethods, "GET, POST, DELETE")
	c.Set(fiber.HeaderAccessControlAllowHeaders, "Authorization, Content-Type, X-API-Key, Idempotency-Key, Last-Event-ID")
	c.Set(fiber.HeaderAccessControlMaxAge, "600")
	return c.SendStatus(fiber.StatusNoContent)
}

// caller is who sends a request.
type caller struct {
	user    string
	service bool // may act for any user
	scope   auth.Scope
	session string      // a token's; empty for a key
	token   auth.Claims // of a token, a ticket or a cookie
	remote  net.Addr    // where from
}

// isKey reports whether the caller has an API key's rights.
func (c caller) isKey() bool { return c.session == "" }

// authenticate finds out who calls. Of several credentials the first of
// X-API-Key, Authorization and the WebSocket's subprotocol counts; one that is
// there and wrong is never passed over.
func (s *Server) authenticate(c *fiber.Ctx) (caller, error) {
	who, err := s.identify(c)
	who.remote = s.remote(c)
	return who, err
}

func (s *Server) identify(c *fiber.Ctx) (caller, error) {
	if key, err := auth.APIKey(c.Get("X-API-Key")); !errors.Is(err, auth.ErrNoCredential) {
		if err != nil {
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "X-API-Key cannot be read")
		}
		return s.byKey(key)
	}
	if bearer, err := auth.Bearer(c.Get(fiber.HeaderAuthorization)); !errors.Is(err, auth.ErrNoCredential) {
		switch {
		case err != nil:
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "the only Authorization that is taken is: Bearer <session token or API key>")
		case strings.Count(bearer, ".") == 2: // a JWT (RFC 7519), or a key that looks like one
			who, err := s.byToken(bearer)
			if toAnswer(err).code == protocol.CodeUnauthorized {
				if own, keyErr := s.byKey(bearer); keyErr == nil {
					return own, nil
				}
			}
			return who, err
		}
		return s.byKey(bearer)
	}
	if token, err := auth.SubprotocolBearer(c.Get("Sec-WebSocket-Protocol")); !errors.Is(err, auth.ErrNoCredential) {
		if err != nil {
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "Sec-WebSocket-Protocol must hold one bearer.<session token>")
		}
		return s.byToken(token)
	}
	switch {
	case s.cfg.Local:
		return caller{user: localUser, scope: auth.ScopeAll}, nil
	case s.cfg.Anonymous:
		return caller{user: anonymousUser, scope: auth.ScopeAll}, nil
	}
	return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMissing,
		"this route needs a credential: an API key in X-API-Key, or a session token in Authorization: Bearer")
}

func (s *Server) byKey(key string) (caller, error) {
	id, ok := s.cfg.Keys().Lookup(key)
	if !ok {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthAPIKey, "the API key is not known")
	}
	return caller{user: id.User, service: id.Service, scope: auth.ScopeAll}, nil
}

func (s *Server) byToken(token string) (caller, error) {
	claims, err := s.cfg.Signer.Verify(token, time.Now())
	switch {
	case errors.Is(err, auth.ErrTokenExpired):
		return caller{}, deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "the token has expired: get a new one")
	case err != nil:
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTokenInvalid, "%v", err)
	}
	if claims.Cookie {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTokenInvalid, "a cookie's value is no token")
	}
	return byClaims(claims), nil
}

func byClaims(c auth.Claims) caller {
	return caller{user: c.User, scope: c.Scope, session: c.Session, token: c}
}

// grant is what the hub keeps of the caller's credential.
func (c caller) grant() hub.Grant {
	return hub.Grant{
		User: c.user, Scope: uint8(c.scope), TokenID: c.token.ID, Generation: c.token.Generation, Expires: c.token.ExpiresAt,
	}
}

// byTicket is for the two streams, where a browser cannot set headers.
func (s *Server) byTicket(ctx context.Context, id, ticket string) (caller, error) {
	g, err := s.cfg.Hub.Redeem(ctx, id, ticket)
	if errors.Is(err, hub.ErrTicket) {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTicket, "the ticket is unknown, was used, or is older than 30 s")
	}
	if err != nil {
		return caller{}, err
	}
	return byGrant(g, id), nil
}

// byGrant is who a grant was made from.
func byGrant(g hub.Grant, session string) caller {
	return caller{user: g.User, scope: auth.Scope(g.Scope), session: session, token: auth.Claims{
		User: g.User, Session: session, Scope: auth.Scope(g.Scope), ID: g.TokenID, Generation: g.Generation, ExpiresAt: g.Expires,
	}}
}

// byCookie is for the two streams: an EventSource that comes back by itself
// sends it.
func (s *Server) byCookie(value string) (caller, error) {
	claims, err := s.cfg.Signer.Verify(value, time.Now())
	if errors.Is(err, auth.ErrTokenExpired) {
		return caller{}, deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "the cookie has expired: get a new one")
	}
	if err != nil || !claims.Cookie {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthCookie, "the cookie is not valid")
	}
	return byClaims(claims), nil
}

// cookieName is the cookie of one session: its path tells which.
const cookieName = "sessionhub"

// authenticateStream is authenticate with what only a stream takes.
func (s *Server) authenticateStream(ctx context.Context, c *fiber.Ctx) (caller, error) {
	who, err := s.identifyStream(ctx, c)
	who.remote = s.remote(c)
	return who, err
}

func (s *Server) identifyStream(ctx context.Context, c *fiber.Ctx) (caller, error) {
	named := c.Get("X-API-Key") != "" || c.Get(fiber.HeaderAuthorization) != "" ||
		strings.Contains(c.Get("Sec-WebSocket-Protocol"), protocol.BearerPrefix)
	if ticket := c.Query("ticket"); ticket != "" && !named {
		return s.byTicket(ctx, c.Params("id"), ticket)
	}
	if value := c.Cookies(cookieName); value != "" && !named {
		return s.byCookie(value)
	}
	return s.identify(c)
}

// authorize finds the session of the route and checks that the caller may do
// with it what scope says. A session that is somebody else's is not found.
func (s *Server) authorize(ctx context.Context, c *fiber.Ctx, scope auth.Scope) (caller, hub.Snapshot, error) {
	who, err := s.authenticate(c)
	if err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	return s.admitTo(ctx, c, who, scope)
}

func (s *Server) admitTo(ctx context.Context, c *fiber.Ctx, who caller, scope auth.Scope) (caller, hub.Snapshot, error) {
	id := c.Params("id")
	if !who.isKey() && who.session != id {
		return caller{}, hub.Snapshot{}, errNoSession
	}
	snap, err := s.cfg.Hub.Load(ctx, id)
	if err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	if !who.service && who.user != snap.State.Info.UserID {
		return caller{}, hub.Snapshot{}, errNoSession
	}
	if !snap.State.TokenValid(who.grant()) {
		return caller{}, hub.Snapshot{}, deny(protocol.CodeTokenRevoked, metrics.AuthTokenRevoked, "the token was revoked: get a new one")
	}
	if !who.scope.Contains(scope) {
		return caller{}, hub.Snapshot{}, deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; this needs %q", who.scope, scope)
	}
	return who, snap, nil
}

var errNoSession = deny(protocol.CodeNotFound, metrics.AuthForeign, "there is no such session")

// keyOnly lets API keys through, and local requests.
func (s *Server) keyOnly(c *fiber.Ctx) (caller, error) {
	who, err := s.authenticate(c)
	if err == nil && !who.isKey() {
		err = refuse(protocol.CodeForbidden, "this route needs an API key, not a session token")
	}
	return who, err
}

// timeout bounds a request's work. Its context is not the request's: fasthttp
// reuses that one while a goroutine of the context package may still look at it.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

func send(c *fiber.Ctx, status int, v any) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Status(status).Send(protocol.Marshal(v))
}
