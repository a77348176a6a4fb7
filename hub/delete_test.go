package hub_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// A session that had ended is deleted while readers are in the middle of its
// log. It is gone for everyone who asks, but they read to the end: they were cut
// with 4404 once. So were slow readers, a minute after any delete.
func TestDeleteOfAnEndedSessionLetsReadersFinish(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		for range 40 {
			w.append(id, strings.Repeat("x", 50_000)) // no write takes more than two of them
		}
		at(25 * time.Hour) // it expires
		if status := w.status(id); status != protocol.StatusEnded {
			t.Fatalf("status %s", status)
		}
		s := newSink(protocol.WebSocket)
		s.drip = 900 * time.Millisecond // 4.5 s for a write: three minutes in all
		w.start(id, "", s, time.Time{})
		synctest.Wait()
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := w.hub.Load(w.ctx, id); err == nil {
			t.Error("it is found after the delete")
		}
		if err := w.hub.Delete(w.ctx, id); err == nil {
			t.Error("it can be deleted twice")
		}
		at(time.Minute + 30*time.Second)
		if s.end() != 0 {
			t.Fatalf("ended with %d in the middle: %d frames", s.end(), len(s.got()))
		}
		at(5 * time.Minute)
		if code := s.end(); code != protocol.CloseEnded || !strings.HasSuffix(s.script(), " 42 43 caught_up=43") {
			t.Errorf("ended with %d after %s", code, s.script())
		}
		at(2 * time.Minute)
		if _, err := w.store.Load(w.ctx, id); err == nil {
			t.Error("it is still stored")
		}
	})
}

// History names each gap that a stream would: one on a page, since there is room
// for one.
func TestHistoryNamesEveryGap(t *testing.T) {
	w := newWorld(t, store.Retention{MaxEvents: 3, MaxBytes: 1 << 30})
	id := w.create()
	w.append(id, "a", "b", "c", "d")
	epoch := w.load(id).Epoch()
	first, err := w.hub.History(w.ctx, id, protocol.Cursor{Epoch: "other", Seq: 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	void := protocol.Gap{Epoch: epoch, FromSeq: 1, ToSeq: 2, Reason: protocol.GapEpochChanged}
	if first.Gap == nil || *first.Gap != void || len(first.Events) != 0 || first.NextAfter == "" {
		t.Fatalf("the first page: gap %+v, %d events, next %q", first.Gap, len(first.Events), first.NextAfter)
	}
	next, err := protocol.ParseCursor(first.NextAfter)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.hub.History(w.ctx, id, next, 0)
	if err != nil {
		t.Fatal(err)
	}
	lost := protocol.Gap{Epoch: epoch, FromSeq: 1, ToSeq: 2, Reason: protocol.GapTrimmed}
	if second.Gap == nil || *second.Gap != lost || len(second.Events) != 3 || second.NextAfter != "" {
		t.Errorf("the second page: gap %+v, %d events, next %q", second.Gap, len(second.Events), second.NextAfter)
	}
	var e protocol.Event
	if err := json.Unmarshal(second.Events[0], &e); err != nil || e.Seq != 3 {
		t.Errorf("it begins with %s", second.Events[0])
	}
}
