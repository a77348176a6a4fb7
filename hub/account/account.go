// Package account has the rules of a user's account: which user tokens are revoked, which
// browsers are signed in, and which tickets wait for a phone. It is pure: it has no clock,
// no lock and no store.
//
// An account is a record of a store.Accounts. Step takes an account, an input and the time,
// and gives the account that is to be stored. The grants that an account judges are
// session.Grant, so that streams keep one kind of grant.
package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sessionhub/hub/session"
)

// Account is what a hub keeps of a user beside the user's sessions. It is never changed:
// Step makes a new one.
type Account struct {
	// Generation of the user's tokens: those of an earlier one were revoked together.
	Generation uint64
	Revoked    []session.RevokedToken
	Tickets    []Ticket
	SignIns    []SignIn // oldest first

	// others are the members of the record that this version does not know. They stay.
	others map[string]json.RawMessage
}

// SignIn is a browser that stays signed in by its cookie.
type SignIn struct {
	ID         string    `json:"id"`
	Label      string    `json:"label,omitempty"` // of the person, who tells browsers apart by it
	Scope      uint8     `json:"scope"`           // of internal/auth
	Key        string    `json:"key,omitempty"`   // name of the API key that it came from: it ends with that key
	CreatedAt  time.Time `json:"createdAt"`
	LastUsedAt time.Time `json:"lastUsedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
	// Until is the end of a sign-in whose maker was narrowed in time: use does not renew it
	// beyond. Zero: each renewal gives it a whole life.
	Until time.Time `json:"until,omitzero"`
}

// Ticket signs one browser in, once. Only a hash of it is kept. It ends with the grant of
// its maker.
type Ticket struct {
	Hash  string        `json:"hash"`
	Made  time.Time     `json:"made"`
	Maker session.Grant `json:"maker"`
	Until time.Time     `json:"until,omitzero"` // see SignIn
}

// Bounds of an account. A full list of sign-ins loses the one that was not used for longest.
const (
	TicketLife    = 2 * time.Minute
	MaxLabelBytes = 100
	maxTickets    = 20
	maxRevoked    = 1000
	maxSignIns    = 50
)

// member names what this version knows in a record.
const (
	memberGeneration = "generation"
	memberRevoked    = "revoked"
	memberTickets    = "tickets"
	memberSignIns    = "signIns"
)

// Decode reads a record. No record is the account of a user who has none yet.
func Decode(record []byte) (Account, error) {
	var a Account
	if len(record) == 0 {
		return a, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(record, &members); err != nil {
		return Account{}, errors.New("the record of an account does not decode")
	}
	for name, into := range map[string]any{
		memberGeneration: &a.Generation, memberRevoked: &a.Revoked, memberTickets: &a.Tickets, memberSignIns: &a.SignIns,
	} {
		if raw, ok := members[name]; ok {
			if json.Unmarshal(raw, into) != nil { // its text can quote the record
				return Account{}, fmt.Errorf("the record of an account: its %s do not decode", name)
			}
			delete(members, name)
		}
	}
	if len(members) > 0 {
		a.others = members
	}
	return a, nil
}

// Encode writes the record of an account.
func (a Account) Encode() ([]byte, error) {
	members := make(map[string]any, len(a.others)+4)
	for name, raw := range a.others {
		members[name] = raw
	}
	members[memberGeneration] = a.Generation
	for name, list := range map[string]struct {
		value any
		empty bool
	}{
		memberRevoked: {a.Revoked, len(a.Revoked) == 0}, memberTickets: {a.Tickets, len(a.Tickets) == 0}, memberSignIns: {a.SignIns, len(a.SignIns) == 0},
	} {
		if !list.empty {
			members[name] = list.value
		}
	}
	record, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("write an account: %w", err)
	}
	return record, nil
}

// Holds says why a grant no longer opens anything of the account's user: one of the errors
// of session, or nil. The caller judges the grant's own end and its API key.
func (a Account) Holds(g session.Grant, now time.Time) error {
	if g.Account && g.TokenID != "" && !a.tokenHolds(g.Generation, g.TokenID) {
		return session.ErrGrantRevoked
	}
	for maker := range strings.FieldsSeq(g.From) {
		if err := a.makerHolds(maker, now); err != nil {
			return err
		}
	}
	return nil
}

func (a Account) tokenHolds(generation uint64, id string) bool {
	return generation >= a.Generation && !slices.ContainsFunc(a.Revoked, func(r session.RevokedToken) bool { return r.ID == id })
}

// Makers in the form of session.Grant.From: "sign-in:ID" or "token:GENERATION:ID". Ids have
// no spaces; several makers are separated by one.
const (
	fromSignIn = "sign-in:"
	fromToken  = "token:"
)

// FromSignIn is the From of what a sign-in makes.
func FromSignIn(id string) string { return fromSignIn + id }

// SignInOf is the sign-in that a From names; empty if it names none.
func SignInOf(from string) string {
	for maker := range strings.FieldsSeq(from) {
		if id, ok := strings.CutPrefix(maker, fromSignIn); ok {
			return id
		}
	}
	return ""
}

// FromToken is the From of what a user token makes for a session. It ends with the token,
// and with what the token ends with.
func FromToken(g session.Grant) string {
	own := fromToken + strconv.FormatUint(g.Generation, 10) + ":" + g.TokenID
	if g.From == "" {
		return own
	}
	return g.From + " " + own
}

// makerHolds judges one maker. What it does not know, it refuses: a newer version wrote it.
func (a Account) makerHolds(maker string, now time.Time) error {
	if id, ok := strings.CutPrefix(maker, fromSignIn); ok {
		if _, ok := a.SignIn(id, now); !ok {
			return session.ErrSignInGone
		}
		return nil
	}
	if rest, ok := strings.CutPrefix(maker, fromToken); ok {
		number, id, _ := strings.Cut(rest, ":")
		if generation, err := strconv.ParseUint(number, 10, 64); err == nil && a.tokenHolds(generation, id) {
			return nil
		}
	}
	return session.ErrGrantRevoked
}

// SignIn finds a sign-in that has not ended.
func (a Account) SignIn(id string, now time.Time) (SignIn, bool) {
	for _, s := range a.SignIns {
		if s.ID == id && now.Before(s.ExpiresAt) {
			return s, true
		}
	}
	return SignIn{}, false
}

// clone copies an account, so that a change of the copy is none of the original. It leaves
// out what has ended.
func (a Account) clone(now time.Time) Account {
	a.Revoked = slices.DeleteFunc(slices.Clone(a.Revoked), func(r session.RevokedToken) bool { return !now.Before(r.Until) })
	a.Tickets = slices.DeleteFunc(slices.Clone(a.Tickets), func(t Ticket) bool { return !now.Before(t.Made.Add(TicketLife)) })
	a.SignIns = slices.DeleteFunc(slices.Clone(a.SignIns), func(s SignIn) bool { return !now.Before(s.ExpiresAt) })
	a.others = maps.Clone(a.others)
	return a
}
