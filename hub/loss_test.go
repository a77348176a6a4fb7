package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// A worker whose link broke in the moment in which the store lost its end: what was
// acknowledged to it is gone, and it never says it again. The session was running
// for ever, since the hub waited for events that the worker had forgotten.
func TestWorkerComesBackToAStoreThatHasLostWhatItSaid(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		synctest.Wait()
		p.conn.close()
		// The store has one event; the worker was told that three are stored.
		again := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 3, Acked: 3}))
		again.want("welcome revoke(1)")
		want := "idle message queued starting running output complete.error idle"
		if got := w.logWords(id); got != want {
			t.Errorf("the log is %s\nwant %s", got, want)
		}
		w.say(id, "m2")
		again.want("assign(2 after 1 resume=true) message(2 m2)")
	})
}

// One that has yet to send what is not stored goes on.
func TestWorkerComesBackWithEventsToSend(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		synctest.Wait()
		p.conn.close()
		again := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 2, Acked: 1}))
		again.output(id, 1, 2)
		again.want("welcome message(1 m1) ack(2)")
		if n := w.load(id).N; n != 2 {
			t.Errorf("%d events are stored", n)
		}
	})
}

// A store that loses its end takes a message back that a worker has begun with, and
// no number of the worker's events tells, since none of them is stored: their first
// one was logged into a turn that nobody knows, or into that of another message.
func TestFirstEventOfAMessageThatTheStoreHasLost(t *testing.T) {
	for name, onItsWay := range map[string]bool{"lost before": false, "lost while it is on its way": true} {
		t.Run(name, func(t *testing.T) {
			twoNodes(t, func(a, b *world, _, common *shared) {
				p := b.join(hello("w1"))
				id := a.create()
				a.say(id, "m1")
				synctest.Wait()
				p.complete(id, 1, 1, "m1")
				p.finish(id, 1, 1)
				synctest.Wait()
				before := a.load(id).State
				a.say(id, "m2")
				p.want("welcome assign(1 after 0 resume=false) message(1 m1) message(2 m2) ack(1)")
				common.noEvents.Store(onItsWay)
				if onItsWay {
					p.output(id, 1, 2)
					at(time.Second)
				}
				lost := store.Batch{State: before, Expect: a.load(id).Version, Drop: []uint64{2}}
				if _, err := common.Store.Append(a.ctx, id, lost); err != nil {
					t.Fatal(err)
				}
				common.noEvents.Store(false)
				if !onItsWay {
					p.output(id, 1, 2)
				}
				at(time.Second)
				p.want("revoke(1)")
				if got := a.logWords(id); strings.Contains(got, "output") {
					t.Errorf("the log is %s", got)
				}
				a.say(id, "m3")
				p.want("assign(2 after 1 resume=true) message(2 m3)")
			})
		})
	}
}

// A worker that has finished a message of which the store knows nothing any more
// takes the next one, which gets its number, for a repeat: the session was running
// for ever.
func TestWorkerComesBackWithAMessageThatTheStoreHasLost(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.complete(id, 1, 1, "m1")
		p.finish(id, 1, 1)
		synctest.Wait()
		p.conn.close()
		// The worker was given a second one, and has its complete still to send.
		again := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Message: 2, Event: 2, Acked: 1}))
		again.want("welcome revoke(1)")
		w.say(id, "m2")
		again.want("assign(2 after 1 resume=true) message(2 m2)")
		if got := w.logWords(id); !strings.HasSuffix(got, "complete.end_turn idle message queued starting") {
			t.Errorf("the log is %s", got)
		}
	})
}

// A link that breaks in the moment of the loss leaves the worker with a message that
// the store does not know, or that has given its number to another one. What it would
// publish of it was logged as the other one's, and the other one taken for its own.
func TestWorkerComesBackWithAnotherMessage(t *testing.T) {
	for name, turn := range map[string]*protocol.HelloTurn{
		"its number is another's": {Seq: 2, MessageID: "lost"}, "there is no such number": {Seq: 3, MessageID: "m2"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				p := w.join(hello("w1"))
				id := w.create()
				w.say(id, "m1")
				synctest.Wait()
				p.complete(id, 1, 1, "m1")
				p.finish(id, 1, 1)
				w.say(id, "m2")
				synctest.Wait()
				p.conn.close()
				again := w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Message: 1, Event: 2, Acked: 1, Turn: turn}))
				again.want("welcome revoke(1)")
				again.output(id, 1, 2)
				synctest.Wait()
				if got := w.logWords(id); !strings.HasSuffix(got, "running complete.error idle") {
					t.Errorf("the log is %s", got)
				}
			})
		})
	}
}
