package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/fleet"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// told counts what a worker hears, by type and code, until its link ends.
func told(ctx context.Context, conn *pipe) map[string]int {
	got := make(map[string]int)
	for {
		raw, err := conn.ReadFrame(ctx)
		if err != nil {
			return got
		}
		var f protocol.Frame
		var e protocol.LinkError
		if err := json.Unmarshal(raw, &f); err != nil {
			panic(err)
		}
		if f.Type == protocol.FrameError {
			_ = json.Unmarshal(f.Data, &e)
		}
		got[string(f.Type)+e.Code]++
	}
}

// A worker sent 2,100 frames of an unknown type in one go, and then left an event
// out. More than 1,000 answers waited for the writer, so the one about the hole was
// dropped: the link stayed open for ever, and stored nothing.
func TestNoAnswerIsDropped(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		mine, theirs := newPipe()
		done := make(chan error, 1)
		w.wg.Go(func() { done <- w.hub.ServeWorker(w.ctx, theirs, fleet.WorkerKey{}) })
		_ = mine.WriteFrame(w.ctx, protocol.NewFrame(protocol.FrameHello, hello("w1")))
		if _, err := mine.ReadFrame(w.ctx); err != nil {
			t.Fatal(err)
		}
		id := w.createFor("u1", "m1")
		const frames = 2100
		w.wg.Go(func() {
			for range frames {
				_ = mine.WriteFrame(w.ctx, []byte(`{"type":"dance","data":{}}`))
			}
			_ = mine.WriteFrame(w.ctx, protocol.NewFrame(protocol.FrameEvent, protocol.WorkerEvent{
				SessionID: id, Assignment: 1, N: 5, Type: protocol.EventOutput, Data: json.RawMessage(`{"messageId":"m1","text":"x","kind":"text"}`),
			}))
		})
		at(time.Second) // the worker begins to read when all that it can send is sent
		heard := make(chan map[string]int, 1)
		w.wg.Go(func() { heard <- told(w.ctx, mine) })
		at(2 * time.Second)
		select {
		case <-done:
		default:
			t.Fatal("the link is still open")
		}
		if got := <-heard; got["errorinvalid"] != frames || got["errorhole"] != 1 {
			t.Errorf("the worker was told %v", got)
		}
	})
}

// A worker that is back at a hub that knows none of its sessions hears so of each. It
// heard it of 1,000, and its other agents ran on.
func TestEverySessionOfAHelloIsAnswered(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		var held []protocol.HelloSession
		for i := range 1500 {
			held = append(held, protocol.HelloSession{SessionID: fmt.Sprint("s_", i), Assignment: 1})
		}
		p := w.join(hello("w1", held...))
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		revoked := make(map[string]bool)
		for _, f := range p.frames {
			var r protocol.Revoke
			if f.Type == protocol.FrameRevoke && json.Unmarshal(f.Data, &r) == nil {
				revoked[r.SessionID] = true
			}
		}
		if len(revoked) != len(held) {
			t.Errorf("%d of %d sessions were revoked", len(revoked), len(held))
		}
	})
}

// announcer is a store whose caller learns later than everybody else that a worker
// has lost its session.
type announcer struct{ store.Store }

func (s announcer) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	done, err := s.Store.Append(ctx, id, b)
	if b.State != nil && b.State.Worker == "" && b.State.Assignment > 0 {
		time.Sleep(time.Second)
	}
	return done, err
}

// The storer finds a hole, gives the session up and forgets it; the writer hears of
// the change and forgets it, too. Each of them revoked it: in 2 to 4 of 100 runs the
// worker was told twice. The second one could also take the session off the worker's
// list when it had been assigned again.
func TestEndingIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		w := newWorldOn(t, store, announcer{store})
		p := w.join(hello("w1"))
		id := w.createFor("u1", "m1")
		p.output(id, 1, 1)
		p.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		p.output(id, 1, 3)
		p.want("error(hole)")
		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 3, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}))
		p.output(id, 1, 3) // it has no other: the store has lost the one before
		at(10 * time.Second)
		p.want("welcome revoke(1) ack(1)")
	})
}
