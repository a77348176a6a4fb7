package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/hub/session"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const life = 30 * 24 * time.Hour

func must(t *testing.T, a Account, in Input, now time.Time) (Account, Result) {
	t.Helper()
	next, done, err := Step(a, in, now)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return next, done
}

func always(session.Grant) bool { return true }

// A sign-in that is used gets a whole life when half of it is over, and not before. One
// whose maker was narrowed in time does not outlive the maker.
func TestSignInIsRenewed(t *testing.T) {
	a, _ := must(t, Account{}, InSignIn{SignIn: SignIn{ID: "s"}, Life: life}, start)
	a, _ = must(t, a, InSignIn{SignIn: SignIn{ID: "n", Until: start.Add(life + time.Hour)}, Life: life}, start)
	early := start.Add(life/2 - time.Minute)
	a, done := must(t, a, InUse{ID: "s", Life: life}, early)
	if !done.SignIn.ExpiresAt.Equal(start.Add(life)) || !done.SignIn.LastUsedAt.Equal(early) {
		t.Errorf("%+v", done.SignIn)
	}
	if _, done = must(t, a, InUse{ID: "s", Life: life}, early.Add(time.Second)); !done.Unchanged {
		t.Error("each use is stored")
	}
	late := start.Add(life/2 + time.Minute)
	a, done = must(t, a, InUse{ID: "s", Life: life}, late)
	if !done.SignIn.ExpiresAt.Equal(late.Add(life)) {
		t.Errorf("it ends %v, want %v", done.SignIn.ExpiresAt, late.Add(life))
	}
	if _, done = must(t, a, InUse{ID: "n", Life: life}, late); !done.SignIn.ExpiresAt.Equal(start.Add(life)) {
		t.Errorf("the narrowed one ends %v", done.SignIn.ExpiresAt)
	}
	if _, _, err := Step(a, InUse{ID: "n", Life: life}, start.Add(life)); !errors.Is(err, session.ErrSignInGone) {
		t.Errorf("use behind the end: %v", err)
	}
	if _, _, err := Step(a, InSignIn{SignIn: SignIn{ID: "o", Until: start}, Life: life}, start); !errors.Is(err, session.ErrGrantExpired) {
		t.Errorf("a sign-in that is over when it begins: %v", err)
	}
}

// A list that is full loses the sign-in that was not used for longest.
func TestSignInsAreBounded(t *testing.T) {
	var a Account
	for i := range maxSignIns {
		a, _ = must(t, a, InSignIn{SignIn: SignIn{ID: fmt.Sprint(i)}, Life: life}, start.Add(time.Duration(i)*time.Minute))
	}
	now := start.Add(2 * time.Hour)
	a, _ = must(t, a, InUse{ID: "0", Life: life}, now)
	a, _ = must(t, a, InSignIn{SignIn: SignIn{ID: "new"}, Life: life}, now)
	if _, ok := a.SignIn("1", now); ok || len(a.SignIns) != maxSignIns {
		t.Errorf("%d sign-ins; the oldest is there: %v", len(a.SignIns), ok)
	}
	if _, ok := a.SignIn("0", now); !ok {
		t.Error("one that was used has gone")
	}
}

