package account

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/hub/session"
)

// issued is a token of a user, or a sign-in, with all that must hold for it to open anything.
type issued struct {
	grant session.Grant
	dead  bool
	until time.Time
	makes string // of a sign-in: the From of what it makes
}

// In any order of inputs, a grant holds exactly as long as neither it nor anything that it
// came from was ended. A ticket signs in at most once.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var a Account
		now := start
		all := map[string]*issued{}
		var names []string
		used := map[string]int{}
		var tickets []string
		add := func(name string, x *issued) {
			all[name] = x
			names = append(names, name)
		}
		step := func(in Input) (Result, error) {
			raw, _ := a.Encode()
			next, done, err := Step(a, in, now)
			if after, _ := a.Encode(); string(after) != string(raw) {
				rt.Fatalf("%T changed the account that it was given", in)
			}
			record, errEncode := next.Encode()
			if errEncode != nil {
				rt.Fatal(errEncode)
			}
			if err == nil && !done.Unchanged {
				if a, err = Decode(record); err != nil {
					rt.Fatal(err)
				}
			}
			return done, err
		}
		endFrom := func(from string) {
			for _, x := range all {
				if x.grant.From == from {
					x.dead = true
				}
			}
		}
		pick := func() *issued {
			if len(names) == 0 {
				return nil
			}
			return all[rapid.SampledFrom(names).Draw(rt, "which")]
		}
		signedIn := func(s SignIn) {
			add("s:"+s.ID, &issued{grant: session.Grant{Account: true, From: FromSignIn(s.ID)}, until: s.ExpiresAt, makes: s.ID})
		}
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			id := fmt.Sprint(i)
			switch rapid.SampledFrom([]string{"token", "sign in", "revoke", "all", "out", "ticket", "redeem", "redeem", "time"}).Draw(rt, "what") {
			case "token":
				g := session.Grant{Account: true, TokenID: id, Generation: a.Generation, Expires: now.Add(24 * time.Hour)}
				if x := pick(); x != nil && x.makes != "" && !x.dead && now.Before(x.until) {
					g.From = x.grant.From
				}
				add("t:"+id, &issued{grant: g, until: g.Expires})
			case "sign in":
				done, err := step(InSignIn{SignIn: SignIn{ID: id}, Life: life})
				if err != nil {
					rt.Fatal(err)
				}
				signedIn(done.SignIn)
			case "revoke":
				if x := pick(); x != nil && x.makes == "" && now.Before(x.until) {
					if _, err := step(InRevoke{Token: x.grant}); err != nil {
						rt.Fatal(err)
					}
					x.dead = true
				}
			case "all":
				keep := ""
				if x := pick(); x != nil && !x.dead {
					keep = x.makes
				}
				if _, err := step(InRevokeAll{Keep: keep}); err != nil {
					rt.Fatal(err)
				}
				for _, x := range all {
					x.dead = x.dead || x.makes == "" || x.makes != keep
				}
				tickets = nil
			case "out":
				if x := pick(); x != nil && x.makes != "" {
					if _, err := step(InSignOut{ID: x.makes}); err != nil {
						rt.Fatal(err)
					}
					endFrom(x.grant.From)
				}
			case "ticket":
				g := session.Grant{Key: "k"}
				if x := pick(); x != nil {
					g = x.grant
				}
				if a.Holds(g, now) == nil && !g.Ended(now) && len(a.Tickets) < maxTickets {
					if _, err := step(InTicket{Ticket: Ticket{Hash: id, Made: now, Maker: g}}); err == nil {
						tickets = append(tickets, id)
					}
				}
			case "redeem":
				if len(tickets) > 0 {
					hash := rapid.SampledFrom(tickets).Draw(rt, "ticket")
					if done, err := step(InTicketSignIn{Hash: hash, ID: "p" + id, Life: life, KeyHolds: always}); err == nil {
						if used[hash]++; used[hash] > 1 {
							rt.Fatalf("the ticket %s signed in twice", hash)
						}
						signedIn(done.SignIn)
					}
				}
			case "time":
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 25 * time.Hour, life / 2}).Draw(rt, "time"))
			}
			for name, x := range all {
				over := !now.Before(x.until)
				if over && x.makes != "" {
					endFrom(x.grant.From)
				}
				if over {
					continue // the caller judges a token's own end
				}
				if err := a.Holds(x.grant, now); (err == nil) == x.dead {
					rt.Fatalf("%s: dead %v, but %v", name, x.dead, err)
				}
				child := session.Grant{TokenID: "c", From: FromToken(x.grant)}
				if x.makes == "" && (a.Holds(child, now) == nil) == x.dead {
					rt.Fatalf("what %s made: dead %v, but %v", name, x.dead, a.Holds(child, now))
				}
			}
		}
	})
}
