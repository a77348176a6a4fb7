package hub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

func TestLostWorker(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		w.say(id, "m2")
		synctest.Wait()
		p.output(id, 1, 1)
		p.ask(id, 1, 2, "i1")
		synctest.Wait()
		_ = p.conn.Close()
		other := hello("w3")
		other.Workspace = "other"
		foreign, next := w.join(other), w.join(hello("w2"))
		at(14 * time.Second)
		if n, _ := w.completes(id, "m1"); n != 0 || w.status(id) != protocol.StatusRequiresAction {
			t.Errorf("before the lease ends: %d completes, %s", n, w.status(id))
		}
		at(2 * time.Second)
		n, c := w.completes(id, "m1")
		if n != 1 || c.StopReason != protocol.StopError || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost || !c.Error.Retryable {
			t.Errorf("%d completes, the last %+v", n, c)
		}
		if got := w.logWords(id); !strings.Contains(got, "approval_resolved.cancelled complete.error") {
			t.Errorf("the log is %s", got)
		}
		// The next message goes to another worker of the same workspace.
		next.want("welcome assign(2 after 1 resume=true) message(2 m2)")
		foreign.want("welcome")
		// The lost one is back, too late.
		back := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 2}))
		back.want("welcome revoke(1)")
		back.output(id, 1, 3)
		back.want("revoke(1)")
		next.complete(id, 2, 1, "m2")
		next.finish(id, 2, 2)
		next.want("ack(1)")
		if n, c := w.completes(id, "m2"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes of the next, %+v", n, c)
		}
	})
}

// A process that stands still keeps its connection open: it is found out by its
// silence, within the lease and 5 s, also when a write to it waits.
func TestFrozenWorkerIsLostInTime(t *testing.T) {
	for _, offset := range []time.Duration{0, 1100 * time.Millisecond, 2600 * time.Millisecond, 4900 * time.Millisecond} {
		inBubble(t, roomy, func(w *world) {
			p := w.join(hello("w1"))
			id := w.create()
			w.say(id, "m1")
			at(time.Minute + offset)
			p.output(id, 1, 1) // the last sign of life
			p.freeze()
			began := time.Now()
			synctest.Wait()
			if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{}); err != nil { // a write that waits
				t.Fatal(err)
			}
			for {
				at(100 * time.Millisecond)
				if n, c := w.completes(id, "m1"); n > 0 {
					if c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
						t.Errorf("complete %+v", c)
					}
					break
				}
				if time.Since(began) > time.Minute {
					t.Fatal("never lost")
				}
			}
			if d := time.Since(began); d < 14*time.Second || d > 20*time.Second {
				t.Errorf("lost after %s", d)
			}
		})
	}
}

// stuck is a store in memory that takes a while to store what a worker sends.
type stuck struct {
	*mem.Store
	most time.Duration
}

func (s *stuck) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if b.Fence != nil {
		select {
		case <-later(s.most):
		case <-ctx.Done():
			return store.Appended{}, ctx.Err()
		}
	}
	return s.Store.Append(ctx, id, b)
}

// A node that takes longer to store a frame than a worker may be silent hears
// nothing meanwhile, since it does not listen. It took all of its workers for
// lost then, with the turns of all of their sessions.
func TestSlowStoreDoesNotLoseWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		w := newWorldOn(t, store, &stuck{Store: store, most: time.Minute})
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		p.output(id, 1, 1)
		at(50 * time.Second)
		if p.ended() {
			t.Fatal("the link was ended while the hub was at work")
		}
		p.complete(id, 1, 2, "m1") // waits until the hub listens
		at(2 * time.Minute)
		p.want("ack(2)")
		if n, c := w.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, the last %+v", n, c)
		}
		// Silence while the hub listens still ends the link.
		p.freeze()
		at(30 * time.Second)
		if !p.ended() {
			t.Error("a frozen worker keeps its link")
		}
		w.stop()
	})
}

