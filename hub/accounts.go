package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"sessionhub/hub/account"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Accounts are the actions of people on their accounts: user tokens, sign-ins and tickets to
// sign in. All methods may be called concurrently.
type Accounts struct{ rooms }

// maxAccountTries bounds how often an input is decided again because the account changed
// meanwhile.
const maxAccountTries = 100

// change takes one input through the rules of an account and stores the result.
func (x Accounts) change(ctx context.Context, user string, in account.Input) (account.Account, account.Result, error) {
	for range maxAccountTries {
		record, version, err := x.store.LoadAccount(ctx, user)
		if err != nil {
			return account.Account{}, account.Result{}, err
		}
		a, err := decodeAccount(record)
		if err != nil {
			return account.Account{}, account.Result{}, err
		}
		next, result, err := account.Step(a, in, time.Now())
		if err != nil || result.Unchanged {
			return next, result, err
		}
		if record, err = next.Encode(); err != nil {
			return account.Account{}, account.Result{}, err
		}
		if err = x.store.SaveAccount(ctx, user, version, record); err == nil {
			return next, result, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return account.Account{}, account.Result{}, err
		}
	}
	return account.Account{}, account.Result{}, fmt.Errorf("%w: the account changes too fast", store.ErrUnavailable)
}

func decodeAccount(record []byte) (account.Account, error) {
	a, err := account.Decode(record)
	if err != nil {
		return a, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return a, nil
}

// Check says why a grant opens nothing of its user any more: its own end, its API key's, or
// that of something in the user's account. Any other error is the store's. It asks the store
// only about a grant that ends with something in the account.
func (x Accounts) Check(ctx context.Context, g session.Grant) error {
	return x.streams.CheckAccount(ctx, g)
}

// load reads an account.
func (x Accounts) load(ctx context.Context, user string) (account.Account, error) {
	record, _, err := x.store.LoadAccount(ctx, user)
	if err != nil {
		return account.Account{}, err
	}
	return decodeAccount(record)
}

// Generation is that of the user tokens that are made now.
func (x Accounts) Generation(ctx context.Context, user string) (uint64, error) {
	if err := checkAccountTexts(user, ""); err != nil {
		return 0, err
	}
	a, err := x.load(ctx, user)
	return a.Generation, err
}

// Revoke ends a user token: within 2 s on every stream and node, for requests at once.
func (x Accounts) Revoke(ctx context.Context, user string, token session.Grant) error {
	_, _, err := x.change(ctx, user, account.InRevoke{Token: token})
	return err
}

// RevokeAll ends all user tokens and sign-ins of a user, but for the sign-in keep. It gives
// the generation of the tokens that are made from now on.
func (x Accounts) RevokeAll(ctx context.Context, user, keep string) (generation uint64, err error) {
	if err := checkAccountTexts(user, ""); err != nil {
		return 0, err
	}
	a, _, err := x.change(ctx, user, account.InRevokeAll{Keep: keep})
	return a.Generation, err
}

// SignIns lists the sign-ins of a user that have not ended, oldest first.
func (x Accounts) SignIns(ctx context.Context, user string) ([]account.SignIn, error) {
	a, err := x.load(ctx, user)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var open []account.SignIn
	for _, s := range a.SignIns {
		if now.Before(s.ExpiresAt) && (s.Key == "" || x.keyHolds(user, session.Grant{Key: s.Key})) {
			open = append(open, s)
		}
	}
	return open, nil
}

// SignIn finds a sign-in of a user. ErrSignInGone.
func (x Accounts) SignIn(ctx context.Context, user, id string) (account.SignIn, error) {
	a, err := x.load(ctx, user)
	if err != nil {
		return account.SignIn{}, err
	}
	s, ok := a.SignIn(id, time.Now())
	if !ok {
		return account.SignIn{}, session.ErrSignInGone
	}
	return s, nil
}

// Begin signs a browser in with the rights of a grant, for Config.SignInTTL. until bounds a
// sign-in whose maker was narrowed in time; it is zero for any other.
func (x Accounts) Begin(ctx context.Context, g session.Grant, key, label string, until time.Time) (account.SignIn, error) {
	if err := checkAccountTexts(g.User, label); err != nil {
		return account.SignIn{}, err
	}
	s := account.SignIn{ID: rand.Text(), Label: label, Scope: g.Scope, Key: key, Until: until}
	_, done, err := x.change(ctx, g.User, account.InSignIn{SignIn: s, Life: x.cfg.SignInTTL})
	return done.SignIn, err
}

// NewTicket makes a ticket that signs one browser in with the rights of a grant, within
// account.TicketLife. until is as for Begin.
func (x Accounts) NewTicket(ctx context.Context, g session.Grant, until time.Time) (secret string, expires time.Time, err error) {
	if err := checkAccountTexts(g.User, ""); err != nil {
		return "", time.Time{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	secret, expires = rand.Text(), now.Add(account.TicketLife)
	t := account.Ticket{Hash: hashTicket(secret), Made: now, Maker: g, Until: until}
	if !until.IsZero() && until.Before(expires) {
		expires = until
	}
	if _, _, err := x.change(ctx, g.User, account.InTicket{Ticket: t}); err != nil {
		return "", time.Time{}, err
	}
	return secret, expires, nil
}

// Redeem uses a ticket up, and signs a browser in with the rights of its maker. ErrTicket:
// there is no such ticket, or it was used, has expired, or has outlived its maker.
func (x Accounts) Redeem(ctx context.Context, user, secret, label string) (account.SignIn, error) {
	if err := checkAccountTexts("", label); err != nil {
		return account.SignIn{}, err
	}
	in := account.InTicketSignIn{
		Hash: hashTicket(secret), ID: rand.Text(), Label: label, Life: x.cfg.SignInTTL,
		KeyHolds: func(g session.Grant) bool { return x.keyHolds(user, g) },
	}
	_, done, err := x.change(ctx, user, in)
	return done.SignIn, err
}

// Use notes that a sign-in is used. renewed says that it ends later than before.
func (x Accounts) Use(ctx context.Context, user string, s account.SignIn) (now account.SignIn, renewed bool, err error) {
	if !s.Due(time.Now(), x.cfg.SignInTTL) {
		return s, false, nil
	}
	_, done, err := x.change(ctx, user, account.InUse{ID: s.ID, Life: x.cfg.SignInTTL})
	return done.SignIn, err == nil && done.SignIn.ExpiresAt.After(s.ExpiresAt), err
}

// End ends a sign-in: within 2 s on every stream and node, for requests at once. known says
// that there was one.
func (x Accounts) End(ctx context.Context, user, id string) (known bool, err error) {
	_, done, err := x.change(ctx, user, account.InSignOut{ID: id})
	return err == nil && !done.Unchanged, err
}

// checkAccountTexts bounds what a caller names: a user, as in a session, and a label.
func checkAccountTexts(user, label string) error {
	err := session.CheckOptional("userId", user, protocol.MaxNameBytes)
	if err == nil {
		err = session.CheckOptional("label", label, account.MaxLabelBytes)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return nil
}

// keyHolds reports whether the API key that a grant names still opens the user's sessions.
func (x Accounts) keyHolds(user string, g session.Grant) bool {
	return x.cfg.KeyHolds == nil || x.cfg.KeyHolds(user, g)
}
