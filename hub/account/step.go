package account

import (
	"fmt"
	"slices"
	"time"

	"sessionhub/hub/session"
)

// Input is something that happens to an account.
type Input interface {
	apply(a *Account, now time.Time) (Result, error)
}

// Result is what an input gives beside the new account.
type Result struct {
	SignIn SignIn // of InSignIn, InTicketSignIn and InUse
	// Unchanged says that there is nothing to store.
	Unchanged bool
}

// Step decides one input. It gives the account that is to be stored, and changes nothing of
// the one that it got.
func Step(a Account, in Input, now time.Time) (Account, Result, error) {
	next := a.clone(now)
	result, err := in.apply(&next, now)
	if err != nil {
		return a, Result{}, err
	}
	return next, result, nil
}

// InRevoke revokes one user token.
type InRevoke struct{ Token session.Grant }

func (in InRevoke) apply(a *Account, _ time.Time) (Result, error) {
	if !a.tokenHolds(in.Token.Generation, in.Token.TokenID) {
		return Result{Unchanged: true}, nil
	}
	if len(a.Revoked) >= maxRevoked {
		return Result{}, fmt.Errorf("%w: %d tokens are revoked one by one; use revokeOthers", session.ErrInvalid, maxRevoked)
	}
	a.Revoked = append(a.Revoked, session.RevokedToken{ID: in.Token.TokenID, Until: in.Token.Expires})
	return Result{}, nil
}

// InRevokeAll revokes every user token and ticket that there is now, and ends every sign-in
// but one. Keep is empty if none is kept.
type InRevokeAll struct{ Keep string }

func (in InRevokeAll) apply(a *Account, _ time.Time) (Result, error) {
	a.Generation++
	a.Revoked, a.Tickets = nil, nil // all of them are of an earlier generation
	a.SignIns = slices.DeleteFunc(a.SignIns, func(s SignIn) bool { return s.ID != in.Keep || in.Keep == "" })
	return Result{}, nil
}

// InTicket keeps a ticket. ErrTooManyTickets.
type InTicket struct{ Ticket Ticket }

func (in InTicket) apply(a *Account, _ time.Time) (Result, error) {
	if len(a.Tickets) >= maxTickets {
		return Result{}, fmt.Errorf("%w: %d tickets wait to be used", session.ErrTooManyTickets, maxTickets)
	}
	a.Tickets = append(a.Tickets, in.Ticket)
	return Result{}, nil
}

// InSignIn signs a browser in for Life. The sign-in has an id, a label, a scope and a key,
// and perhaps Until.
type InSignIn struct {
	SignIn SignIn
	Life   time.Duration
}

func (in InSignIn) apply(a *Account, now time.Time) (Result, error) {
	s := in.SignIn
	s.CreatedAt, s.LastUsedAt, s.ExpiresAt = now, now, s.end(now, in.Life)
	if !now.Before(s.ExpiresAt) {
		return Result{}, session.ErrGrantExpired
	}
	for len(a.SignIns) >= maxSignIns {
		oldest := slices.MinFunc(a.SignIns, func(x, y SignIn) int { return x.LastUsedAt.Compare(y.LastUsedAt) })
		a.SignIns = slices.DeleteFunc(a.SignIns, func(x SignIn) bool { return x.ID == oldest.ID })
	}
	a.SignIns = append(a.SignIns, s)
	return Result{SignIn: s}, nil
}

// end is when a sign-in ends that is used now.
func (s SignIn) end(now time.Time, life time.Duration) time.Time {
	end := now.Add(life)
	if !s.Until.IsZero() && s.Until.Before(end) {
		return s.Until
	}
	return end
}

// InTicketSignIn uses a ticket up, and signs a browser in with the rights of its maker.
// ErrTicket: there is no such ticket, or it opens nothing any more. KeyHolds judges the
// maker's API key; it must not block.
type InTicketSignIn struct {
	Hash     string
	ID       string // of the sign-in
	Label    string
	Life     time.Duration
	KeyHolds func(session.Grant) bool
}

func (in InTicketSignIn) apply(a *Account, now time.Time) (Result, error) {
	i := slices.IndexFunc(a.Tickets, func(t Ticket) bool { return t.Hash == in.Hash })
	if i < 0 {
		return Result{}, session.ErrTicket
	}
	t := a.Tickets[i]
	if t.Maker.Ended(now) || a.Holds(t.Maker, now) != nil || !in.KeyHolds(t.Maker) {
		return Result{}, session.ErrTicket
	}
	a.Tickets = slices.Delete(a.Tickets, i, i+1)
	s := SignIn{ID: in.ID, Label: in.Label, Scope: t.Maker.Scope, Key: t.Maker.Key, Until: t.Until}
	return InSignIn{SignIn: s, Life: in.Life}.apply(a, now)
}

// noteEvery is how often the use of a sign-in is noted: the record is for people.
const noteEvery = 15 * time.Minute

// InUse notes that a sign-in is used. When half of its life is over, it gets a whole one.
// ErrSignInGone.
type InUse struct {
	ID   string
	Life time.Duration
}

func (in InUse) apply(a *Account, now time.Time) (Result, error) {
	i := slices.IndexFunc(a.SignIns, func(s SignIn) bool { return s.ID == in.ID })
	if i < 0 {
		return Result{}, session.ErrSignInGone
	}
	if !a.SignIns[i].Due(now, in.Life) {
		return Result{SignIn: a.SignIns[i], Unchanged: true}, nil
	}
	s := &a.SignIns[i]
	s.LastUsedAt = now
	if s.halfOver(now, in.Life) {
		s.ExpiresAt = s.end(now, in.Life)
	}
	return Result{SignIn: *s}, nil
}

// Due reports whether InUse would change the sign-in.
func (s SignIn) Due(now time.Time, life time.Duration) bool {
	return now.Sub(s.LastUsedAt) >= noteEvery || s.halfOver(now, life)
}

// halfOver reports whether a renewal would give the sign-in at least half of a life.
func (s SignIn) halfOver(now time.Time, life time.Duration) bool {
	return s.end(now, life).Sub(s.ExpiresAt) >= life/2
}

// InSignOut ends a sign-in. One that is not there is no error.
type InSignOut struct{ ID string }

func (in InSignOut) apply(a *Account, _ time.Time) (Result, error) {
	before := len(a.SignIns)
	a.SignIns = slices.DeleteFunc(a.SignIns, func(s SignIn) bool { return s.ID == in.ID })
	return Result{Unchanged: len(a.SignIns) == before}, nil
}
