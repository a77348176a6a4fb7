package hub_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub"
	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// world is a hub on a store in memory, running. It ends with the test, or before by
// stop; everything that it started has ended then.
type world struct {
	t     testing.TB
	ctx   context.Context
	hub   *hub.Hub
	store *mem.Store
	wg    sync.WaitGroup
	end   context.CancelFunc
}

// roomy keeps all that a test appends.
var roomy = store.Retention{MaxEvents: 1 << 30, MaxBytes: 1 << 40}

func newWorld(t testing.TB, r store.Retention, change ...func(*hub.Config)) *world {
	t.Helper()
	store := mem.New(r)
	return newWorldOn(t, store, store, change...)
}

// newWorldOn has the hub see the store in memory through another store.
func newWorldOn(t testing.TB, store *mem.Store, seen store.Store, change ...func(*hub.Config)) *world {
	t.Helper()
	cfg := hub.Config{
		Node: "n1", Policy: session.DefaultPolicy, Timers: engine.DefaultTimers,
		MaxEventBytes: 1 << 20, MaxConnectionsPerSession: 10_000, DefaultProvider: "demo", Providers: []string{"demo"},
		Metrics: metrics.New(prometheus.NewRegistry(), metrics.Build{}, []string{"demo"}), Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	w := &world{t: t, store: store, hub: hub.New(cfg, seen)}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.wg.Go(func() { w.hub.Run(w.ctx) })
	t.Cleanup(w.stop)
	return w
}

// later is time.After, and at once without a timer. In a bubble of synctest, a timer that
// is over when it is made runs beside the bubble's own timers in their race detector
// context, and the race detector crashes.
func later(d time.Duration) <-chan time.Time {
	if d <= 0 {
		now := make(chan time.Time, 1)
		now <- time.Now()
		return now
	}
	return time.After(d)
}

// stop ends the hub and all links and streams, and waits for them.
func (w *world) stop() {
	w.end()
	w.wg.Wait()
}

func (w *world) create() string {
	w.t.Helper()
	s, err := w.hub.Create(w.ctx, "u1", "", protocol.CreateRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	return s.State.Info.SessionID
}

func (w *world) say(id, messageID string) protocol.MessageResponse {
	w.t.Helper()
	r, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: json.RawMessage(`"hi"`), MessageID: messageID}, hub.Admission{})
	if err != nil {
		w.t.Fatalf("message %s: %v", messageID, err)
	}
	return r
}

// append puts outputs into the log as a worker's would be.
func (w *world) append(id string, texts ...string) uint64 {
	w.t.Helper()
	var b store.Batch
	for _, s := range texts {
		b.Events = append(b.Events, session.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: s, Kind: "text"})})
	}
	done, err := w.store.Append(w.ctx, id, b)
	if err != nil {
		w.t.Fatal(err)
	}
	return done.Last
}

func (w *world) load(id string) store.Snapshot {
	w.t.Helper()
	s, err := w.store.Load(w.ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// log reads the whole log as a client does.
func (w *world) log(id string) []protocol.Event {
	w.t.Helper()
	h, err := w.hub.History(w.ctx, id, protocol.Cursor{}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	out := make([]protocol.Event, len(h.Events))
	for i, raw := range h.Events {
		if err := protocol.Decode(raw, &out[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

// completes counts the complete events of a message, and returns the last one.
func (w *world) completes(id, messageID string) (n int, last protocol.CompleteData) {
	w.t.Helper()
	for _, e := range w.log(id) {
		var d protocol.CompleteData
		if e.Type != protocol.EventComplete {
			continue
		}
		if err := protocol.Decode(e.Data, &d); err != nil {
			w.t.Fatal(err)
		}
		if d.MessageID == messageID {
			n, last = n+1, d
		}
	}
	return n, last
}

func (w *world) status(id string) protocol.Status {
	w.t.Helper()
	return w.load(id).State.Status.Status
}

// open starts a stream to a new sink.
func (w *world) open(id, cursor string, enc protocol.Encoding) *sink {
	w.t.Helper()
	s := newSink(enc)
	w.start(id, cursor, s, time.Time{})
	return s
}

// start starts a stream to a sink. When it has ended, its subscriber is taken
// off, as handlers do.
func (w *world) start(id, cursor string, s *sink, expires time.Time) {
	w.t.Helper()
	w.startAs(id, cursor, s, session.Grant{Expires: expires})
}

// startAs is start with what the stream lives by.
func (w *world) startAs(id, cursor string, s *sink, grant session.Grant) {
	w.t.Helper()
	c, err := protocol.ParseCursor(cursor)
	if err != nil {
		w.t.Fatal(err)
	}
	stream, err := w.hub.Open(w.ctx, id, c, s.enc)
	if err != nil {
		w.t.Fatalf("open at %q: %v", cursor, err)
	}
	sub, err := stream.Start(w.ctx, s, grant)
	if err != nil {
		w.t.Fatalf("start at %q: %v", cursor, err)
	}
	s.sub = sub
	w.wg.Go(func() {
		select {
		case <-s.over:
		case <-w.ctx.Done():
			s.leave()
		}
		sub.Stop(1000, "the client left", metrics.CloseClient)
	})
}
