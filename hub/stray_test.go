package hub_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// sleepy is a store as a node sees it that stands still: while it sleeps, no call of
// those that are named is made. They are made when it wakes.
type sleepy struct {
	*mem.Store
	mu    sync.Mutex
	calls string
	woken chan struct{}
	lost  bool // the caller gets no answer, and does not wait for it
}

func (s *sleepy) Shared() bool { return true }

func (s *sleepy) sleep(calls string, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.woken, s.lost = calls, make(chan struct{}), lost
}

func (s *sleepy) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = ""
	close(s.woken)
}

// at waits for the end of a sleep. late: the call is made then, without its caller.
func (s *sleepy) at(call string) (late <-chan struct{}) {
	s.mu.Lock()
	sleeps, woken, lost := strings.Contains(s.calls, call), s.woken, s.lost
	s.mu.Unlock()
	switch {
	case !sleeps:
		return nil
	case lost:
		return woken
	}
	<-woken
	return nil
}

func (s *sleepy) Load(ctx context.Context, id string) (store.Snapshot, error) {
	s.at("Load")
	return s.Store.Load(ctx, id)
}

func (s *sleepy) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	s.at("Confirm")
	return s.Store.Confirm(ctx, id)
}

func (s *sleepy) Queued(ctx context.Context, provider, workspace string, n int) ([]store.Waiting, error) {
	s.at("Queued")
	return s.Store.Queued(ctx, provider, workspace, n)
}

func (s *sleepy) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if b.Fence != nil {
		s.at("Event")
	}
	if late := s.at("Append"); late != nil {
		go func() {
			<-late
			_, _ = s.Store.Append(context.Background(), id, b)
		}()
		return store.Appended{}, store.ErrUnreachable
	}
	return s.Store.Append(ctx, id, b)
}

// sleepyNodes runs a test with two hubs on one store.
func sleepyNodes(t *testing.T, test func(a, b *world, storeA, storeB *sleepy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seenA, seenB := &sleepy{Store: kept}, &sleepy{Store: kept}
		name := func(n string) func(*hub.Config) { return func(c *hub.Config) { c.Node = n } }
		a, b := newWorldOn(t, kept, seenA, name("a")), newWorldOn(t, kept, seenB, name("b"))
		test(a, b, seenA, seenB)
		a.stop()
		b.stop()
	})
}

// A node that was frozen wakes with a link that its worker has left. Meanwhile the worker
// has given a session back and got it again, on another node. The old link forgot the
// session, and took it off the list of those that the worker has. When the worker came
// back without it, nobody noticed: its messages were queued for ever.
func TestOldLinkLeavesALaterAssignmentOnTheList(t *testing.T) {
	sleepyNodes(t, func(a, b *world, _, storeB *sleepy) {
		old := b.join(hello("w1"))
		id := b.create()
		b.say(id, "m1")
		old.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		old.complete(id, 1, 1, "m1")
		old.finish(id, 1, 1)
		old.want("ack(1)")
		storeB.sleep("Load Confirm Append", false)
		old.freeze()

		p := a.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Acked: 1, Message: 1}))
		p.want("welcome ack(1)")
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		synctest.Wait()
		a.say(id, "m2")
		p.want("assign(2 after 1 resume=true) message(2 m2)")
		p.complete(id, 2, 1, "m2")
		p.finish(id, 2, 2)
		p.want("ack(1)")

		storeB.wake()
		at(time.Second)
		_ = p.conn.Close()
		synctest.Wait()
		next := a.join(hello("w1"))
		next.want("welcome")
		a.say(id, "m3")
		next.want("assign(3 after 2 resume=true) message(3 m3)")
	})
}

