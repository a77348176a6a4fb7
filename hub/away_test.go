package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// takesAway reports whether a batch leaves the session without a worker.
func takesAway(b store.Batch) bool { return b.State != nil && b.State.Worker == "" }

// The server of a session went away when a done that was lost with the last link was to
// be stored. The done was forgotten, and the next message waited for ever.
func TestDoneOfAHelloIsKeptUntilItIsStored(t *testing.T) {
	inFickle(t, func(w *world, s *fickle) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		w.say(id, "m2")
		synctest.Wait()
		p.conn.close()
		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Message: 1, Event: 1}))
		p.want("welcome message(1 m1)")
		s.at(func(b store.Batch) moment {
			if b.Fence != nil {
				return isTheLast
			}
			return isMade
		})
		p.complete(id, 1, 1, "m1")
		at(time.Second)
		s.back()
		at(time.Second)
		p.want("message(2 m2) ack(1)")
	})
}

// The store lost a message that a worker had begun with, and its server went away when
// the session was to be taken from the worker. The link forgot the session, the store
// did not, and the next message waited for ever.
func TestSessionThatCannotBeTakenAwayYet(t *testing.T) {
	inFickle(t, func(w *world, s *fickle) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.complete(id, 1, 1, "m1")
		p.finish(id, 1, 1)
		synctest.Wait()
		before := w.load(id).State
		w.say(id, "m2")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1) message(2 m2) ack(1)")
		lost := store.Batch{State: before, Expect: w.load(id).Version, Drop: []uint64{2}}
		if _, err := w.store.Append(w.ctx, id, lost); err != nil {
			t.Fatal(err)
		}
		s.at(func(b store.Batch) moment {
			if takesAway(b) {
				return isUnasked
			}
			return isMade
		})
		p.output(id, 1, 2)
		at(time.Second)
		s.back()
		at(time.Second)
		p.want("revoke(1)")
		w.say(id, "m3")
		p.want("assign(2 after 1 resume=true) message(2 m3)")
	})
}

// The same was found by the link's writer. That ended the link, and so held up all other
// sessions of the worker.
func TestSessionThatCannotBeTakenAwayYetEndsNoLink(t *testing.T) {
	inFickle(t, func(w *world, s *fickle) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		p.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		s.at(func(b store.Batch) moment {
			if takesAway(b) {
				return isUnasked
			}
			return isMade
		})
		s.forgets.Store(true)
		w.say(id, "m2") // a reason to look
		at(time.Second)
		if p.ended() {
			t.Fatal("the link has ended")
		}
		s.back()
		at(time.Second)
		p.want("revoke(1) assign(2 after 1 resume=true) message(2 m2)")
		if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes, the last %+v", n, c)
		}
	})
}
