package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Grant is what a credential opens a stream with. A token's has its id and
// generation; an API key's has neither, and no end.
type Grant struct {
	User       string    `json:"user"`
	Scope      uint8     `json:"scope"` // of internal/auth: the hub keeps it, and does not read it
	TokenID    string    `json:"tokenId,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Expires    time.Time `json:"expires,omitzero"`
}

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

// Bounds of what tokens and tickets may add to a session's state.
const (
	ticketLife = 30 * time.Second
	maxTickets = 100
	maxRevoked = 1000
)

// TokenValid reports whether a token has not been revoked. Its signature and its
// end are not the hub's.
func (s *State) TokenValid(g Grant) bool {
	if g.TokenID == "" {
		return true // an API key's
	}
	return g.Generation >= s.Generation && !slices.ContainsFunc(s.Revoked, func(r RevokedToken) bool { return r.ID == g.TokenID })
}

// forgetOld drops what time has made pointless.
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

// InTicket keeps a ticket for its redemption.
type InTicket struct{ Ticket Ticket }

func (in InTicket) apply(st *step) error {
	st.forgetOld()
	if len(st.s.Tickets) >= maxTickets {
		return fmt.Errorf("%w: %d tickets wait to be used", ErrTooManyTickets, maxTickets)
	}
	st.s.Tickets = append(st.s.Tickets, in.Ticket)
	return nil
}

// InRedeem uses a ticket up.
type InRedeem struct {
	Hash string
	Got  *Grant // set by apply
}

func (in InRedeem) apply(st *step) error {
	st.forgetOld()
	i := slices.IndexFunc(st.s.Tickets, func(t Ticket) bool { return t.Hash == in.Hash })
	if i < 0 || !st.s.TokenValid(st.s.Tickets[i].Grant) {
		return ErrTicket
	}
	*in.Got = st.s.Tickets[i].Grant
	st.s.Tickets = slices.Delete(st.s.Tickets, i, i+1)
	return nil
}

// Revoke ends a token at once, here; on every stream and node within 2 s.
func (h *Hub) Revoke(ctx context.Context, id string, token Grant) error {
	_, _, err := h.change(ctx, id, InRevoke{Token: token}, nil)
	return err
}

// RevokeAll ends every token of a session, and gives the generation of those
// that are made from now on.
func (h *Hub) RevokeAll(ctx context.Context, id string) (generation uint64, err error) {
	snap, _, err := h.change(ctx, id, InRevokeAll{}, nil)
	if err != nil {
		return 0, err
	}
	return snap.State.Generation, nil
}

// NewTicket makes a ticket for one stream: it opens what the grant does, once,
// for 30 s.
func (h *Hub) NewTicket(ctx context.Context, id string, g Grant) (ticket string, expires time.Time, err error) {
	ticket = rand.Text()
	expires = time.Now().Add(ticketLife).UTC().Truncate(time.Millisecond)
	in := InTicket{Ticket: Ticket{Hash: hashTicket(ticket), Until: expires, Grant: g}}
	if _, _, err := h.change(ctx, id, in, nil); err != nil {
		return "", time.Time{}, err
	}
	return ticket, expires, nil
}

// Redeem uses a ticket: ErrTicket if there is no such, or no more.
func (h *Hub) Redeem(ctx context.Context, id, ticket string) (Grant, error) {
	var g Grant
	_, _, err := h.change(ctx, id, InRedeem{Hash: hashTicket(ticket), Got: &g}, nil)
	return g, err
}

// hashTicket needs no salt: a ticket has 130 random bits.
func hashTicket(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return hex.EncodeToString(sum[:])
}
