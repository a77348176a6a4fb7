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

// requestTimeout bounds how long a request may wait for the store.
const requestTimeout = 15 * time.Second

func stack() string { return string(debug.Stack()) }

// guard judges a request before it can act: its Host, its Origin, and the declared type of
// its body. Together these keep a web page that a person visits from reaching a hub on the
// person's machine.
func (s *Server) guard(c *fiber.Ctx) error {
	host := string(c.Request().Host()) // not Hostname, which would believe X-Forwarded-Host
	if s.cfg.Local && !s.cfg.Origins.CheckHost(host) {
		return deny(protocol.CodeHostRefused, metrics.AuthHost, "this hub serves its own machine only: use localhost, or allow the origin with --allowed-origins")
	}
	origin := c.Get(fiber.HeaderOrigin)
	if origin != "" {
		c.Vary(fiber.HeaderOrigin)
	}
	if err := s.checkOrigin(c, origin, host); err != nil {
		return err
	}
	if origin != "" {
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		c.Set(fiber.HeaderAccessControlExposeHeaders, fiber.HeaderRetryAfter)
		if c.Method() == fiber.MethodOptions {
			return preflight(c)
		}
	}
	if err := s.checkLength(c); err != nil {
		return err
	}
	return c.Next()
}

// checkOrigin decides whether the page that a request comes from may have sent it. A hub
// without credentials cannot tell a person from a page of another site that points its own
// name at the hub. There the page's name counts as well, and so does Sec-Fetch-Site of a
// request without an Origin.
func (s *Server) checkOrigin(c *fiber.Ctx, origin, host string) error {
	if !s.cfg.Origins.Check(origin, host) {
		return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "the origin is not among --allowed-origins")
	}
	if !s.cfg.Anonymous {
		return nil
	}
	if !s.cfg.Local && !s.cfg.Origins.CheckNamed(origin, host, s.cfg.PublicURL) { // guard has checked the Host in local mode
		return deny(protocol.CodeOriginRefused, metrics.AuthOrigin,
			"a hub without a key knows no page by this name: use its IP address, or set --public-url or --allowed-origins")
	}
	if origin == "" && c.Get("Sec-Fetch-Site") == auth.CrossSite && !opensPage(c) {
		return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "the request comes from a page of another site")
	}
	return nil
}

// opensPage reports whether a browser opens the dashboard, also by a link on another site.
// The person sees the answer; the page with the link does not.
func opensPage(c *fiber.Ctx) bool {
	read := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	return read && c.Get("Sec-Fetch-Mode") == "navigate" && !strings.HasPrefix(c.Path(), "/api/")
}

// commonHeaders are on every answer, refusals among them.
func commonHeaders(c *fiber.Ctx) {
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
}

// preflight answers a CORS preflight (Fetch standard, section 3.2) of an origin
// that was let through.
func preflight(c *fiber.Ctx) error {
	c.Set(fiber.HeaderAccessControlAllowMethods, "GET, POST, PATCH, DELETE")
	c.Set(fiber.HeaderAccessControlAllowHeaders, "Authorization, Content-Type, X-API-Key, Idempotency-Key, Last-Event-ID, "+
		"traceparent, tracestate, baggage, sentry-trace") // a page's tracing adds the last four to every request
	c.Set(fiber.HeaderAccessControlMaxAge, "600")
	return c.SendStatus(fiber.StatusNoContent)
}

// caller is the sender of a request, as its credential tells.
type caller struct {
	user    string
	service bool // may act for any user
	scope   auth.Scope
	session string      // a session token's; empty for a key, and for a user token
	account bool        // a user token or a sign-in
	signIn  *hub.SignIn // of a sign-in's cookie
	token   auth.Claims // of a token, a ticket or a cookie
	key     string      // name of the API key that calls; empty for a token, and for nobody in local mode
	keyID   string      // of the API key that calls, or that made the ticket
	remote  net.Addr    // where from
}

