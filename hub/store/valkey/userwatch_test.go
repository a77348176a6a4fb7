package valkey

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// userNotices counts the notices of a user.
type userNotices struct {
	mu       sync.Mutex
	sessions map[string]int
	lost     int
}

func watchUser(t *testing.T, s *Store, user string) *userNotices {
	h := &userNotices{sessions: make(map[string]int)}
	t.Cleanup(s.WatchUser(user, func(n store.UserNotice) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if n.Lost {
			h.lost++
		} else {
			h.sessions[n.Session]++
		}
	}))
	return h
}

func (h *userNotices) of(id string) (sessions, lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id], h.lost
}

func createFor(t *testing.T, s *Store, id, user string) {
	t.Helper()
	c, err := session.NewState(session.Info{SessionID: id, UserID: user, Provider: "demo"}, session.Policy{}, time.Now())
	if err == nil {
		_, err = s.Create(t.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rename changes a session in a way that a listing shows.
func rename(ctx context.Context, s *Store, id, title string) error {
	snap, err := s.Load(ctx, id)
	if err != nil {
		return err
	}
	c, err := session.Step(snap.State, session.InRename{Title: title}, session.Policy{}, time.Now())
	if err != nil {
		return err
	}
	_, err = s.Append(ctx, id, store.Batch{State: c.State, Expect: snap.Version, Events: c.Events, Listed: true})
	return err
}

// Whatever breaks a node's subscriptions, a change gives its notice or a Lost behind it.
func TestUserNoticesOverBreaks(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	prefix := space()
	one, two := open(t, server.URL(), prefix), open(t, server.URL(), prefix)
	createFor(t, one, "s1", "u1")
	h := watchUser(t, two, "u1")
	for i := range 30 {
		before, lost := h.of("s1")
		if i%3 == 0 {
			if _, err := server.Do("CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
				t.Fatal(err)
			}
		}
		if err := rename(t.Context(), one, "s1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		judge.Within(t, 20*time.Second, "a notice or a Lost", func() bool {
			now, nowLost := h.of("s1")
			return now > before || nowLost > lost
		})
	}
	if _, lost := h.of("s1"); lost < 2 {
		t.Errorf("%d Losts over ten breaks", lost)
	}
}

// In a cluster a change of any primary's session gives its notice.
func TestUserNoticesOfACluster(t *testing.T) {
	t.Parallel()
	cluster := steadyCluster(t, valkeytest.Valkey(t))
	prefix := space()
	one, two := open(t, cluster.URL(), prefix), open(t, cluster.URL(), prefix)
	h := watchUser(t, two, "u1")
	judge.Within(t, 20*time.Second, "the subscriptions", func() bool {
		_, lost := h.of("")
		return lost >= len(cluster.Servers)
	})
	const sessions, each = 12, 20 // of all primaries
	for i := range sessions {
		createFor(t, one, fmt.Sprint("s", i), "u1")
	}
	for i := range sessions * each {
		if err := rename(t.Context(), one, fmt.Sprint("s", i%sessions), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range sessions {
		judge.Within(t, 20*time.Second, "each notice", func() bool {
			n, _ := h.of(fmt.Sprint("s", i))
			return n >= each+1
		})
	}
	// A primary is killed and comes back.
	_, lost := h.of("")
	cluster.Servers[1].Kill()
	judge.Within(t, 20*time.Second, "word that a primary is away", func() bool { return two.relay.ready() != nil })
	cluster.Servers[1].Restart()
	judge.Within(t, 30*time.Second, "a Lost", func() bool { _, now := h.of(""); return now > lost })
}

// A node of an earlier version announces nothing. While one lives, all may be lost.
func TestUserNoticesBesideAnEarlierVersion(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	h := watchUser(t, s, "u1")
	lost := func() int { _, n := h.of(""); return n }
	judge.Within(t, 20*time.Second, "the subscription", func() bool { return lost() > 0 })
	alive, earlier := s.node.nodeKeys()[0], "abcdefghijkl"+knowsCompaction
	if _, err := server.Do("ZADD", alive, fmt.Sprint(time.Now().Add(time.Hour).UnixMicro()), earlier); err != nil {
		t.Fatal(err)
	}
	before := lost()
	judge.Within(t, 20*time.Second, "losses", func() bool { return lost() >= before+3 })
	if _, err := server.Do("ZREM", alive, earlier); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, 30*time.Second, "the end of them", func() bool {
		before := lost()
		time.Sleep(3 * silentEvery)
		return lost() == before
	})
}

// A notice that comes from each primary is one. Copies that lag far behind are told again.
func TestCopiesOfUserNotices(t *testing.T) {
	var c copies
	for i := range 10 * maxCopies {
		message := fmt.Sprintf("s %d e sessionhub:{s1}", i)
		for copy := range 3 {
			if had := c.have(message); had != (copy > 0) {
				t.Fatalf("copy %d of %q: known %v", copy, message, had)
			}
		}
	}
	if c.have("s 1 e sessionhub:{s1}") {
		t.Error("a message of long ago is still known")
	}
}
