package handlers

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// signInCookie is the name of the cookie of a browser that is signed in. Its path is that of
// the API.
const signInCookie = "sessionhub_user"

// signInValue reads the cookie of a sign-in. A hub that asks nobody for a credential does
// not read it. A page on a neighbouring name can add a cookie of the same name, to make a
// person act in its account. So two of them are refused.
func (s *Server) signInValue(c *fiber.Ctx) (string, error) {
	if s.cfg.Local || s.cfg.Anonymous {
		return "", nil
	}
	value, count := "", 0
	c.Request().Header.VisitAllCookie(func(name, v []byte) {
		if string(name) == signInCookie {
			value = string(v)
			count++
		}
	})
	if count > 1 {
		return "", deny(protocol.CodeUnauthorized, metrics.AuthCookie, "there are two cookies %s: remove those of this site", signInCookie)
	}
	return value, nil
}

// checkSignInOrigin refuses a request with the cookie of a sign-in that a page of another
// origin may have caused (CSRF). A browser sends the cookie by itself, also for a page on
// another port or a neighbouring name: SameSite knows neither. guard has let the Origin
// through, if there is one.
//
// A page of the same name without TLS is another origin too: whoever is between the browser
// and the hub can write it. guard does not tell them apart. Browsers trust a page of their
// own machine.
func (s *Server) checkSignInOrigin(c *fiber.Ctx) error {
	if origin := c.Get(fiber.HeaderOrigin); origin != "" {
		if s.overTLS(c) && strings.HasPrefix(strings.ToLower(origin), "http:") && !auth.IsLoopbackHost(string(c.Request().Host())) {
			return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "with the cookie of a sign-in, the request must come from a page with https")
		}
		return nil
	}
	reads := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	if !reads || c.Get(fiber.HeaderUpgrade) != "" {
		return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "with the cookie of a sign-in, the request must name its Origin")
	}
	switch c.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // browsers give no Origin to a GET of the same origin
		return nil
	}
	return deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "the request comes from a page of another origin")
}

// bySignIn finds the caller of a sign-in's cookie.
func (s *Server) bySignIn(ctx context.Context, c *fiber.Ctx, value string) (caller, error) {
	if err := s.checkSignInOrigin(c); err != nil {
		return caller{}, err
	}
	claims, err := s.cfg.Signer.Verify(value, time.Now())
	if errors.Is(err, auth.ErrTokenExpired) {
		return caller{}, deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "the sign-in has expired: sign in again")
	}
	if err != nil || !claims.SignIn {
		return caller{}, deny(protocol.CodeUnauthorized, metrics.AuthCookie, "the cookie of the sign-in is not valid")
	}
	signIn, err := s.cfg.Hub.Accounts.SignIn(ctx, claims.User, claims.ID)
	if err == nil {
		err = s.cfg.Hub.Accounts.Check(ctx, hub.Grant{User: claims.User, Key: signIn.Key})
	}
	if err != nil {
		return caller{}, grantError(err)
	}
	return caller{
		user: claims.User, scope: auth.Scope(signIn.Scope), account: true, signIn: &signIn,
		token: auth.Claims{
			User: claims.User, Scope: auth.Scope(signIn.Scope), Key: signIn.Key, ExpiresAt: claims.ExpiresAt,
			From: hub.FromSignIn(signIn.ID), Renewable: signIn.Until.IsZero(),
		},
	}, nil
}

// noteUse notes that a sign-in is used, and renews its cookie. A cookie that ends before its
// sign-in missed a renewal: the answer was lost, or was a stream, which sets no cookie. The
// request goes on if that fails.
func (s *Server) noteUse(ctx context.Context, c *fiber.Ctx, who caller) {
	now, renewed, err := s.cfg.Hub.Accounts.Use(ctx, who.user, *who.signIn)
	switch {
	case err != nil:
		s.cfg.Log.Warn("the use of a sign-in was not noted", "user", who.user, "error", err)
	case renewed, who.token.ExpiresAt.Unix() < now.ExpiresAt.Unix():
		s.setSignIn(c, who.user, now)
	}
}

