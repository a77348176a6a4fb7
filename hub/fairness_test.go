package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/fleet"
	"sessionhub/protocol"
)

func helloOf(worker string, capacity int) protocol.Hello {
	h := hello(worker)
	h.Capacity = capacity
	return h
}

// sayAs gives a session a message of its user's.
func (w *world) sayAs(id, user, messageID string) {
	w.t.Helper()
	if _, err := w.hub.Message(w.ctx, id, user, protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: messageID}, hub.Admission{}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// One user has ten sessions that wait for the only place, another has two: they
// take turns, each user's in order.
func TestUsersTakeTurns(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		var want []string
		for i := range 10 {
			w.createFor("greedy", fmt.Sprint("g", i))
			want = append(want, fmt.Sprint("g", i))
		}
		for i := range 2 {
			w.createFor("modest", fmt.Sprint("m", i))
			want = slices.Insert(want, 2*i+1, fmt.Sprint("m", i))
		}
		p := w.join(helloOf("w1", 1))
		if got := w.obey(p); !slices.Equal(got, want) {
			t.Errorf("they ran as %q\nwant %q", got, want)
		}
	})
}

// The same over two workers, one of which is the greedy user's own: it takes
// none of the other's turns.
func TestUsersTakeTurnsBesideAWorkerOfOne(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		for i := range 10 {
			w.createFor("greedy", fmt.Sprint("g", i))
		}
		for i := range 2 {
			w.createFor("modest", fmt.Sprint("m", i))
		}
		own := w.joinWith(fleet.WorkerKey{User: "greedy"}, helloOf("w1", 1))
		shared := w.join(helloOf("w2", 1))
		ran := w.obey(own, shared)
		if len(ran) != 12 {
			t.Fatalf("%d of 12 ran: %q", len(ran), ran)
		}
		if i := slices.Index(ran, "m1"); i > 5 {
			t.Errorf("the modest user was done as number %d: %q", i, ran)
		}
		greedy := slices.DeleteFunc(slices.Clone(ran), func(m string) bool { return strings.HasPrefix(m, "m") })
		for i, m := range greedy { // two at a time: their ends can change places
			if off := slices.Index(greedy, fmt.Sprint("g", i)) - i; off < -1 || off > 1 {
				t.Errorf("%s ran as number %d of its user's: %q", m, i, greedy)
			}
		}
	})
}

// A session whose workers have no place does not hold up one behind it that
// another worker may have. It did: what was full for the first was full for all.
func TestFullWorkerOfOneUserHoldsUpNobodyElse(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		alice := w.joinWith(fleet.WorkerKey{User: "alice"}, helloOf("w1", 1))
		w.createFor("alice", "a1")
		w.createFor("alice", "a2")
		bobs := w.createFor("bob", "b1")
		bob := w.joinWith(fleet.WorkerKey{User: "bob"}, helloOf("w2", 1))
		alice.want("welcome assign(1 after 0 resume=false) message(1 a1)")
		bob.want("welcome assign(1 after 0 resume=false) message(1 b1)")
		if s := w.status(bobs); s != protocol.StatusStarting {
			t.Errorf("bob's session is %s", s)
		}
	})
}

// Any number of sessions can wait in front whose workers are away: of one user,
// whose places in the queue the other's growing numbers have passed, or of many.
// Only the first 256 were looked at.
func TestSessionsWithoutAWorkerHoldUpNobody(t *testing.T) {
	for name, c := range map[string]struct {
		user func(int) string
		own  int
	}{
		"of one user":   {func(int) string { return "away" }, 300},
		"of many users": {func(i int) string { return fmt.Sprint("away", i) }, 3},
		"of some":       {func(i int) string { return fmt.Sprint("away", i%150) }, 8},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				for i := range 600 {
					w.createFor(c.user(i), "m")
				}
				p := w.joinWith(fleet.WorkerKey{User: "alice"}, helloOf("w1", 1))
				var want, ran []string
				for i := range c.own {
					want = append(want, fmt.Sprintf("a%03d", i))
					w.createFor("alice", want[i])
				}
				for began := time.Now(); len(ran) < c.own && time.Since(began) < time.Duration(c.own)*2*time.Second; at(time.Second) {
					ran = append(ran, w.obey(p)...)
				}
				if !slices.Equal(ran, want) {
					t.Errorf("%d of %d ran: %q", len(ran), c.own, ran)
				}
				// Those that waited have kept their places.
				all := w.join(helloOf("w2", 1))
				at(2 * time.Second)
				all.want("welcome assign(1 after 0 resume=false) message(1 m)")
			})
		})
	}
}

// Sessions that have run in a workspace wait in its queue, new ones in that of
// everywhere. A user who always has one waiting there kept the place for good.
func TestQueuesTakeTurns(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(helloOf("w1", 1))
		var ids []string
		for i := range 3 {
			ids = append(ids, w.createFor("old", fmt.Sprint("first", i)))
		}
		w.obey(p)
		holds := w.createFor("old", "holds")
		w.createFor("new", "n0")
		for i, id := range ids {
			w.sayAs(id, "old", fmt.Sprint("o", i))
		}
		ran := w.obey(p)
		if i := slices.Index(ran, "n0"); i < 0 || i > 3 { // behind one of its own queue and two of the other
			t.Errorf("the new user's session ran as number %d of %q (%s held the place)", i, ran, holds)
		}
		if len(ran) != 5 {
			t.Errorf("%d ran", len(ran))
		}
	})
}