func TestWorkerBackWithinItsLeaseGoesOn(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		p.ask(id, 1, 2, "i1")
		synctest.Wait()
		_ = p.conn.Close()
		at(5 * time.Second)
		// An answer that is given meanwhile waits for it.
		if _, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", Decision: protocol.AllowOnce}); err != nil {
			t.Fatal(err)
		}
		at(9 * time.Second)
		last := w.load(id).Last
		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 4}))
		p.want("welcome message(1 m1) approval(2 m1 i1 selected y) ack(2)")
		for n := range uint64(4) { // all that was not acknowledged, and more
			p.output(id, 1, n+1)
		}
		if got := p.script(); !strings.HasSuffix(got, "ack(4)") || strings.Contains(got, "error") {
			t.Errorf("the worker was told %q", got)
		}
		if got := w.load(id).Last; got != last+2 {
			t.Errorf("%d new events, want 2", got-last)
		}
		at(time.Minute)
		if n, _ := w.completes(id, "m1"); n != 0 || p.ended() {
			t.Errorf("%d completes; link ended: %v", n, p.ended())
		}
		p.complete(id, 1, 5, "m1")
		synctest.Wait()
		if n, c := w.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}

// The message ended while the link was down: hello says so, but its complete is
// among the events that are still to come, and it is that one that counts.
func TestHelloNamesAMessageWhoseCompleteIsStillToCome(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		w.say(id, "m2")
		synctest.Wait()
		p.output(id, 1, 1)
		synctest.Wait()
		_ = p.conn.Close()
		synctest.Wait()
		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Message: 1, Event: 3}))
		p.script()
		p.output(id, 1, 2)
		p.complete(id, 1, 3, "m1")
		// The done was lost with the link, and is not needed.
		p.want("message(2 m2) ack(3)")
		if n, c := w.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}

// A worker that connects anew before its old link is known to be broken: the end
// of the old one takes nothing away.
func TestNewLinkBeforeTheOldOneEnds(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		old := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		old.output(id, 1, 1)
		synctest.Wait()
		p := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1}))
		p.script()
		_ = old.conn.Close()
		at(time.Minute)
		if n, c := w.completes(id, "m1"); n != 0 {
			t.Fatalf("the running message was completed: %+v", c)
		}
		w.say(id, "m2")
		p.complete(id, 1, 2, "m1")
		p.finish(id, 1, 1)
		if got := p.script(); !strings.Contains(got, "ack(2)") || !strings.Contains(got, "message(2 m2)") {
			t.Errorf("the worker was told %q", got)
		}
	})
}

// What a worker had and does not name in its hello is gone: nobody runs it.
func TestForgottenSessionIsLostAtOnce(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		_ = p.conn.Close()
		synctest.Wait()
		w.join(hello("w1"))
		at(time.Second)
		if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}

// A hello that named a thousand sessions of strangers, and left one of its worker's out,
// was never taken in: it waited for room for an answer that it did not give.
func TestHelloOfManyStrangersAndAForgottenSession(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.conn.close()
		var strangers []protocol.HelloSession
		for i := range 1001 {
			strangers = append(strangers, protocol.HelloSession{SessionID: fmt.Sprint("s_", i), Assignment: 1})
		}
		p = w.join(hello("w1", strangers...))
		at(time.Second)
		if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes of the forgotten session, the last %+v", n, c)
		}
		if p.ended() {
			t.Error("the link has ended")
		}
		p.take()
		w.say(id, "m2") // for which a worker that is taken in is needed
		p.want("assign(2 after 1 resume=true) message(2 m2)")
	})
}

func TestDrainingNodeAssignsNothing(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		w.say(id, "m1")
		w.hub.BeginDrain()
		p := w.join(hello("w1"))
		p.want("welcome")
		if _, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"x"`)}, hub.Admission{}); err == nil {
			t.Error("a message was accepted")
		}
	}, func(c *hub.Config) {})
}