// A ticket works once, for two minutes, and ends with its maker and the maker's key.
func TestTicketEndsWithItsMaker(t *testing.T) {
	base, _ := must(t, Account{}, InSignIn{SignIn: SignIn{ID: "s"}, Life: life}, start)
	ticket := Ticket{Hash: "h", Made: start, Maker: session.Grant{User: "u", Scope: 31, Account: true, From: FromSignIn("s"), Key: "k"}}
	base, _ = must(t, base, InTicket{Ticket: ticket}, start)
	in := InTicketSignIn{Hash: "h", ID: "phone", Life: life, KeyHolds: always}
	a, done := must(t, base, in, start.Add(TicketLife-time.Second))
	if done.SignIn.Scope != 31 || done.SignIn.Key != "k" || len(a.Tickets) != 0 {
		t.Errorf("%+v", done.SignIn)
	}
	out, _ := must(t, base, InSignOut{ID: "s"}, start)
	all, _ := must(t, base, InRevokeAll{Keep: "s"}, start)
	for name, c := range map[string]struct {
		a  Account
		in InTicketSignIn
		at time.Duration
	}{
		"used":             {a, in, 0},
		"another":          {base, InTicketSignIn{Hash: "x", KeyHolds: always}, 0},
		"too old":          {base, in, TicketLife},
		"its maker is out": {out, in, 0},
		"revoked with all": {all, in, 0},
		"its key is gone":  {base, InTicketSignIn{Hash: "h", Life: life, KeyHolds: func(session.Grant) bool { return false }}, 0},
	} {
		if _, _, err := Step(c.a, c.in, start.Add(c.at)); !errors.Is(err, session.ErrTicket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := base
	for i := range maxTickets - 1 {
		full, _ = must(t, full, InTicket{Ticket: Ticket{Hash: fmt.Sprint(i), Made: start}}, start)
	}
	if _, _, err := Step(full, InTicket{Ticket: ticket}, start); !errors.Is(err, session.ErrTooManyTickets) {
		t.Errorf("one ticket too many: %v", err)
	}
	if _, _, err := Step(full, InTicket{Ticket: Ticket{Made: start.Add(TicketLife)}}, start.Add(TicketLife)); err != nil {
		t.Errorf("old tickets count: %v", err)
	}
}

func TestHolds(t *testing.T) {
	a, _ := must(t, Account{}, InRevokeAll{}, start) // generation 1
	a, _ = must(t, a, InSignIn{SignIn: SignIn{ID: "s"}, Life: life}, start)
	bad := session.Grant{Account: true, TokenID: "bad", Generation: 1, Expires: start.Add(time.Hour)}
	a, _ = must(t, a, InRevoke{Token: bad}, start)
	token := func(id string, generation uint64, from string) session.Grant {
		return session.Grant{Account: true, TokenID: id, Generation: generation, From: from}
	}
	child := func(of session.Grant) session.Grant {
		return session.Grant{TokenID: "child", Generation: 0, From: FromToken(of)} // of a session
	}
	for name, c := range map[string]struct {
		g    session.Grant
		want error
	}{
		"an API key":                          {session.Grant{KeyID: "k"}, nil},
		"a session token":                     {session.Grant{TokenID: "bad"}, nil},
		"a user token":                        {token("t", 1, ""), nil},
		"a user token of a later generation":  {token("t", 2, ""), nil},
		"a user token of an older generation": {token("t", 0, ""), session.ErrGrantRevoked},
		"a revoked user token":                {bad, session.ErrGrantRevoked},
		"of a sign-in":                        {token("t", 1, FromSignIn("s")), nil},
		"of a sign-in that is out":            {token("t", 1, FromSignIn("other")), session.ErrSignInGone},
		"a sign-in":                           {session.Grant{Account: true, From: FromSignIn("s")}, nil},
		"a session token of a user token":     {child(token("t", 1, FromSignIn("s"))), nil},
		"of a revoked user token":             {child(bad), session.ErrGrantRevoked},
		"of one of an older generation":       {child(token("t", 0, "")), session.ErrGrantRevoked},
		"of one whose sign-in is out":         {child(token("t", 1, FromSignIn("other"))), session.ErrSignInGone},
		"of what this version does not know":  {session.Grant{From: "device:x"}, session.ErrGrantRevoked},
		"of a token without a number":         {session.Grant{From: "token:x"}, session.ErrGrantRevoked},
	} {
		if err := a.Holds(c.g, start); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := a.Holds(token("t", 1, FromSignIn("s")), start.Add(life)); !errors.Is(err, session.ErrSignInGone) {
		t.Errorf("of a sign-in that is over: %v", err)
	}
	if got := SignInOf(FromToken(token("t", 1, FromSignIn("s")))); got != "s" || SignInOf("token:1:t") != "" {
		t.Errorf("the sign-in is %q", got)
	}
}

// Members of a record that a newer version has written stay.
func TestUnknownMembersStay(t *testing.T) {
	a, err := Decode([]byte(`{"generation":7,"devices":[{"id":"d1"}],"theme":"dark"}`))
	if err != nil {
		t.Fatal(err)
	}
	a, _ = must(t, a, InRevokeAll{}, start)
	record, err := a.Encode()
	if err != nil || a.Generation != 8 {
		t.Fatal(a.Generation, err)
	}
	for _, want := range []string{`"devices":[{"id":"d1"}]`, `"theme":"dark"`, `"generation":8`} {
		if !strings.Contains(string(record), want) {
			t.Errorf("%s has no %s", record, want)
		}
	}
	for _, bad := range []string{"x", "[]", `{"generation":"secret-1"}`, `{"signIns":{}}`} {
		if _, err := Decode([]byte(bad)); err == nil || strings.Contains(err.Error(), "secret-1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A full account fits into a store.
func TestLargestAccountFits(t *testing.T) {
	long := strings.Repeat("n", 128)
	var a Account
	g := session.Grant{User: strings.Repeat("u", 256), Key: long, KeyID: long, TokenID: long, From: FromToken(session.Grant{TokenID: long, From: FromSignIn(long)}), Expires: start.Add(life)}
	for i := range maxRevoked {
		a, _ = must(t, a, InRevoke{Token: session.Grant{TokenID: fmt.Sprintf("%s%d", long[:120], i), Expires: start.Add(life)}}, start)
	}
	for i := range maxTickets {
		a, _ = must(t, a, InTicket{Ticket: Ticket{Hash: fmt.Sprint(long, i), Made: start, Maker: g, Until: start.Add(life)}}, start)
	}
	for i := range maxSignIns {
		a, _ = must(t, a, InSignIn{SignIn: SignIn{ID: fmt.Sprint(i), Key: long, Label: strings.Repeat("\x01", MaxLabelBytes)}, Life: life}, start)
	}
	if _, _, err := Step(a, InRevoke{Token: session.Grant{TokenID: "one more"}}, start); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("one token too many: %v", err)
	}
	record, err := a.Encode()
	if err != nil || len(record) > 252<<10 {
		t.Errorf("%d bytes, %v", len(record), err)
	}
	back, err := Decode(record)
	if err != nil || !slices.Equal(back.Revoked, a.Revoked) || !slices.Equal(back.SignIns, a.SignIns) || !slices.Equal(back.Tickets, a.Tickets) {
		t.Errorf("it reads back as another one: %v", err)
	}
}
