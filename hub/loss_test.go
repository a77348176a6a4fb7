package hub_test

import (
	"testing"
	"testing/synctest"

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
