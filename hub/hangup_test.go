package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/fleet"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// releases is a store in which a change that takes a session off its worker waits at a
// gate.
type releases struct {
	*mem.Store
	gate chan struct{}
}

func (s *releases) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if b.State != nil && b.State.Worker == "" && b.State.Assignment > 0 {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return store.Appended{}, ctx.Err()
		}
	}
	return s.Store.Append(ctx, id, b)
}

// leaver is a worker whose process ends by itself: it reads only when the test says so.
type leaver struct {
	w    *world
	conn *pipe
	done chan error
}

func (w *world) leaver() *leaver {
	mine, theirs := newPipe()
	l := &leaver{w: w, conn: mine, done: make(chan error, 1)}
	w.wg.Go(func() { l.done <- w.hub.ServeWorker(w.ctx, theirs, fleet.WorkerKey{}) })
	return l
}

func (l *leaver) send(t protocol.FrameType, data any) {
	l.w.t.Helper()
	if err := l.conn.WriteFrame(l.w.ctx, protocol.NewFrame(t, data)); err != nil {
		l.w.t.Fatal(err)
	}
}

// until reads and answers pings, up to a frame of the type.
func (l *leaver) until(t protocol.FrameType) {
	l.w.t.Helper()
	for {
		raw, err := l.conn.ReadFrame(l.w.ctx)
		if err != nil {
			l.w.t.Fatal(err)
		}
		var f protocol.Frame
		if err := protocol.Decode(raw, &f); err != nil {
			l.w.t.Fatal(err)
		}
		if f.Type == protocol.FramePing {
			l.send(protocol.FramePong, protocol.Empty{})
		}
		if f.Type == t {
			return
		}
	}
}

// A worker drained: it ended its turn, gave the session back and hung up. The next
// message was on its way to it just then. The hub could not write that, ended the link,
// and dropped the release that it was storing. So nobody ran the message: 10 s later it
// was completed with worker_lost.
func TestReleaseIsStoredWhenItsWorkerHasHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &releases{kept, make(chan struct{})}
		w := newWorldOn(t, kept, seen)
		a := w.leaver()
		a.send(protocol.FrameHello, hello("a"))
		a.until(protocol.FrameWelcome)
		id := w.create()
		w.say(id, "m1")
		w.say(id, "m2")
		a.until(protocol.FrameCommand)
		a.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: id, Assignment: 1, N: 1, Type: protocol.EventComplete,
			Data: protocol.Marshal(protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn})})
		a.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: 1, Message: 1})
		handed := func() string {
			a.until(protocol.FramePing) // for m2: then that is handed, and written
			synctest.Wait()
			turn, _ := w.load(id).State.Turn()
			return turn.ID
		}
		for range 3 { // a heartbeat can come before
			if handed() == "m2" {
				break
			}
		}
		if turn, runs := w.load(id).State.Turn(); !runs || turn.ID != "m2" {
			t.Fatalf("the hub hands %q: the race is not there", turn.ID)
		}
		a.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseDrained, Retry: true})
		synctest.Wait()
		_ = a.conn.Close()
		at(500 * time.Millisecond)
		close(seen.gate)
		b := w.join(hello("b"))
		b.want("welcome assign(2 after 1 resume=true) message(2 m2)")
		at(30 * time.Second)
		if n, c := w.completes(id, "m2"); n != 0 {
			t.Errorf("m2 was completed: %+v %+v", c, c.Error)
		}
		select {
		case <-a.done:
		default:
			t.Error("the link of the worker that hung up is still there")
		}
		w.stop()
	})
}

// The store does not come back: then the link of a worker that hung up ends all the same,
// and the worker's lease runs.
func TestLinkOfAWorkerThatHungUpEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		w := newWorldOn(t, kept, &releases{kept, nil})
		a := w.leaver()
		a.send(protocol.FrameHello, hello("a"))
		a.until(protocol.FrameWelcome)
		id := w.create()
		w.say(id, "m1")
		a.until(protocol.FrameCommand)
		a.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseDrained, Retry: true})
		synctest.Wait()
		_ = a.conn.Close()
		at(11 * time.Second) // a ping every 5 s, and 5 s more
		select {
		case <-a.done:
		default:
			t.Error("the link of the worker that hung up is still there")
		}
		if left, _, err := kept.WorkerLease(w.ctx, "a"); err != nil || left <= 0 {
			t.Errorf("its lease has %s left: %v", left, err)
		}
		w.stop()
	})
}
