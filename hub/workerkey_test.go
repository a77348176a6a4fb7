package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/fleet"
	"sessionhub/protocol"
)

// createFor makes a session of a user with a message to run.
func (w *world) createFor(user, messageID string) string {
	w.t.Helper()
	s, err := w.hub.Create(w.ctx, user, "", protocol.CreateRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	id := s.State.Info.SessionID
	if _, err := w.hub.Message(w.ctx, id, user, protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: messageID}, hub.Admission{}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return id
}

// A worker whose key is for one user gets that user's sessions only; those of
// others wait for one that may have them.
func TestKeyOfOneUserServesThatUser(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		alice := w.joinWith(fleet.WorkerKey{Name: "k", User: "alice"}, hello("w1"))
		bobs := w.createFor("bob", "m1")
		alice.want("welcome")
		if s := w.status(bobs); s != protocol.StatusQueued {
			t.Errorf("bob's session is %s", s)
		}
		w.createFor("alice", "m2")
		alice.want("assign(1 after 0 resume=false) message(1 m2)")
		everybody := w.joinWith(fleet.WorkerKey{Name: "s", User: "*"}, hello("w2"))
		everybody.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		alice.want("")
	})
}

// With a full worker of everybody's, an idle agent on a worker that may not have
// the session keeps its place.
func TestNobodyIsEvictedForAForeignSession(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		h := hello("w1")
		h.Capacity = 1
		alice := w.joinWith(fleet.WorkerKey{User: "alice"}, h)
		id := w.createFor("alice", "m1")
		alice.complete(id, 1, 1, "m1")
		alice.finish(id, 1, 1)
		alice.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		w.createFor("bob", "m2")
		alice.want("")
	})
}

// The name of a worker is its own choice: a key for bob does not take alice's
// sessions with it, neither those that run nor those of a worker that is away.
func TestForeignKeyTakesNoSessionByName(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		alice := w.joinWith(fleet.WorkerKey{User: "alice"}, hello("w1"))
		id := w.createFor("alice", "m1")
		thief := w.joinWith(fleet.WorkerKey{User: "bob"}, hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1}))
		thief.want("welcome revoke(1)")
		if alice.ended() {
			t.Fatal("alice's worker lost its link to bob's")
		}
		_ = alice.conn.Close()
		synctest.Wait()
		again := w.joinWith(fleet.WorkerKey{User: "bob"}, hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1}))
		again.want("welcome revoke(1)")
		thief.output(id, 1, 1)
		again.output(id, 1, 1)
		synctest.Wait()
		if n := w.load(id).N; n != 0 {
			t.Errorf("%d foreign events are stored", n)
		}
		back := w.joinWith(fleet.WorkerKey{User: "alice"}, hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1}))
		back.want("welcome message(1 m1)")
		if n, _ := w.completes(id, "m1"); n != 0 {
			t.Error("the message was given up")
		}
	})
}

// A worker that comes back before the hub has noticed that its link is dead gets
// everything on the new one, also what it has lost meanwhile.
func TestNewLinkReplacesTheOld(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		dead := w.join(hello("w1"))
		kept, lost := w.createFor("u1", "m1"), w.createFor("u1", "m2")
		dead.script()
		dead.freeze()
		at(time.Second)
		p := w.join(hello("w1", protocol.HelloSession{SessionID: kept, Assignment: 1}))
		at(2 * time.Second) // the last word to the dead link is not read
		p.want("welcome message(1 m1)")
		if !dead.ended() {
			t.Error("the old link is still there")
		}
		if n, c := w.completes(lost, "m2"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("what the worker lost: %d completes, %+v", n, c)
		}
		w.createFor("u1", "m3")
		p.want("assign(1 after 0 resume=false) message(1 m3)")
		at(time.Minute)
		if n, _ := w.completes(kept, "m1"); n != 0 {
			t.Error("what the worker kept was lost with the old link")
		}
	})
}

// Whoever ends a link by its context says why, and the worker is told.
func TestEndOfALinkIsTold(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		mine, theirs := newPipe()
		p := &peer{w: w, conn: mine, done: make(chan error, 1), thaw: make(chan struct{})}
		ctx, end := context.WithCancelCause(w.ctx)
		w.wg.Go(func() { p.done <- w.hub.ServeWorker(ctx, theirs, fleet.WorkerKey{}) })
		w.wg.Go(p.read)
		p.send(protocol.FrameHello, hello("w1"))
		p.want("welcome")
		end(protocol.LinkError{Code: protocol.LinkUnauthorized, Detail: "the key was removed"})
		p.want("error(unauthorized)")
		var why protocol.LinkError
		if err := <-p.done; !errors.As(err, &why) || why.Code != protocol.LinkUnauthorized || !p.ended() {
			t.Errorf("it ended with %v", err)
		}
	})
}

// A peer that opens a link and says nothing does not hold it.
func TestNoHelloEndsTheLink(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		mine, theirs := newPipe()
		done := make(chan error, 1)
		w.wg.Go(func() { done <- w.hub.ServeWorker(w.ctx, theirs, fleet.WorkerKey{}) })
		at(20 * time.Second)
		select {
		case err := <-done:
			if err == nil {
				t.Error("no reason")
			}
		default:
			t.Error("it still waits")
		}
		_ = mine.Close()
	})
}
