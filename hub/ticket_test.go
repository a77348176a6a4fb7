package hub_test

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub"
	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
)

// A ticket is opened by its own text alone, once, on its own session: by nothing
// that looks like it (another case, a part, something added), and by nothing
// else that a query can carry.
func FuzzTicket(f *testing.F) {
	f.Add("", 0, byte(0), false)
	f.Add("x", 26, byte('='), true)
	f.Add(" ", 3, byte(0x20), false)
	f.Add("\x00", 12, byte(0xff), true)
	set := metrics.New(prometheus.NewRegistry(), metrics.Build{}, []string{"demo"})
	f.Fuzz(func(t *testing.T, text string, at int, with byte, revoke bool) {
		w := &world{t: t, ctx: t.Context(), store: mem.New(roomy)}
		w.hub = hub.New(hub.Config{Node: "n1", Policy: session.DefaultPolicy, Timers: engine.DefaultTimers, MaxEventBytes: 1 << 20, DefaultProvider: "demo", Providers: []string{"demo"}, Metrics: set}, w.store)
		id, other := w.create(), w.create()
		grant := session.Grant{User: "u1", Scope: 1, TokenID: "t1", Expires: time.Now().Add(time.Hour)}
		ticket, _, err := w.hub.NewTicket(w.ctx, id, grant)
		if err != nil {
			t.Fatal(err)
		}
		opens := func(id, text string) bool {
			t.Helper()
			got, err := w.hub.Redeem(w.ctx, id, text)
			switch {
			case err == nil && (got.User != grant.User || got.Scope != grant.Scope || got.TokenID != grant.TokenID):
				t.Errorf("it has the grant %+v", got)
			case err != nil && !errors.Is(err, session.ErrTicket):
				t.Errorf("redeem %q: %v", text, err)
			}
			return err == nil
		}
		changed := []byte(ticket)
		changed[uint(at)%uint(len(changed))] ^= with
		cut := ticket[:uint(at)%uint(len(ticket))]
		for _, wrong := range []string{text, string(changed), cut, cut + text, ticket + text, text + ticket} {
			if wrong != ticket && opens(id, wrong) {
				t.Errorf("%q opens what %q was made for", wrong, ticket)
			}
		}
		if opens(other, ticket) {
			t.Error("it opens another session")
		}
		if revoke {
			if err := w.hub.Revoke(w.ctx, id, grant); err != nil {
				t.Fatal(err)
			}
		}
		if first, second := opens(id, ticket), opens(id, ticket); first == revoke || second {
			t.Errorf("revoked %v: it opens the first time %v, the second %v", revoke, first, second)
		}
	})
}
