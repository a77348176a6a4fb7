package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/stream"
	"sessionhub/protocol"
)

// inBubble runs a test of time: it costs none, and Wait sees everything at rest.
func inBubble(t *testing.T, r store.Retention, test func(*world), change ...func(*hub.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, r, change...)
		test(w)
		w.stop()
	})
}

var encodings = map[string]protocol.Encoding{"websocket": protocol.WebSocket, "sse": protocol.SSE}

func (w *world) wantScript(s *sink, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := s.script(); got != want {
		w.t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestStreamStartsAtItsCursor(t *testing.T) {
	for name, enc := range encodings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				id := w.create()
				w.append(id, "a", "b", "c") // 2 to 4
				epoch := w.load(id).Epoch()
				for cursor, want := range map[string]string{
					"":                  "connected 1 2 3 4 caught_up=4",
					"0":                 "connected 1 2 3 4 caught_up=4",
					"2":                 "connected 3 4 caught_up=4",
					"4":                 "connected caught_up=4",
					"latest":            "connected caught_up=4",
					epoch + "-3":        "connected 4 caught_up=4",
					epoch + "-9":        "connected gap=5-9(epoch_changed) caught_up=4",
					"otherepoch-2":      "connected gap=1-2(epoch_changed) 1 2 3 4 caught_up=4",
					"otherepoch-999999": "connected gap=1-999999(epoch_changed) 1 2 3 4 caught_up=4",
				} {
					s := w.open(id, cursor, enc)
					w.wantScript(s, want)
					s.leave()
				}
				// Behind caught_up it is live; the bytes are those of history.
				s := w.open(id, "latest", enc)
				synctest.Wait()
				w.append(id, "d", "e")
				synctest.Wait()
				w.append(id, "f")
				w.wantScript(s, "connected caught_up=4 5 6 7")
				h, err := w.hub.History(w.ctx, id, protocol.Cursor{Seq: 4}, 0)
				if err != nil {
					t.Fatal(err)
				}
				for i, f := range s.got()[2:] {
					if f.raw != string(h.Events[i]) {
						t.Errorf("streamed %s\nin history %s", f.raw, h.Events[i])
					}
					if enc == protocol.SSE && f.id != fmt.Sprintf("%s-%d", epoch, f.seq) {
						t.Errorf("event %d has the id %q", f.seq, f.id)
					}
				}
				if v, err := w.hub.View(w.ctx, w.load(id)); err != nil || v.Connections.WebSocket+v.Connections.SSE != 1 {
					t.Errorf("connections %+v, %v", v.Connections, err)
				}
			})
		})
	}
}

func TestConnectedTellsWhereTheLogStands(t *testing.T) {
	inBubble(t, store.Retention{MaxEvents: 3, MaxBytes: 1 << 30}, func(w *world) {
		id := w.create()
		w.append(id, "a", "b", "c", "d") // 3 to 5 are kept
		s := w.open(id, "", protocol.WebSocket)
		w.wantScript(s, "connected gap=1-2(trimmed) 3 4 5 caught_up=5")
		var c protocol.Connected
		s.got()[0].data(&c)
		want := protocol.Connected{SessionID: id, Epoch: w.load(id).Epoch(), FirstSeq: 3, LastSeq: 5, Status: protocol.StatusIdle, Node: "n1", HeartbeatSeconds: 15}
		if c != want {
			t.Errorf("connected %+v, want %+v", c, want)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t, roomy, func(c *hub.Config) { c.MaxConnectionsPerSession, c.MaxConnections = 2, 3 })
	id, other := w.create(), w.create()
	try := func(id, cursor string) error {
		c, err := protocol.ParseCursor(cursor)
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.hub.Open(w.ctx, id, c, protocol.SSE)
		if err == nil {
			t.Cleanup(s.Release)
		}
		return err
	}
	if err := try("s_none", ""); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("an unknown session: %v", err)
	}
	if err := try(id, "2"); !errors.Is(err, store.ErrUnsupportedCursor) {
		t.Errorf("a bare seq beyond the end: %v", err)
	}
	for i, c := range []struct {
		id   string
		full bool
	}{{id, false}, {id, false}, {id, true}, {other, false}, {other, true}} {
		if err := try(c.id, ""); errors.Is(err, stream.ErrConnectionLimit) != c.full {
			t.Errorf("stream %d: %v", i, err)
		}
	}
	w.hub.BeginDrain()
	if err := try(id, ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("while it drains: %v", err)
	}
}

func TestPlaceIsGivenBack(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		for range 5 {
			a, b := w.open(id, "", protocol.SSE), w.open(id, "", protocol.WebSocket)
			synctest.Wait()
			a.leave()
			b.leave()
			synctest.Wait()
			a.sub.Stop(1000, "again", "client_closed") // twice
		}
		if n := w.hub.Streams(); n != 0 {
			t.Errorf("%d streams are counted", n)
		}
	}, func(c *hub.Config) { c.MaxConnectionsPerSession = 2 })
}