// isKey reports whether the caller has an API key's rights.
func (c caller) isKey() bool { return c.session == "" && !c.account }

// authenticate finds the caller. Of several credentials the first of X-API-Key,
// Authorization, the WebSocket's subprotocol and the cookie of a sign-in counts. A wrong
// credential is refused, and the next one is not tried.
func (s *Server) authenticate(c *fiber.Ctx) (caller, error) {
	ctx, cancel := timeout()
	defer cancel()
	who, err := s.identify(ctx, c)
	who.remote = s.remote(c)
	if who.signIn != nil {
		s.noteUse(ctx, c, who)
	}
	return who, err
}

func (s *Server) identify(ctx context.Context, c *fiber.Ctx) (caller, error) {
	if key, err := auth.APIKey(c.Get("X-API-Key")); !errors.Is(err, auth.ErrNoCredential) {
		if err != nil {
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "X-API-Key cannot be read")
		}
		return s.byKey(key)
	}
	if bearer, err := auth.Bearer(c.Get(fiber.HeaderAuthorization)); !errors.Is(err, auth.ErrNoCredential) {
		switch {
		case err != nil:
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "the only Authorization that is taken is: Bearer <token or API key>")
		case strings.Count(bearer, ".") == 2: // a JWT (RFC 7519), or a key that looks like one
			who, err := s.byToken(ctx, bearer)
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
			return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "Sec-WebSocket-Protocol must hold one bearer.<token>")
		}
		return s.byToken(ctx, token)
	}
	if value, err := s.signInValue(c); err != nil {
		return caller{}, err
	} else if value != "" {
		return s.bySignIn(ctx, c, value)
	}
	switch {
	case s.cfg.Local:
		return caller{user: localUser, scope: auth.ScopeKey}, nil
	case s.cfg.Anonymous:
		return caller{user: anonymousUser, scope: auth.ScopeKey}, nil
	}
	return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthMissing,
		"this route needs a credential: an API key in X-API-Key, or a token in Authorization: Bearer")
}

func (s *Server) byKey(key string) (caller, error) {
	id, ok := s.cfg.Keys().Lookup(key)
	if !ok {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthAPIKey, "the API key is not known")
	}
	return caller{user: id.User, service: id.Service, scope: auth.ScopeKey, key: id.Name, keyID: id.ID}, nil
}

// byToken finds the caller of a token. What the token ends with in its user's account is
// judged here; admits judges what lies in the session.
func (s *Server) byToken(ctx context.Context, token string) (caller, error) {
	claims, err := s.cfg.Signer.Verify(token, time.Now())
	switch {
	case errors.Is(err, auth.ErrTokenExpired):
		return caller{}, deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "the token has expired: get a new one")
	case err != nil:
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTokenInvalid, "%v", err)
	}
	if claims.Cookie || claims.SignIn {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTokenInvalid, "a cookie's value is no token")
	}
	who := byClaims(claims)
	if g := who.grant(); g.OfAccount() {
		err = s.checkAccount(ctx, g)
	}
	if err != nil {
		return caller{}, err
	}
	return who, nil
}

func byClaims(c auth.Claims) caller {
	return caller{user: c.User, scope: c.Scope, session: c.Session, account: c.Session == "", token: c}
}

// grant is the part of the caller's credential that the hub keeps.
func (c caller) grant() hub.Grant {
	return hub.Grant{
		User: c.user, Scope: uint8(c.scope), TokenID: c.token.ID, Generation: c.token.Generation, Expires: c.token.ExpiresAt,
		Key: c.token.Key, KeyID: c.keyID, Account: c.account, From: c.token.From,
	}
}

