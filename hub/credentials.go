package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
)

// Revoke ends a token: at once on this node, within 2 s on every stream and node.
func (cmd *Commands) Revoke(ctx context.Context, id string, token session.Grant) error {
	_, _, err := cmd.engine.Change(ctx, id, session.InRevoke{Token: token}, nil)
	return err
}

// RevokeAll ends every token of a session. It gives the generation of the tokens that are
// made from now on.
func (cmd *Commands) RevokeAll(ctx context.Context, id string) (generation uint64, err error) {
	snap, _, err := cmd.engine.Change(ctx, id, session.InRevokeAll{}, nil)
	if err != nil {
		return 0, err
	}
	return snap.State.Generation, nil
}

// NewTicket makes a ticket that opens one stream with the grant. The ticket works once,
// for 30 s, and no longer than the grant lasts.
func (cmd *Commands) NewTicket(ctx context.Context, id string, g session.Grant) (ticket string, expires time.Time, err error) {
	ticket = rand.Text()
	expires = time.Now().Add(session.TicketLife)
	if !g.Expires.IsZero() && g.Expires.Before(expires) {
		expires = g.Expires
	}
	expires = expires.UTC().Truncate(time.Millisecond)
	in := session.InTicket{Ticket: session.Ticket{Hash: hashTicket(ticket), Until: expires, Grant: g}}
	if _, _, err := cmd.engine.Change(ctx, id, in, nil); err != nil {
		return "", time.Time{}, err
	}
	return ticket, expires, nil
}

// Redeem uses a ticket up and gives its grant. ErrTicket: there is no such ticket, or it
// was used or has expired.
func (cmd *Commands) Redeem(ctx context.Context, id, ticket string) (session.Grant, error) {
	done, err := cmd.engine.Decide(ctx, id, session.InRedeem{Hash: hashTicket(ticket)}, engine.Terms{})
	return done.Result.Grant, err
}

// hashTicket needs no salt: a ticket has 130 random bits.
func hashTicket(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return hex.EncodeToString(sum[:])
}
