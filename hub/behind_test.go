package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// behind is a store whose primary was frozen while another one took its place: it
// answers with what it knew, takes no writes, and confirms nothing. What confirms is
// the other one.
type behind struct {
	store.Store
	old atomic.Pointer[store.Snapshot] // of the one session that it is asked about; nil: it is not behind

	elsewhere bool // what is written goes to the other one
}

func (s *behind) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if old := s.old.Load(); old != nil {
		return *old, nil
	}
	return s.Store.Load(ctx, id)
}

func (s *behind) Read(ctx context.Context, id string, after uint64, events, bytes int) (store.Page, error) {
	old := s.old.Load()
	if old == nil {
		return s.Store.Read(ctx, id, after, events, bytes)
	}
	page := store.Page{First: old.First, Last: old.Last, Epoch: old.Epoch()}
	if after >= old.Last {
		return page, nil
	}
	full, err := s.Store.Read(ctx, id, after, min(events, int(old.Last-after)), bytes)
	page.Entries = full.Entries
	return page, err
}

func (s *behind) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if s.old.Load() != nil && !s.elsewhere {
		return store.Appended{}, errAway
	}
	return s.Store.Append(ctx, id, b)
}

// A loss that an old primary speaks of is none: nobody is told of it.
func TestReaderAsksAnOldPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		over := &failedOver{Store: kept}
		seen := &behind{Store: over}
		w := newWorldOn(t, kept, seen)
		id := w.create()
		w.append(id, "b", "c", "d")
		old := w.load(id)
		w.append(id, "e", "f", "g")
		first := old.Epoch()

		live := w.open(id, protocol.Cursor{Epoch: first, Seq: 7}.String(), protocol.WebSocket)
		w.wantScript(live, "connected caught_up=7")
		seen.old.Store(&old)
		same := w.open(id, protocol.Cursor{Epoch: first, Seq: 7}.String(), protocol.SSE)
		w.wantScript(same, "connected caught_up=7")
		bare := w.open(id, "6", protocol.WebSocket)
		synctest.Wait()
		page, err := w.hub.History(w.ctx, id, protocol.Cursor{Epoch: first, Seq: 6}, 0)
		if err != nil || page.Gap != nil {
			t.Errorf("history: %+v, %v", page.Gap, err)
		}

		over.from.Store(8)
		next := w.open(id, protocol.Cursor{Epoch: secondEpoch, Seq: 7}.String(), protocol.SSE)
		w.wantScript(next, "connected caught_up=7")
		seen.old.Store(nil)
		at(time.Second)
		w.append(id, "h")
		for name, s := range map[string]*sink{"live": live, "same": same, "bare": bare, "next": next} {
			synctest.Wait()
			for _, f := range s.got() {
				if f.kind() == "gap" {
					t.Errorf("%s was told of a gap: %s", name, f.raw)
				}
			}
			if got := s.got(); got[len(got)-1].kind() != "output" {
				t.Errorf("%s has not got the last event, but %s", name, got[len(got)-1].raw)
			}
		}
	})
}

// Nor does a worker lose its sessions by it.
func TestWorkerLinkAsksAnOldPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &behind{Store: kept}
		a := newWorldOn(t, kept, &shared{Store: kept})
		b := newWorldOn(t, kept, seen)
		p := b.join(hello("w1"))
		id := a.create()
		unassigned := a.load(id)
		a.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		p.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		begun := a.load(id)
		p.output(id, 1, 2)
		p.output(id, 1, 3)
		p.want("ack(3)")

		seen.old.Store(&unassigned)
		if err := a.hub.Cancel(a.ctx, id, protocol.CancelRequest{}); err != nil {
			t.Fatal(err)
		}
		p.want("cancel(2 m1)")

		p.conn.close()
		seen.old.Store(&begun)
		p = b.join(hello("w1", protocol.HelloSession{
			SessionID: id, Assignment: 1, Event: 3, Acked: 3, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"},
		}))
		at(time.Second)
		seen.old.Store(nil)
		p.complete(id, 1, 4, "m1")
		p.want("welcome cancel(2 m1) ack(4)")
		a.stop()
		b.stop()
	})
}

// A primary that was killed and is back still has the message that the one which took
// its place has lost. A node that asks the one and writes to the other logged output
// of a message that the log does not know.
func TestFirstEventOfAMessageThatAnotherServerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &behind{Store: kept, elsewhere: true}
		w := newWorldOn(t, kept, seen)
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
		back := w.load(id)
		lost := store.Batch{State: before, Expect: back.Version, Drop: []uint64{2}}
		if _, err := kept.Append(w.ctx, id, lost); err != nil {
			t.Fatal(err)
		}
		seen.old.Store(&back)
		p.output(id, 1, 2)
		at(time.Second)
		seen.old.Store(nil)
		at(2 * time.Second)
		p.want("revoke(1)")
		if got := w.logWords(id); strings.Contains(got, "output") {
			t.Errorf("the log is %s", got)
		}
	})
}
