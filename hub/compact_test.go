package hub_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// saying is a session with a message that waits for a worker: 1 status, 2 message, 3
// status. It is looked at every ten seconds.
func saying(w *world) string {
	id := w.create()
	w.say(id, "m1")
	return id
}

// said is all that a log says.
func (w *world) said(id string) string {
	w.t.Helper()
	var text strings.Builder
	for _, e := range w.log(id) {
		var d protocol.OutputData
		if e.Type == protocol.EventOutput && protocol.Decode(e.Data, &d) == nil {
			text.WriteString(d.Text)
		}
	}
	return text.String()
}

// pieces appends that many outputs in one step.
func (w *world) pieces(id string, n int) {
	w.t.Helper()
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%d;", i)
	}
	w.append(id, texts...)
}

// A run is compacted a minute after its end, and not before, also while the turn goes on.
func TestRunsAreCompactedInTheTurn(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		last := w.load(id).Last
		w.pieces(id, 40)
		text := w.said(id)
		at(5 * time.Minute)
		if s := w.load(id); s.Compacted != last || len(w.log(id)) != int(last)+40 {
			t.Fatalf("a run that can still grow was compacted: up to %d", s.Compacted)
		}
		w.say(id, "m2") // its message event ends the run
		at(50 * time.Second)
		if s := w.load(id); s.Compacted != last {
			t.Fatalf("the run was compacted 50 s after its end: up to %d", s.Compacted)
		}
		at(3 * time.Minute)
		s := w.load(id)
		if log := w.log(id); s.Compacted != s.Last || len(log) != int(last)+2 || log[last].From != last+1 || log[last].Seq != last+40 {
			t.Fatalf("compacted up to %d of %d: %d events", s.Compacted, s.Last, len(log))
		}
		if got := w.said(id); got != text {
			t.Errorf("it says %q, and it said %q", got, text)
		}
	})
}

// A run that has grown to its bound is compacted although it goes on.
func TestLongRunIsCompactedWhileItGrows(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		for range 4 {
			w.append(id, strings.Repeat("a", 20<<10))
		}
		at(3 * time.Minute)
		if s := w.load(id); s.Compacted != 6 { // three of four pieces
			t.Errorf("compacted up to %d of %d, want 6", s.Compacted, s.Last)
		}
	})
}

// Readers that come behind a compaction: from a cursor within a run they get all of it.
func TestReadersOfACompactedLog(t *testing.T) {
	for name, enc := range encodings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				id := saying(w)
				w.pieces(id, 10) // 4 to 13
				w.say(id, "m2")  // 14
				early := w.open(id, "", enc)
				at(3 * time.Minute)
				epoch := w.load(id).Epoch()
				w.wantScript(early, "connected 1 2 3 4 5 6 7 8 9 10 11 12 13 14 caught_up=14")
				for cursor, want := range map[string]string{
					"":            "connected 1 2 3 4-13 14 caught_up=14",
					epoch + "-3":  "connected 4-13 14 caught_up=14",
					epoch + "-8":  "connected 4-13 14 caught_up=14",
					epoch + "-13": "connected 14 caught_up=14",
					"8":           "connected 4-13 14 caught_up=14",
					"latest":      "connected caught_up=14",
				} {
					w.wantScript(w.open(id, cursor, enc), want)
				}
			})
		})
	}
}

// A slow reader that stands within a run while it is compacted is told anew where it
// stands: only behind connected may an event reach back.
func TestSlowReaderWithinARun(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		long := strings.Repeat("x", 20_000)
		thought := protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: long, Kind: protocol.OutputThought})
		if _, err := w.store.Append(w.ctx, id, store.Batch{Events: []session.NewEvent{{Type: protocol.EventOutput, Data: thought}}}); err != nil { // 4
			w.t.Fatal(err)
		}
		w.append(id, long, long, long) // 5 to 7: with 4 they are more than one write
		w.say(id, "m2")                // 8
		at(10 * time.Second)           // the buffers for live readers are gone
		slow := newSink(protocol.WebSocket)
		slow.drip = 5 * time.Second // 25 s for a write, with progress
		w.wg.Go(func() { w.start(id, "", slow, time.Time{}) })
		at(10 * time.Minute)
		got := slow.script()
		slow.leave()
		if w.load(id).Compacted != 8 {
			t.Fatalf("compacted up to %d", w.load(id).Compacted)
		}
		if !strings.HasPrefix(got, "connected 1 2 3 4 5 6 ") || !strings.HasSuffix(got, "connected 5-7 8 caught_up=8") {
			t.Errorf("got %s", got)
		}
	})
}

// A session at rest whose log has its last form costs the store nothing.
func TestCompactionEndsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := mem.New(roomy)
		st := &costStore{Store: under}
		w := newWorldOn(t, under, st)
		id := saying(w)
		w.pieces(id, 10)
		if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{}); err != nil {
			t.Fatal(err)
		}
		w.append(id, "late", "and later") // no turn is there to end them
		at(5 * time.Minute)
		if s := w.load(id); s.Compacted != s.Last {
			t.Errorf("compacted up to %d of %d", s.Compacted, s.Last)
		}
		st.taken()
		at(time.Hour)
		if counts := st.taken(); counts["Load"] > 0 || counts["Settle"] > 0 {
			t.Errorf("an hour at rest cost %v", counts)
		}
		w.stop()
	})
}

func TestCompactionCanBeOff(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		w.pieces(id, 10)
		w.say(id, "m2")
		at(10 * time.Minute)
		if s := w.load(id); s.Compacted != 0 {
			t.Errorf("compacted up to %d", s.Compacted)
		}
	}, func(c *hub.Config) { c.Policy.CompactAfter = 0 })
}

// A short --compact-after is kept: a session that has something to do is checked as soon.
func TestCompactionComesInTime(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		w.pieces(id, 10)
		w.say(id, "m2")
		at(3 * time.Second)
		if s := w.load(id); s.Compacted != s.Last {
			t.Errorf("compacted up to %d of %d within three seconds", s.Compacted, s.Last)
		}
	}, func(c *hub.Config) { c.Policy.CompactAfter = 500 * time.Millisecond })
}