// The first frame is connected, also while events come without a pause: the
// subscriber is on the tail's list before connected is encoded, and an append in
// between must not start it.
func TestConnectedComesFirstUnderLoad(t *testing.T) {
	w := newWorld(t, roomy)
	id := w.create()
	hold := w.open(id, "", protocol.WebSocket) // there is a tail
	defer hold.leave()
	ctx, stop := context.WithCancel(w.ctx)
	w.wg.Go(func() {
		for ctx.Err() == nil {
			w.append(id, "x")
		}
	})
	for i := range 300 {
		s := w.open(id, "latest", encodings[[]string{"websocket", "sse"}[i%2]])
		for len(s.got()) < 5 {
			<-s.more
		}
		s.leave()
		frames := s.got()
		if frames[0].kind() != "connected" {
			t.Fatalf("stream %d begins with %s", i, frames[0].raw)
		}
		var connected protocol.Connected
		frames[0].data(&connected)
		caughtUp, last := 0, uint64(0)
		for _, f := range frames {
			last = max(last, f.seq)
			if strings.Contains(f.raw, `"caught_up"`) {
				caughtUp++
			}
		}
		// A log that never rests does not put caught_up off: it comes behind what
		// there was at the beginning, and what one write had of the rest.
		if caughtUp > 1 || caughtUp == 0 && last > connected.LastSeq+2000 {
			t.Fatalf("stream %d: %d caught_up up to event %d, the log had %d at its beginning", i, caughtUp, last, connected.LastSeq)
		}
	}
	stop()
}

func TestHistory(t *testing.T) {
	w := newWorld(t, store.Retention{MaxEvents: 2500, MaxBytes: 1 << 30})
	id := w.create()
	for range 2999 {
		w.append(id, "x")
	}
	epoch := w.load(id).Epoch()
	for _, c := range []struct {
		cursor string
		limit  int
		first  string // begins so
		n      int
		next   string
		gap    *protocol.Gap
	}{
		{"0", 0, `{"seq":501,`, 1000, epoch + "-1500", &protocol.Gap{Epoch: epoch, FromSeq: 1, ToSeq: 500, Reason: protocol.GapTrimmed}},
		{"1500", 1001, `{"seq":1501,`, 1000, epoch + "-2500", nil},
		{epoch + "-2500", 1000, `{"seq":2501,`, 500, "", nil},
		{"2500", 10, `{"seq":2501,`, 10, epoch + "-2510", nil},
		{"2500", -1, `{"seq":2501,`, 500, "", nil},
		{"2999", 1, `{"seq":3000,`, 1, "", nil},
		{"3000", 10, "", 0, "", nil},
		{"latest", 10, "", 0, "", nil},
		{epoch + "-3002", 10, "", 0, "", &protocol.Gap{Epoch: epoch, FromSeq: 3001, ToSeq: 3002, Reason: protocol.GapEpochChanged}},
	} {
		cursor, err := protocol.ParseCursor(c.cursor)
		if err != nil {
			t.Fatal(err)
		}
		h, err := w.hub.History(w.ctx, id, cursor, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Events) != c.n || h.First != 501 || h.Last != 3000 || h.Epoch != epoch || h.NextAfter != c.next ||
			(h.Gap == nil) != (c.gap == nil) || h.Gap != nil && *h.Gap != *c.gap || c.n > 0 && !strings.HasPrefix(string(h.Events[0]), c.first) {
			t.Errorf("after %s, limit %d: %d events of %d to %d, next %q, gap %+v", c.cursor, c.limit, len(h.Events), h.First, h.Last, h.NextAfter, h.Gap)
		}
	}
	if _, err := w.hub.History(w.ctx, id, protocol.Cursor{Seq: 3001}, 0); !errors.Is(err, store.ErrUnsupportedCursor) {
		t.Errorf("beyond the end: %v", err)
	}
	// 4 MiB is a page.
	big := w.create()
	for range 8 {
		w.append(big, strings.Repeat("x", 1<<20-1000))
	}
	if h, err := w.hub.History(w.ctx, big, protocol.Cursor{}, 0); err != nil || len(h.Events) != 5 || h.NextAfter == "" {
		t.Errorf("%d long events, next %q, %v", len(h.Events), h.NextAfter, err)
	}
}