// byTicket finds the caller of a ticket. It is for the two streams, where a browser cannot
// set headers.
func (s *Server) byTicket(ctx context.Context, id, ticket string) (caller, error) {
	g, err := s.cfg.Hub.Redeem(ctx, id, ticket)
	if errors.Is(err, hub.ErrTicket) {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthTicket, "the ticket is unknown, was used, is older than 30 s, or has outlived the token that made it")
	}
	if err == nil && g.OfAccount() {
		err = s.checkAccount(ctx, g)
	}
	if err != nil {
		return caller{}, err
	}
	return byGrant(g, id), nil
}

// byGrant is the caller to whom a grant was made.
func byGrant(g hub.Grant, session string) caller {
	return caller{user: g.User, scope: auth.Scope(g.Scope), session: session, account: g.Account, keyID: g.KeyID, token: auth.Claims{
		User: g.User, Session: session, Scope: auth.Scope(g.Scope), ID: g.TokenID, Generation: g.Generation, ExpiresAt: g.Expires, Key: g.Key, From: g.From,
	}}
}

// byCookie finds the caller of a cookie. It is for the two streams: an EventSource that
// reconnects unasked sends it.
func (s *Server) byCookie(ctx context.Context, value string) (caller, error) {
	claims, err := s.cfg.Signer.Verify(value, time.Now())
	if errors.Is(err, auth.ErrTokenExpired) {
		return caller{}, deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "the cookie has expired: get a new one")
	}
	if err != nil || !claims.Cookie {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthCookie, "the cookie is not valid")
	}
	who := byClaims(claims)
	if g := who.grant(); g.OfAccount() {
		err = s.checkAccount(ctx, g)
	}
	if err != nil {
		return caller{}, err
	}
	return who, nil
}

// cookieName is the name of each session's cookie. The cookie's path names the session.
const cookieName = "sessionhub"

// authenticateStream is authenticate, and also takes tickets and cookies.
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
		return s.byCookie(ctx, value)
	}
	return s.identify(ctx, c)
}

// authorize finds the session of the route and checks that the caller has the scope for
// it. A session of another user is not found.
func (s *Server) authorize(ctx context.Context, c *fiber.Ctx, scope auth.Scope) (caller, hub.Snapshot, error) {
	who, err := s.authenticate(c)
	if err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	return s.admitTo(ctx, c, who, scope)
}

func (s *Server) admitTo(ctx context.Context, c *fiber.Ctx, who caller, scope auth.Scope) (caller, hub.Snapshot, error) {
	id := c.Params("id")
	if err := who.opens(id); err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	snap, err := s.cfg.Hub.Load(ctx, id)
	if err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	if err := s.admits(who, snap, scope); err != nil {
		return caller{}, hub.Snapshot{}, err
	}
	return who, snap, nil
}

// opens refuses a caller whose token is for another session. It needs the credential alone.
func (c caller) opens(id string) error {
	if c.session != "" && c.session != id {
		return errNoSession
	}
	return nil
}

// admits judges a caller by the session as it was just read.
func (s *Server) admits(who caller, snap hub.Snapshot, scope auth.Scope) error {
	if !who.service && who.user != snap.State.Info.UserID {
		return errNoSession
	}
	if err := s.checkGrant(snap, who.grant()); err != nil {
		return err
	}
	if !who.scope.Contains(scope) {
		return deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; this needs %q", who.scope, scope)
	}
	return nil
}

// checkGrant refuses a grant that no longer opens the session, by the session's state as it
// was just read.
func (s *Server) checkGrant(snap hub.Snapshot, g hub.Grant) error {
	return grantError(s.cfg.Hub.CheckGrant(snap.State, g))
}

var errNoSession = deny(protocol.CodeNotFound, metrics.AuthForeign, "there is no such session")

// timeout bounds a request's work. It makes a context of its own: fasthttp reuses the
// request's context while a goroutine of the context package may still read it.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

func send(c *fiber.Ctx, status int, v any) error { return sendJSON(c, status, protocol.Marshal(v)) }

func sendJSON(c *fiber.Ctx, status int, raw []byte) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Status(status).Send(raw)
}
