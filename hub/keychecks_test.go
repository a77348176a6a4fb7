package hub_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// keyring is the API keys of a node: those that are gone.
type keyring struct {
	mu   sync.Mutex
	gone map[string]bool
}

func (k *keyring) holds(_ string, g session.Grant) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.gone[g.Key] && !k.gone[g.KeyID]
}

func (k *keyring) remove(w *world, name string) {
	k.mu.Lock()
	k.gone[name] = true
	k.mu.Unlock()
	w.hub.RecheckKeys()
}

// withKeys runs f in virtual time with a hub that asks the keyring.
func withKeys(t *testing.T, f func(w *world, keys *keyring)) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keyring{gone: map[string]bool{}}
		w := newWorld(t, roomy, func(cfg *hub.Config) { cfg.KeyHolds = keys.holds })
		defer w.stop()
		f(w, keys)
	})
}

// An API key that was taken away once ended nothing that it had opened.
func TestKeyEndsItsStreams(t *testing.T) {
	withKeys(t, func(w *world, keys *keyring) {
		id := w.create()
		end := time.Now().Add(time.Hour)
		grants := map[string]session.Grant{
			"its own":                {KeyID: "k1"},
			"of its token":           {TokenID: "t1", Key: "ci", Expires: end},
			"of its token, and busy": {TokenID: "t2", Key: "ci", Expires: end},
			"of another key":         {KeyID: "k2"},
			"of another key's token": {TokenID: "t3", Key: "portal", Expires: end},
			"of a token without one": {TokenID: "t4", Expires: end},
			"of nobody":              {},
		}
		sinks := map[string]*sink{}
		for name, g := range grants {
			sinks[name] = newSink(protocol.WebSocket)
			w.startAs(id, "", sinks[name], g)
		}
		synctest.Wait()
		busy := "of its token, and busy"
		defer sinks[busy].stall()()
		w.append(id, "x")
		at(300 * time.Millisecond) // not at a look of the sweeper
		keys.remove(w, "k1")
		at(600 * time.Millisecond) // a second change, while the first one is carried out
		keys.remove(w, "ci")
		at(100 * time.Millisecond)
		for name, g := range grants {
			want := 0
			if g.KeyID == "k1" || g.Key == "ci" {
				want = protocol.CloseToken
			}
			if name == busy {
				want = 0 // it has not heard of it
			}
			if got := sinks[name].end(); got != want {
				t.Errorf("the stream %s: end %d, want %d", name, got, want)
			}
		}
		at(1600 * time.Millisecond) // 1.7 s, and what it takes until a change of the file is seen
		if code, cause := sinks[busy].sub.Ended(); sinks[busy].end() != -1 || code != protocol.CloseToken || cause != metrics.CloseToken {
			t.Errorf("the stream %s: end %d, %d %s; want it cut", busy, sinks[busy].end(), code, cause)
		}
	})
}

// A key can go in the moment in which a stream starts, or takes another token: no
// look at the open streams sees it then.
func TestKeyThatGoesWhileAStreamStarts(t *testing.T) {
	withKeys(t, func(w *world, keys *keyring) {
		id := w.create()
		stream, err := w.hub.Open(w.ctx, id, protocol.Cursor{}, protocol.WebSocket)
		if err != nil {
			t.Fatal(err)
		}
		keys.remove(w, "k1")
		synctest.Wait()
		late := newSink(protocol.WebSocket)
		if late.sub, err = stream.Start(w.ctx, late, session.Grant{KeyID: "k1"}); err != nil {
			t.Fatal(err)
		}
		renewed := newSink(protocol.WebSocket)
		w.startAs(id, "", renewed, session.Grant{KeyID: "k2"})
		w.append(id, "x")
		synctest.Wait()
		renewed.sub.SetGrant(t.Context(), session.Grant{TokenID: "t1", Key: "k1", Expires: time.Now().Add(time.Hour)})
		synctest.Wait()
		if late.end() != protocol.CloseToken || renewed.end() != protocol.CloseToken {
			t.Errorf("end %d and %d, want %d", late.end(), renewed.end(), protocol.CloseToken)
		}
		if n := late.seen(); n != 0 {
			t.Errorf("%d events were written for a key that was gone", n)
		}
	})
}

// A ticket lived for 30 s even if its token ended earlier: then it still opened a
// stream, which got the whole log before it was cut.
func TestTicketEndsWithItsToken(t *testing.T) {
	withKeys(t, func(w *world, _ *keyring) {
		id := w.create()
		w.append(id, "x", "y")
		grant := session.Grant{User: "u1", Scope: 1, TokenID: "t1", Expires: time.Now().Add(5 * time.Second)}
		early, ends, err := w.hub.NewTicket(w.ctx, id, grant)
		if err != nil || !ends.Equal(grant.Expires) {
			t.Fatalf("a ticket until %v of a token until %v, %v", ends, grant.Expires, err)
		}
		late, _, err := w.hub.NewTicket(w.ctx, id, grant)
		if err != nil {
			t.Fatal(err)
		}
		at(4900 * time.Millisecond)
		if got, err := w.hub.Redeem(w.ctx, id, early); err != nil || !got.Expires.Equal(grant.Expires) {
			t.Errorf("just before: %+v, %v", got, err)
		}
		at(100 * time.Millisecond)
		if _, err := w.hub.Redeem(w.ctx, id, late); !errors.Is(err, session.ErrTicket) {
			t.Errorf("at the end: %v", err)
		}
		// A stream that was let in just before.
		s := newSink(protocol.SSE)
		w.startAs(id, "", s, grant)
		synctest.Wait()
		if n := s.seen(); s.end() != protocol.CloseToken || n != 0 {
			t.Errorf("a stream of a token that has ended: end %d after %d events", s.end(), n)
		}
	})
}

// seen counts the events that the peer got.
func (s *sink) seen() (n int) {
	for _, f := range s.got() {
		if f.seq > 0 {
			n++
		}
	}
	return n
}
