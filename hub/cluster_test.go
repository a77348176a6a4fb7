package hub_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// shared is a store in memory as one node of several sees it. A node that has crashed
// changes nothing in it any more.
type shared struct {
	*mem.Store
	crashed  atomic.Bool
	noQueue  atomic.Bool // Enqueue fails
	stopping atomic.Bool // everything fails: the store is away
	mute     atomic.Bool // appends are made, but not answered
	noEvents atomic.Bool // appends of what workers send fail
}

var errAway = errors.New("the store is away")

func (s *shared) Shared() bool { return true }

func (s *shared) err() error {
	if s.crashed.Load() || s.stopping.Load() {
		return errAway
	}
	return nil
}

func (s *shared) Available(string) error { return s.err() }

func (s *shared) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if err := s.err(); err != nil {
		return store.Appended{}, err
	}
	if b.Fence != nil && s.noEvents.Load() {
		return store.Appended{}, errAway
	}
	done, err := s.Store.Append(ctx, id, b)
	if s.mute.Load() {
		return store.Appended{}, errAway
	}
	return done, err
}

func (s *shared) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if err := s.err(); err != nil {
		return store.Snapshot{}, err
	}
	return s.Store.Load(ctx, id)
}

func (s *shared) Read(ctx context.Context, id string, after uint64, events, bytes int) (store.Page, error) {
	if err := s.err(); err != nil {
		return store.Page{}, err
	}
	return s.Store.Read(ctx, id, after, events, bytes)
}

func (s *shared) Enqueue(ctx context.Context, w store.Waiting) error {
	if err := s.err(); err != nil || s.noQueue.Load() {
		return errAway
	}
	return s.Store.Enqueue(ctx, w)
}

func (s *shared) Arm(ctx context.Context, id string, due time.Time) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Arm(ctx, id, due)
}

func (s *shared) TakeDue(ctx context.Context, n int, hide time.Duration) ([]store.Due, time.Duration, error) {
	if err := s.err(); err != nil {
		return nil, 0, err
	}
	return s.Store.TakeDue(ctx, n, hide)
}

func (s *shared) Settle(ctx context.Context, d store.Due, next time.Time) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Settle(ctx, d, next)
}

func (s *shared) RenewWorker(ctx context.Context, w store.WorkerInfo, left time.Duration) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.RenewWorker(ctx, w, left)
}

func (s *shared) ForgetWorker(ctx context.Context, w store.WorkerInfo) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.ForgetWorker(ctx, w)
}

// twoNodes runs a test with two hubs on one store.
func twoNodes(t *testing.T, test func(a, b *world, storeA, storeB *shared)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		seenA, seenB := &shared{Store: store}, &shared{Store: store}
		name := func(n string) func(*hub.Config) { return func(c *hub.Config) { c.Node = n } }
		a, b := newWorldOn(t, store, seenA, name("a")), newWorldOn(t, store, seenB, name("b"))
		test(a, b, seenA, seenB)
		a.stop()
		b.stop()
	})
}

func TestClientAndWorkerOnDifferentNodes(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		s := a.open(id, "", protocol.WebSocket)
		a.say(id, "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		p.output(id, 1, 1)
		p.ask(id, 1, 2, "i1")
		p.want("ack(2)")
		if _, err := a.hub.Approve(a.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: "y"}); err != nil {
			t.Fatal(err)
		}
		p.want("approval(2 m1 i1 selected y)")
		if err := a.hub.Cancel(a.ctx, id, protocol.CancelRequest{}); err != nil {
			t.Fatal(err)
		}
		p.want("cancel(3 m1)")
		p.complete(id, 1, 3, "m1")
		p.finish(id, 1, 1)
		p.want("ack(3)")
		if err := a.hub.Delete(a.ctx, id); err != nil {
			t.Fatal(err)
		}
		p.want("close(4 deleted)")
		frames := s.got()
		if last := frames[len(frames)-1]; last.kind() != "closed" {
			t.Errorf("the stream on the other node ends with %s", last.raw)
		}
		providers, err := a.hub.Providers(a.ctx, "")
		if err != nil || len(providers.Providers) != 1 || providers.Providers[0].Workers != 1 {
			t.Errorf("providers as the other node sees them: %+v, %v", providers, err)
		}
	})
}

// The node that has the worker's link crashes; the worker finds another one
// within its lease, and nobody notices.
func TestWorkerMovesToAnotherNode(t *testing.T) {
	twoNodes(t, func(a, b *world, _, storeB *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		a.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		synctest.Wait()
		storeB.crashed.Store(true)
		p.freeze()
		at(14 * time.Second)
		p = a.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 2}))
		p.want("welcome message(1 m1) ack(1)")
		p.output(id, 1, 2)
		p.want("ack(2)")
		at(time.Minute)
		p.complete(id, 1, 3, "m1")
		synctest.Wait()
		if n, c := a.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, the last %+v", n, c)
		}
	})
}

