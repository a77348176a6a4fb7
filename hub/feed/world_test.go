package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// world is a node's feeds on a store. The store in memory counts the reads.
type world struct {
	t      testing.TB
	ctx    context.Context
	store  *counted
	engine *engine.Engine
	feeds  *Feeds
	stop   func()
}

// counted is a store whose calls for feeds are counted, and may be spoilt by a test.
type counted struct {
	*mem.Store
	calls atomic.Int64
	spoil atomic.Pointer[func() error]                                   // before each call
	watch func(user string, notify func(store.UserNotice)) (stop func()) // nil: the store's
}

func (c *counted) called() error {
	c.calls.Add(1)
	if spoil := c.spoil.Load(); spoil != nil {
		return (*spoil)()
	}
	return nil
}

func (c *counted) spoilBy(f func() error) { c.spoil.Store(&f) }

func (c *counted) WatchUser(user string, notify func(store.UserNotice)) func() {
	if c.watch != nil {
		return c.watch(user, notify)
	}
	return c.Store.WatchUser(user, notify)
}

// feedStore is what the feeds see: the engine's calls are not counted.
type feedStore struct{ *counted }

func (c feedStore) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if err := c.called(); err != nil {
		return store.Snapshot{}, err
	}
	return c.Store.Load(ctx, id)
}

func (c feedStore) List(ctx context.Context, q store.ListQuery) ([]store.Snapshot, string, error) {
	if err := c.called(); err != nil {
		return nil, "", err
	}
	return c.Store.List(ctx, q)
}

func newWorld(t testing.TB) *world {
	st := &counted{Store: mem.New(store.Retention{})}
	env := engine.NewEnv("n1", engine.DefaultTimers, metrics.New(prometheus.NewRegistry(), metrics.Build{}, nil), slog.New(slog.DiscardHandler), st.Available)
	w := &world{t: t, ctx: t.Context(), store: st, engine: engine.NewEngine(env, session.DefaultPolicy, st)}
	w.feeds = NewFeeds(env, feedStore{st}, w.views)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.feeds.Run(ctx) })
	w.stop = func() {
		cancel()
		wg.Wait()
	}
	return w
}

// views shows what a feed must follow.
func (w *world) views(_ context.Context, snaps []store.Snapshot) ([]protocol.Session, error) {
	if err := w.store.called(); err != nil {
		return nil, err
	}
	return viewsOf(snaps), nil
}

func viewsOf(snaps []store.Snapshot) []protocol.Session {
	out := make([]protocol.Session, len(snaps))
	for i, s := range snaps {
		out[i] = protocol.Session{
			SessionID: s.State.Info.SessionID, UserID: s.State.Info.UserID, Title: s.State.Title(), Status: s.State.Status.Status,
			PendingApprovals: len(s.State.Approvals), Metadata: json.RawMessage(`{}`), CreatedAt: s.State.Info.CreatedAt,
		}
	}
	return out
}

func (w *world) create(id, user string) {
	w.t.Helper()
	if err := w.engine.Create(w.ctx, session.Info{SessionID: id, UserID: user, Provider: "demo", CreatedAt: time.Now().UTC()}, 0); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) change(id string, ins ...session.Input) {
	w.t.Helper()
	for _, in := range ins {
		if _, _, err := w.engine.Change(w.ctx, id, in, nil); err != nil {
			w.t.Fatalf("%T: %v", in, err)
		}
	}
}

func message(id string) session.InMessage {
	return session.InMessage{Data: protocol.MessageData{MessageID: id, Content: []byte(`"hi"`), UserID: "u1"}, Hash: "of " + id}
}

func question(message, id string) session.InToolApproval {
	return session.InToolApproval{Data: protocol.ToolApprovalData{
		MessageID: message, InteractionID: id, Kind: "execute", Input: []byte(`{}`),
		Options: []protocol.ApprovalOption{{OptionID: "yes", Kind: "allow_once"}},
	}}
}

// turn begins a turn.
func (w *world) turn(id, messageID string) {
	w.t.Helper()
	w.change(id, message(messageID))
	if s := w.load(id).State; s.Worker == "" {
		w.change(id, session.InAssign{Worker: "w", Workspace: "ws"}, session.InStarting{})
	}
	w.change(id, session.InHand{Command: w.load(id).State.Messages[0].Command})
}

// end ends a turn.
func (w *world) end(id, messageID string) {
	w.t.Helper()
	w.change(id, session.InComplete{Data: protocol.CompleteData{MessageID: messageID, StopReason: protocol.StopEndTurn}},
		session.InDone{Message: w.load(id).State.Running})
}