// A node gives a session to its worker, and dies. The store makes the assignment later,
// when the worker is long on another node, and has told it that it has no session.
// Nobody ran the message, and nobody ever ended it.
func TestAssignmentThatIsMadeLateIsTakenBack(t *testing.T) {
	sleepyNodes(t, func(a, b *world, storeA, storeB *sleepy) {
		old := b.join(hello("w1"))
		id := a.create()
		old.want("welcome")
		storeB.sleep("Append", true)
		storeA.sleep("Queued", false)
		a.say(id, "m1")
		synctest.Wait()
		b.stop()
		p := a.join(hello("w1"))
		p.want("welcome")
		storeB.wake()
		synctest.Wait()
		if s := a.load(id).State; s.Worker != "w1" || s.Assignment != 1 {
			t.Fatalf("the assignment was not made: %+v", s)
		}
		storeA.wake()
		at(time.Minute)
		if n, c := a.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes, %+v", n, c)
		}
		a.say(id, "m2")
		p.want("assign(2 after 1 resume=true) message(2 m2)")
	})
}

// The list of what a worker has can lose an entry in a failover. The next look at the
// session puts it there again, and a worker that has come back without the session
// meanwhile is asked no more for it.
func TestSessionThatTheListHasLostIsFound(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.resting(p, 1)[0]
		held, err := w.store.Held(w.ctx, "w1")
		if err != nil || len(held) != 1 {
			t.Fatalf("held: %v, %v", held, err)
		}
		if err := w.store.Unhold(w.ctx, "w1", store.Holding{Session: id, Assignment: 1}); err != nil {
			t.Fatal(err)
		}
		_ = p.conn.Close()
		synctest.Wait()
		next := w.join(hello("w1"))
		next.want("welcome")
		w.say(id, "m2")
		next.want("")
		at(time.Minute)
		next.want("assign(2 after 1 resume=true) message(2 m2)")
		if n, _ := w.completes(id, "m2"); n != 0 {
			t.Errorf("%d completes", n)
		}
	})
}

// A message is stored so late that the look it was armed for found the session at rest.
// Its client sends it again, as clients do. The turn has a look of its own from then on,
// so it ends with its worker, also where the list of those has lost it.
func TestRepeatOfALateMessageIsLookedAt(t *testing.T) {
	sleepyNodes(t, func(a, b *world, _, storeB *sleepy) {
		p := a.join(hello("w1"))
		id := a.resting(p, 1)[0]
		say := func() error {
			_, err := b.hub.Message(b.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: "m2"}, hub.Admission{})
			return err
		}
		storeB.sleep("Append", true)
		if say() == nil {
			t.Fatal("the store did answer")
		}
		at(time.Minute)
		storeB.wake()
		at(time.Second)
		if got := p.script(); !strings.Contains(got, "message(2 m2)") {
			t.Fatalf("the worker was told %q", got)
		}
		if err := say(); err != nil {
			t.Fatal(err)
		}
		if err := a.store.Unhold(a.ctx, "w1", store.Holding{Session: id, Assignment: 1}); err != nil {
			t.Fatal(err)
		}
		_ = p.conn.Close()
		at(time.Minute)
		if n, c := a.completes(id, "m2"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}

// A worker has left a node without a word, and that node waits for its store all the while:
// so it does not count the silence, and keeps the link. What the worker has got elsewhere
// is nothing that the old link may miss.
func TestOldLinkTakesNothingAwayThatItHasNot(t *testing.T) {
	sleepyNodes(t, func(a, b *world, _, storeB *sleepy) {
		old := b.join(hello("w1"))
		id := b.create()
		b.say(id, "m1")
		old.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		storeB.sleep("Event", false)
		old.output(id, 1, 1)
		old.freeze()
		b.wg.Go(func() { // the network takes what nobody reads any more
			for {
				if _, err := old.conn.ReadFrame(b.ctx); err != nil {
					return
				}
			}
		})
		at(time.Second)

		p := a.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}))
		other := a.create()
		a.say(other, "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		at(2 * time.Minute)
		if old.ended() {
			t.Error("the old link has ended: this proves nothing")
		}
		if n, c := a.completes(other, "m1"); n != 0 {
			t.Errorf("%d completes, %+v", n, c)
		}
		storeB.wake()
	})
}
