package handlers

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// admitUser admits callers who act for their user and not on one session: API keys, requests
// in local mode, and user tokens and sign-ins with the scope.
func (s *Server) admitUser(c *fiber.Ctx, scope auth.Scope) (caller, error) {
	who, err := s.authenticate(c)
	switch {
	case err != nil:
		return who, err
	case who.session != "":
		return who, refuse(protocol.CodeForbidden, "this route needs an API key or a user token, not a session token")
	case !who.scope.Contains(scope):
		return who, deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; this needs %q", who.scope, scope)
	}
	return who, nil
}

// checkAccount refuses a grant that opens nothing of its user any more.
func (s *Server) checkAccount(ctx context.Context, g hub.Grant) error {
	return grantError(s.cfg.Hub.Accounts.Check(ctx, g))
}

// grantError is the answer to a request whose grant is over.
func grantError(err error) error {
	switch {
	case errors.Is(err, hub.ErrGrantExpired):
		return deny(protocol.CodeTokenExpired, metrics.AuthTokenExpired, "%v: get a new one", err)
	case errors.Is(err, hub.ErrKeyGone):
		return deny(protocol.CodeUnauthorized, metrics.AuthAPIKey, "%v", err)
	case errors.Is(err, hub.ErrGrantRevoked), errors.Is(err, hub.ErrTokenKeyGone), errors.Is(err, hub.ErrSignInGone):
		return deny(protocol.CodeTokenRevoked, metrics.AuthTokenRevoked, "%v: get a new one", err)
	}
	return err
}

// userOf is the user whom the caller acts for. Only a service key may name another one.
func (who caller) userOf(named string) (string, error) {
	switch {
	case named == "" || named == who.user:
		return who.user, nil
	case !who.service:
		return "", refuse(protocol.CodeForbidden, "this credential is for the user %q only", who.user)
	}
	return named, nil
}

// postUserToken makes a user token that is not wider than the caller. It revokes all others
// and ends the other sign-ins, if asked to.
func (s *Server) postUserToken(c *fiber.Ctx) error {
	who, err := s.admitUser(c, 0)
	if err != nil {
		return err
	}
	var r protocol.UserTokenRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	user, err := who.userOf(r.UserID)
	if err != nil {
		return err
	}
	scope := who.scope
	if who.isKey() || who.signIn != nil {
		scope &= auth.ScopeUser // what goes beyond it is asked for by name
	}
	if r.Scope != "" {
		if scope, err = auth.ParseScope(r.Scope); err != nil {
			return refuse(protocol.CodeInvalidRequest, "%v", err)
		}
		if !who.scope.Contains(scope) {
			return deny(protocol.CodeScope, metrics.AuthScope, "the caller has the scope %q, which does not hold %q", who.scope, scope)
		}
	}
	if r.TTLSeconds < 0 {
		return refuse(protocol.CodeInvalidRequest, "ttlSeconds must not be negative")
	}
	ctx, cancel := timeout()
	defer cancel()
	var generation uint64
	if r.RevokeOthers {
		if !who.scope.Contains(auth.ScopeUser) {
			return deny(protocol.CodeScope, metrics.AuthScope, "revokeOthers needs the full scope, the token has %q", who.scope)
		}
		if generation, err = s.cfg.Hub.Accounts.RevokeAll(ctx, user, who.keptSignIn()); err != nil {
			return err
		}
		s.audit("user tokens revoked", who, "", "user", user)
	} else if generation, err = s.cfg.Hub.Accounts.Generation(ctx, user); err != nil {
		return err
	}
	token, claims := s.cfg.Signer.Mint(who.order("", user, scope, generation, tokenTTL(r.TTLSeconds)))
	s.audit("user token made", who, "", "user", user, "scope", scope.String(), "expires", claims.ExpiresAt)
	return send(c, fiber.StatusCreated, protocol.UserTokenResponse{
		Token: token, ExpiresAt: claims.ExpiresAt, Scope: scope.String(), UserID: user,
	})
}

// keptSignIn is the sign-in that the caller's new tokens end with: it must stay.
func (who caller) keptSignIn() string {
	if who.signIn != nil {
		return who.signIn.ID
	}
	return hub.SignInOf(who.token.From)
}

// deleteUserToken revokes the caller's token.
func (s *Server) deleteUserToken(c *fiber.Ctx) error {
	who, err := s.admitUser(c, 0)
	if err != nil {
		return err
	}
	if !who.account || who.signIn != nil {
		return refuse(protocol.CodeInvalidRequest, "the request has no user token that could be revoked")
	}
	ctx, cancel := timeout()
	defer cancel()
	if err := s.cfg.Hub.Accounts.Revoke(ctx, who.user, who.grant()); err != nil {
		return err
	}
	s.audit("user token revoked", who, "")
	return c.SendStatus(fiber.StatusNoContent)
}
