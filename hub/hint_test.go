package hub_test

import (
	"context"
	"testing"
	"testing/synctest"

	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// distant is a store in memory as a store in another process looks: its notices say
// where the log ends but bring no events, and things happen between two calls.
type distant struct {
	*mem.Store
	beforeRead func()
}

func (d *distant) Watch(id string, notify func(store.Notice)) func() {
	return d.Store.Watch(id, func(n store.Notice) {
		n.Entries = nil
		notify(n)
	})
}

func (d *distant) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	if d.beforeRead != nil {
		d.beforeRead()
	}
	return d.Store.Read(ctx, id, after, maxEvents, maxBytes)
}

// A notice is a hint: that it brings no events must wake subscribers all the
// same, and the end of the log is found by reading.
func TestNoticesWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		w := newWorldOn(t, store, &distant{Store: store})
		id := w.create()
		s := w.open(id, "", protocol.SSE)
		w.wantScript(s, "connected 1 caught_up=1")
		w.append(id, "a", "b")
		w.wantScript(s, "connected 1 caught_up=1 2 3")
		w.append(id, "c")
		w.wantScript(s, "connected 1 caught_up=1 2 3 4")
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		w.wantScript(s, "connected 1 caught_up=1 2 3 4 5 6")
		if s.end() != protocol.CloseEnded {
			t.Errorf("the stream ended with %d", s.end())
		}
		w.stop()
	})
}

// The log is trimmed between the moment when history looks at its ends and the
// one when it reads: what was lost is named.
func TestHistoryOfALogThatIsTrimmedMeanwhile(t *testing.T) {
	store := mem.New(store.Retention{MaxEvents: 3, MaxBytes: 1 << 30})
	d := &distant{Store: store}
	w := newWorldOn(t, store, d)
	id := w.create()
	w.append(id, "a", "b")
	d.beforeRead = func() {
		d.beforeRead = nil
		w.append(id, "c", "d")
	}
	h, err := w.hub.History(w.ctx, id, protocol.Cursor{Seq: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := protocol.Gap{Epoch: w.load(id).Epoch(), FromSeq: 2, ToSeq: 2, Reason: protocol.GapTrimmed}
	if len(h.Events) != 3 || h.First != 3 || h.Gap == nil || *h.Gap != want {
		t.Errorf("%d events from %d, gap %+v", len(h.Events), h.First, h.Gap)
	}
}