// setSignIn gives the browser the cookie of a sign-in.
func (s *Server) setSignIn(c *fiber.Ctx, user string, signIn hub.SignIn) {
	value := s.cfg.Signer.MintSignIn(auth.Claims{
		User: user, ID: signIn.ID, Scope: auth.Scope(signIn.Scope), Key: signIn.Key, IssuedAt: time.Now(), ExpiresAt: signIn.ExpiresAt,
	})
	s.cookie(c, value, signIn.ExpiresAt)
}

func (s *Server) cookie(c *fiber.Ctx, value string, expires time.Time) {
	c.Cookie(&fiber.Cookie{
		Name: signInCookie, Value: value, Path: s.basePath + "/api", Expires: expires,
		HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode, Secure: s.overTLS(c),
	})
}

// admitSignIn admits callers who may sign browsers in: API keys, and user tokens and
// sign-ins of full scope. It gives the grant that a new sign-in has, the name of the key
// that it ends with, and the end of one whose maker was narrowed in time.
func (s *Server) admitSignIn(c *fiber.Ctx, named func(caller) (string, error)) (who caller, g hub.Grant, until time.Time, err error) {
	if who, err = s.admitUser(c, auth.ScopeUser); err != nil {
		return who, g, until, err
	}
	if who.isKey() && who.key == "" {
		return who, g, until, refuse(protocol.CodeInvalidRequest, "this hub asks nobody for a credential: there is nothing to sign in to")
	}
	user, err := named(who)
	if err != nil {
		return who, g, until, err
	}
	g = who.grant()
	g.User = user
	if who.isKey() {
		g.Key = who.key
	}
	switch {
	case who.signIn != nil:
		until = who.signIn.Until
	case who.account && !who.token.Renewable:
		until = who.token.ExpiresAt
	}
	return who, g, until, nil
}

// maxSignInBytes bounds the body of a sign-in: anybody may send one.
const maxSignInBytes = 8 << 10

// postSignIn signs the browser in that sends the request.
func (s *Server) postSignIn(c *fiber.Ctx) error {
	// The body says which credential counts: a ticket needs no other one.
	var r protocol.SignInRequest
	if err := s.bodyUpTo(c, &r, min(maxSignInBytes, s.cfg.MaxMessageBytes)); err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	if r.Ticket != "" {
		return s.redeemSignIn(ctx, c, r)
	}
	who, g, until, err := s.admitSignIn(c, func(who caller) (string, error) { return who.userOf(r.UserID) })
	if err != nil {
		return err
	}
	if who.signIn != nil {
		return refuse(protocol.CodeInvalidRequest, "this browser is signed in already")
	}
	signIn, err := s.cfg.Hub.Accounts.Begin(ctx, g, g.Key, r.Label, until)
	if err != nil {
		return grantError(err)
	}
	return s.signedIn(c, who, g.User, signIn)
}

// redeemSignIn signs the browser in that has a ticket.
func (s *Server) redeemSignIn(ctx context.Context, c *fiber.Ctx, r protocol.SignInRequest) error {
	wrong := deny(protocol.CodeUnauthorized, metrics.AuthTicket, "the ticket is unknown, was used, is older than 2 minutes, or has outlived what made it")
	user, secret, err := readTicket(r.Ticket)
	if err != nil || r.UserID != "" && r.UserID != user {
		return wrong
	}
	signIn, err := s.cfg.Hub.Accounts.Redeem(ctx, user, secret, r.Label)
	switch {
	case errors.Is(err, hub.ErrTicket):
		return wrong
	case err != nil:
		return grantError(err)
	}
	who := caller{user: user, account: true, signIn: &signIn, remote: s.remote(c)}
	return s.signedIn(c, who, user, signIn)
}

func (s *Server) signedIn(c *fiber.Ctx, who caller, user string, signIn hub.SignIn) error {
	s.setSignIn(c, user, signIn)
	s.audit("signed in", who, "", "user", user, "sign_in", signIn.ID, "expires", signIn.ExpiresAt)
	return send(c, fiber.StatusCreated, protocol.SignInResponse{UserID: user, SignIn: signInView(signIn, true)})
}

