package feed

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/valkey"
	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// One node changes sessions, another node's reader follows them. The second node's
// connections break again and again.
func TestFeedOverTwoNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	proxy, err := faultproxy.New(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	node := func(url string) (*valkey.Store, *engine.Engine, *Feeds) {
		st, err := valkey.Open(t.Context(), valkey.Options{URL: url, Prefix: "feed:", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(st.Close)
		env := engine.NewEnv("n", engine.DefaultTimers, metrics.New(prometheus.NewRegistry(), metrics.Build{}, nil), slog.New(slog.DiscardHandler), st.Available)
		feeds := NewFeeds(env, st, func(_ context.Context, snaps []store.Snapshot) ([]protocol.Session, error) {
			return viewsOf(snaps), nil
		})
		return st, engine.NewEngine(env, session.DefaultPolicy, st), feeds
	}
	st, eng, _ := node(server.URL())
	_, _, feeds := node("redis://" + proxy.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { feeds.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	w := &world{t: t, ctx: t.Context(), feeds: feeds}
	c := w.open("u1")
	c.slow = true
	wg.Go(func() {
		defer c.reader.Close()
		c.follow(ctx, 4096, func() {})
	})
	change := func(id string, in session.Input) {
		t.Helper()
		if _, _, err := eng.Change(t.Context(), id, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 8 {
		for i := range 5 {
			id := fmt.Sprintf("s%d-%d", round, i)
			if err := eng.Create(t.Context(), session.Info{SessionID: id, UserID: "u1", Provider: "demo", CreatedAt: time.Now().UTC()}, 0); err != nil {
				t.Fatal(err)
			}
			change(id, message("m"))
			if i == 2 && round%2 == 1 {
				proxy.Cut()
			}
			if i == 3 {
				change(id, session.InDelete{})
				continue
			}
			change(id, session.InAssign{Worker: "w", Workspace: "ws"})
			change(id, session.InHand{Command: 1})
			change(id, question("m", "q"))
		}
		want := func() map[string]protocol.Session {
			snaps, _, err := st.List(t.Context(), store.ListQuery{User: "u1", Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			out := make(map[string]protocol.Session)
			for _, v := range viewsOf(snaps) {
				out[v.SessionID] = v
			}
			return out
		}()
		judge.Within(t, 20*time.Second, "a picture that equals the listing", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.picture) != len(want) {
				return false
			}
			for id, s := range want {
				if string(protocol.Marshal(c.picture[id])) != string(protocol.Marshal(s)) {
					return false
				}
			}
			return true
		})
		c.mu.Lock()
		for i := range 5 {
			if id := fmt.Sprintf("s%d-%d", round, i); i != 3 && c.needed[id].IsZero() {
				t.Errorf("the question of %s was not told", id)
			}
		}
		c.mu.Unlock()
	}
}
