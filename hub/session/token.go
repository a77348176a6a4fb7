package session

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Grant is the right that a credential gives to open a stream. The stream lives no longer
// than the grant. A token's grant has the token's id, generation and end. An API key's
// grant has the id of the key and no end. A caller without a credential (local mode) has
// neither.
type Grant struct {
	User       string    `json:"user"`
	Scope      uint8     `json:"scope"`             // of internal/auth: the hub only keeps it
	Account    bool      `json:"account,omitempty"` // of a user token or a sign-in: TokenID and Generation are the account's
	TokenID    string    `json:"tokenId,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Expires    time.Time `json:"expires,omitzero"`
	Key        string    `json:"key,omitempty"`   // name of the API key that the token came from, if the token names it
	KeyID      string    `json:"keyId,omitempty"` // id of the API key, for a stream that it opened or a ticket that it made

	// From names what the grant ends with in the account of User, beside itself: the
	// sign-in and the user token that its token came from. hub/account writes and reads it.
	From string `json:"from,omitempty"`
}

// OfAccount reports whether the grant ends with something in its user's account.
func (g Grant) OfAccount() bool { return g.Account || g.From != "" }

// Why a grant opens nothing any more.
var (
	ErrGrantExpired = errors.New("the token has expired")
	ErrGrantRevoked = errors.New("the token was revoked")
	ErrTokenKeyGone = errors.New("the API key that the token came from was taken away")
	ErrKeyGone      = errors.New("the API key was taken away")
	ErrSignInGone   = errors.New("the sign-in has ended")
)

// Ended reports whether the grant's time is over.
func (g Grant) Ended(now time.Time) bool { return !g.Expires.IsZero() && !now.Before(g.Expires) }

// RevokedToken is kept until the token would have ended anyway.
type RevokedToken struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}

// Ticket is a grant that can be redeemed once. Only a hash of it is kept.
type Ticket struct {
	Hash  string    `json:"hash"`
	Until time.Time `json:"until"`
	Grant Grant     `json:"grant"`
}

// Bounds of the tokens and tickets in a session's state.
const (
	TicketLife = 30 * time.Second
	maxTickets = 100
	maxRevoked = 1000
)

// TokenValid reports whether a token has not been revoked. The hub checks neither its
// signature nor its end here.
func (s *State) TokenValid(g Grant) bool {
	if g.TokenID == "" || g.Account {
		return true // an API key's, or one that the account judges
	}
	return g.Generation >= s.Generation && !slices.ContainsFunc(s.Revoked, func(r RevokedToken) bool { return r.ID == g.TokenID })
}

// forgetOld drops revoked tokens and tickets that have ended anyway.
func (st *step) forgetOld() {
	s := st.s
	s.Revoked = slices.DeleteFunc(slices.Clone(s.Revoked), func(r RevokedToken) bool { return !st.now.Before(r.Until) })
	s.Tickets = slices.DeleteFunc(slices.Clone(s.Tickets), func(t Ticket) bool { return !st.now.Before(t.Until) })
}

// InRevoke revokes one token.
type InRevoke struct{ Token Grant }

func (in InRevoke) apply(st *step) error {
	st.forgetOld()
	if len(st.s.Revoked) >= maxRevoked {
		return fmt.Errorf("%w: %d tokens are revoked one by one; use revokeOthers", ErrInvalid, maxRevoked)
	}
	if st.s.TokenValid(in.Token) {
		st.s.Revoked = append(st.s.Revoked, RevokedToken{ID: in.Token.TokenID, Until: in.Token.Expires})
	}
	return nil
}

// InRevokeAll revokes every token and ticket that the session has now.
type InRevokeAll struct{}

func (InRevokeAll) apply(st *step) error {
	st.s.Generation++
	st.s.Revoked, st.s.Tickets = nil, nil // all of them are of an earlier generation
	return nil
}

// InTicket keeps a ticket until it is redeemed or ends. ErrTooManyTickets.
type InTicket struct{ Ticket Ticket }

func (in InTicket) apply(st *step) error {
	st.forgetOld()
	if len(st.s.Tickets) >= maxTickets {
		return fmt.Errorf("%w: %d tickets wait to be used", ErrTooManyTickets, maxTickets)
	}
	st.s.Tickets = append(st.s.Tickets, in.Ticket)
	return nil
}

// InRedeem uses a ticket up. The result has its grant. ErrTicket: there is no such
// ticket, or it opens nothing any more.
type InRedeem struct{ Hash string }

func (in InRedeem) apply(st *step) error {
	st.forgetOld()
	i := slices.IndexFunc(st.s.Tickets, func(t Ticket) bool { return t.Hash == in.Hash })
	if i < 0 || !st.s.TokenValid(st.s.Tickets[i].Grant) || st.s.Tickets[i].Grant.Ended(st.now) {
		return ErrTicket
	}
	st.result.Grant = st.s.Tickets[i].Grant
	st.s.Tickets = slices.Delete(st.s.Tickets, i, i+1)
	return nil
}