func signInView(s hub.SignIn, current bool) protocol.SignIn {
	tidy := func(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
	return protocol.SignIn{
		ID: s.ID, Label: s.Label, CreatedAt: tidy(s.CreatedAt), LastUsedAt: tidy(s.LastUsedAt), ExpiresAt: tidy(s.ExpiresAt), Current: current,
	}
}

// A sign-in ticket is the user's name in base64url, a dot, and a secret. The name leads to
// the account, and lets the page say who it is about to be.
func writeTicket(user, secret string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(user)) + "." + secret
}

func readTicket(ticket string) (user, secret string, err error) {
	name, secret, ok := strings.Cut(ticket, ".")
	if !ok || secret == "" || len(ticket) > auth.MaxTokenBytes {
		return "", "", hub.ErrTicket
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(name)
	if err != nil {
		return "", "", hub.ErrTicket
	}
	return string(raw), secret, nil
}

// postSignInTicket makes a ticket that signs another browser in, such as a phone's.
func (s *Server) postSignInTicket(c *fiber.Ctx) error {
	var r protocol.SignInTicketRequest
	who, g, until, err := s.admitSignIn(c, func(who caller) (string, error) {
		if err := s.body(c, &r); err != nil {
			return "", err
		}
		return who.userOf(r.UserID)
	})
	if err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	secret, expires, err := s.cfg.Hub.Accounts.NewTicket(ctx, g, until)
	if err != nil {
		return err
	}
	s.audit("sign-in ticket made", who, "", "user", g.User)
	ticket := writeTicket(g.User, secret)
	return send(c, fiber.StatusCreated, protocol.SignInTicketResponse{
		Ticket: ticket, ExpiresAt: expires, URL: s.base(c) + "/#sign-in=" + url.QueryEscape(ticket),
	})
}

// listSignIns serves GET /api/sign-ins.
func (s *Server) listSignIns(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeUser)
	if err != nil {
		return err
	}
	user, err := who.userOf(c.Query("userId"))
	if err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	all, err := s.cfg.Hub.Accounts.SignIns(ctx, user)
	if err != nil {
		return err
	}
	list := protocol.SignInList{UserID: user, Required: !s.cfg.Local && !s.cfg.Anonymous, SignIns: make([]protocol.SignIn, len(all))}
	for i, signIn := range all {
		list.SignIns[i] = signInView(signIn, who.signIn != nil && who.signIn.ID == signIn.ID)
	}
	return send(c, fiber.StatusOK, list)
}

// deleteSignIns serves DELETE /api/sign-ins/:signInId.
func (s *Server) deleteSignIns(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeUser)
	if err != nil {
		return err
	}
	user, err := who.userOf(c.Query("userId"))
	if err != nil {
		return err
	}
	return s.endSignIn(c, who, user, c.Params("signInId"))
}

// deleteSignIn serves DELETE /api/sign-in: it signs this browser out. The cookie goes in any
// case.
func (s *Server) deleteSignIn(c *fiber.Ctx) error {
	who, err := s.admitUser(c, 0)
	if err == nil && who.signIn == nil {
		err = refuse(protocol.CodeInvalidRequest, "the request has no sign-in that could be ended")
	}
	if toAnswer(err).code != protocol.CodeOriginRefused {
		s.cookie(c, "", time.Unix(1, 0))
	}
	if err != nil {
		return err
	}
	return s.endSignIn(c, who, who.user, who.signIn.ID)
}

func (s *Server) endSignIn(c *fiber.Ctx, who caller, user, id string) error {
	ctx, cancel := timeout()
	defer cancel()
	known, err := s.cfg.Hub.Accounts.End(ctx, user, id)
	if err != nil {
		return err
	}
	if !known {
		return refuse(protocol.CodeNotFound, "there is no such sign-in")
	}
	s.audit("signed out", who, "", "user", user, "sign_in", id)
	return c.SendStatus(fiber.StatusNoContent)
}