// Node and worker are both gone: another node finds out, in time, and the next
// message runs elsewhere.
func TestWorkerLostWithItsNode(t *testing.T) {
	twoNodes(t, func(a, b *world, _, storeB *shared) {
		p := b.join(hello("w1"))
		ids := []string{a.create(), a.create(), a.create()}
		for _, id := range ids {
			a.say(id, "m1")
		}
		synctest.Wait()
		p.ask(ids[0], 1, 1, "i1")
		at(33 * time.Second)
		storeB.crashed.Store(true)
		p.freeze()
		began := time.Now()
		next := a.join(hello("w2"))
		for _, id := range ids {
			for {
				if n, c := a.completes(id, "m1"); n > 0 {
					if n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
						t.Errorf("%d completes, the last %+v", n, c)
					}
					break
				}
				if time.Since(began) > time.Minute {
					t.Fatal("never lost")
				}
				at(100 * time.Millisecond)
			}
			if d := time.Since(began); d < 10*time.Second || d > 20*time.Second {
				t.Errorf("lost after %s", d)
			}
		}
		if got := a.logWords(ids[0]); !strings.Contains(got, "approval_resolved.cancelled complete.error") {
			t.Errorf("the log is %s", got)
		}
		a.say(ids[0], "m2")
		if got := next.script(); !strings.Contains(got, "assign(2 after 1 resume=true) message(2 m2)") {
			t.Errorf("the next worker was told %q", got)
		}
	})
}

// The node dies behind the append of a message, before it could queue the
// session: another node does.
func TestMessageOfACrashedNodeIsQueued(t *testing.T) {
	twoNodes(t, func(a, b *world, storeA, _ *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		storeA.noQueue.Store(true)
		a.say(id, "m1")
		storeA.crashed.Store(true)
		p.want("welcome")
		at(lookQueuedMost)
		p.want("assign(1 after 0 resume=false) message(1 m1)")
	})
}

// lookQueuedMost is how long a session may wait that nobody queued.
const lookQueuedMost = 12 * time.Second

// While the store is away, a worker is held back and keeps its sessions, and
// everything goes on when it is back.
func TestStoreAwayForAWhile(t *testing.T) {
	twoNodes(t, func(a, b *world, storeA, storeB *shared) {
		away := func(yes bool) { storeA.stopping.Store(yes); storeB.stopping.Store(yes) }
		p := b.join(hello("w1"))
		id, other := a.create(), a.create()
		a.say(id, "m1")
		synctest.Wait()
		p.script()
		away(true)
		if err := a.hub.Ready(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		if _, err := a.hub.Message(a.ctx, other, "u1", protocol.MessageRequest{Content: []byte(`"x"`)}, hub.Admission{}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a message meanwhile: %v", err)
		}
		p.output(id, 1, 1)
		at(40 * time.Second) // longer than the lease: nobody can have taken it away
		if p.ended() {
			t.Fatal("the link was ended")
		}
		away(false)
		at(2 * time.Second)
		p.want("ack(1)")
		a.say(other, "m1")
		p.want("assign(1 after 0 resume=false) message(1 m1)")
		p.complete(id, 1, 2, "m1")
		synctest.Wait()
		if n, c := a.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, the last %+v", n, c)
		}
	})
}

// A hello while the store is away revokes nothing.
func TestHelloWhileTheStoreIsAway(t *testing.T) {
	twoNodes(t, func(a, b *world, _, storeB *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		a.say(id, "m1")
		synctest.Wait()
		storeB.stopping.Store(true)
		_ = p.conn.Close()
		synctest.Wait()
		p = b.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1}))
		at(5 * time.Second)
		p.want("welcome")
		storeB.stopping.Store(false)
		at(time.Second)
		p.want("message(1 m1)")
	})
}

// An answer of the store that gets lost: what it was asked for was done, once.
func TestLostAnswersOfTheStore(t *testing.T) {
	twoNodes(t, func(a, b *world, _, storeB *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		storeB.mute.Store(true)
		a.say(id, "m1")
		at(time.Second)
		storeB.mute.Store(false)
		at(time.Second)
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		storeB.mute.Store(true)
		p.ask(id, 1, 1, "i1")
		at(time.Second)
		storeB.mute.Store(false)
		at(time.Second)
		p.want("ack(1)")
		storeB.mute.Store(true)
		p.output(id, 1, 2)
		at(time.Second)
		storeB.mute.Store(false)
		at(time.Second)
		p.complete(id, 1, 3, "m1")
		p.want("ack(3)")
		want := "idle message queued starting tool_approval requires_action output approval_resolved.cancelled complete.end_turn idle"
		if got := a.logWords(id); got != want {
			t.Errorf("the log is %s\nwant %s", got, want)
		}
	})
}

// A node hears of a session while its store is away, and can have it when the store is
// back: nothing else wakes it then. The session waited for the next look, up to 10 s.
func TestSessionWaitsNoLongerThanTheStoreIsAway(t *testing.T) {
	twoNodes(t, func(a, b *world, _, storeB *shared) {
		p := b.join(hello("w1"))
		id := a.create()
		p.want("welcome")
		storeB.stopping.Store(true)
		a.say(id, "m1")
		at(3 * time.Second)
		p.want("")
		storeB.stopping.Store(false)
		at(time.Second)
		p.want("assign(1 after 0 resume=false) message(1 m1)")
	})
}