func (w *world) load(id string) store.Snapshot {
	w.t.Helper()
	s, err := w.store.Load(w.ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// listing is what the store lists, by session.
func (w *world) listing(user string) map[string]protocol.Session {
	w.t.Helper()
	snaps, _, err := w.store.Store.List(w.ctx, store.ListQuery{User: user, Limit: 1 << 20})
	if err != nil {
		w.t.Fatal(err)
	}
	out := make(map[string]protocol.Session)
	for _, v := range viewsOf(snaps) {
		out[v.SessionID] = v
	}
	return out
}

// frame is one frame as a client reads it.
type frame struct {
	Type protocol.ControlType
	Data struct {
		Change    protocol.ListChange
		Session   protocol.Session
		SessionID string
		Sessions  int
	}
}

func framesOf(t testing.TB, b []byte) (out []frame) {
	t.Helper()
	for part := range bytes.SplitSeq(b, []byte("\n\n")) {
		if len(part) == 0 {
			continue
		}
		_, data, _ := bytes.Cut(part, []byte("\ndata: "))
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatalf("%q: %v", part, err)
		}
		out = append(out, f)
	}
	return out
}

// client follows a list by the rules of docs/PROTOCOL.md.
type client struct {
	t      testing.TB
	reader *Reader
	wake   chan struct{}

	mu       sync.Mutex
	picture  map[string]protocol.Session
	snapshot map[string]bool // told since the last list_complete
	complete int             // how many there were
	slow     bool            // it may be told of a change twice
	needed   map[string]time.Time
	frames   []frame
}

func (w *world) open(user string) *client {
	w.t.Helper()
	c := &client{
		t: w.t, wake: make(chan struct{}, 1),
		picture: make(map[string]protocol.Session), snapshot: make(map[string]bool), needed: make(map[string]time.Time),
	}
	r, err := w.feeds.Open(user, func() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c.reader = r
	c.wake <- struct{}{} // a channel asks a new source at once
	return c
}

// read reads once, and reports whether there was something.
func (c *client) read(most int) bool {
	b := c.reader.Next(nil, protocol.SSE, most)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range framesOf(c.t, b) {
		c.takeLocked(f)
	}
	return len(b) > 0
}

func (c *client) takeLocked(f frame) {
	c.frames = append(c.frames, f)
	switch f.Type {
	case protocol.ControlListed:
		s := f.Data.Session
		_, known := c.picture[s.SessionID]
		switch f.Data.Change {
		case protocol.ListSnapshot:
			c.snapshot[s.SessionID] = true
		case protocol.ListCreated:
			if known && !c.slow {
				c.t.Errorf("%s is said to be new, and was there", s.SessionID)
			}
		case protocol.ListChanged, protocol.ListFinished:
			if !known {
				c.t.Errorf("%s is said to be %s, and was not there", s.SessionID, f.Data.Change)
			}
		}
		if f.Data.Change == protocol.ListNeedsYou && s.PendingApprovals == 0 {
			c.t.Errorf("%s needs you and has no question", s.SessionID)
		}
		if f.Data.Change == protocol.ListNeedsYou || f.Data.Change == protocol.ListSnapshot {
			c.needed[s.SessionID] = time.Now()
		}
		c.picture[s.SessionID] = s
	case protocol.ControlUnlisted:
		delete(c.picture, f.Data.SessionID)
	case protocol.ControlListComplete:
		maps.DeleteFunc(c.picture, func(id string, _ protocol.Session) bool { return !c.snapshot[id] })
		clear(c.snapshot)
		if c.complete++; len(c.picture) != f.Data.Sessions {
			c.t.Errorf("the snapshot had %d sessions, and says %d", len(c.picture), f.Data.Sessions)
		}
	default:
		c.t.Errorf("a frame %q", f.Type)
	}
}

// follow reads until ctx ends. pause is called before each read.
func (c *client) follow(ctx context.Context, most int, pause func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for pause(); c.read(most) && ctx.Err() == nil; {
			pause()
		}
	}
}

// drain reads everything that is there, and gives the changes: "type session".
func (c *client) drain() (changes []string) {
	c.t.Helper()
	c.frames = nil
	for c.read(1 << 20) {
	}
	for _, f := range c.frames {
		switch f.Type {
		case protocol.ControlListed:
			changes = append(changes, string(f.Data.Change)+" "+f.Data.Session.SessionID)
		case protocol.ControlUnlisted:
			changes = append(changes, "unlisted "+f.Data.SessionID)
		default:
			changes = append(changes, string(f.Type))
		}
	}
	return changes
}

func (c *client) want(changes ...string) {
	c.t.Helper()
	if got := c.drain(); !slices.Equal(got, changes) {
		c.t.Errorf("%q, want %q", got, changes)
	}
}

// equals compares the picture with a listing.
func (c *client) equals(want map[string]protocol.Session) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complete == 0 {
		c.t.Error("the snapshot is not complete")
	}
	for id, s := range want {
		if got, ok := c.picture[id]; !ok || !bytes.Equal(protocol.Marshal(got), protocol.Marshal(s)) {
			c.t.Errorf("%s is %s, want %s", id, protocol.Marshal(got), protocol.Marshal(s))
		}
	}
	for id := range c.picture {
		if _, ok := want[id]; !ok {
			c.t.Errorf("%s is gone, and still in the picture", id)
		}
	}
}
