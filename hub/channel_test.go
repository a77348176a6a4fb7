package hub_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/hub/stream"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

var sharedEncodings = map[string]protocol.Encoding{"websocket": protocol.SharedWebSocket, "sse": protocol.SharedSSE}

// channel starts a channel of u1 to a sink. It stops with its connection, as handlers do.
func (w *world) channel(s *sink, grant session.Grant) *stream.Channel {
	w.t.Helper()
	ch, err := w.hub.Channels.Open(w.ctx, "u1", s.enc)
	if err != nil {
		w.t.Fatal(err)
	}
	forget := w.hub.Channels.Start(ch, s, grant)
	s.sub = ch.Own()
	w.wg.Go(func() {
		select {
		case <-s.over:
		case <-w.ctx.Done():
			s.leave()
		}
		forget()
		ch.Stop(1000, "the client left", metrics.CloseClient)
	})
	return ch
}

func (w *world) subscribe(ch *stream.Channel, id, after string) {
	w.t.Helper()
	cursor := protocol.Cursor{}
	if after != "" {
		var err error
		if cursor, err = protocol.ParseCursor(after); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := ch.Subscribe(w.ctx, id, cursor); err != nil {
		w.t.Fatalf("subscribe to %s at %q: %v", id, after, err)
	}
}

// A channel gives each session what a stream of its own would give, and names the session.
func TestChannelGivesWhatAStreamGives(t *testing.T) {
	for name, enc := range sharedEncodings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, roomy)
				a, b := w.create(), w.create()
				w.append(a, "1", "2", "3")
				w.append(b, "1")
				own := protocol.WebSocket
				if enc.EventStream() {
					own = protocol.SSE
				}
				s := newSink(enc)
				ch := w.channel(s, session.Grant{})
				w.subscribe(ch, a, "2")
				w.subscribe(ch, b, "")
				alone := w.open(a, "2", own)
				synctest.Wait()
				w.append(a, "4")
				w.append(b, "2")
				synctest.Wait()
				if got := s.got()[0]; got.kind() != "ready" || got.session != "" {
					t.Errorf("the first frame is %s", got.raw)
				}
				want := strings.Join([]string{"connected", "3", "4", "caught_up=4", "5"}, " ")
				if got := s.scriptOf(a); got != want || alone.script() != want {
					t.Errorf("the channel gave %s, a stream %s; want %s", got, alone.script(), want)
				}
				for _, f := range s.got() {
					if f.seq != 0 && enc.EventStream() && f.id != fmt.Sprintf("%s:%s-%d", f.session, w.load(f.session).Epoch(), f.seq) {
						t.Errorf("the id of %s is %q", f.raw, f.id)
					}
				}
				events := func(s *sink, session string) (out []string) {
					for _, f := range s.got() {
						if f.seq != 0 && f.session == session {
							out = append(out, strings.Replace(f.raw, `"sessionId":"`+a+`",`, "", 1))
						}
					}
					return out
				}
				if x, y := events(s, a), events(alone, ""); !slices.Equal(x, y) {
					t.Errorf("the events differ:\n%s\n%s", x, y)
				}
			})
		})
	}
}

// Random appends, subscriptions and stalls: whatever happens, what a session has behind its
// last connected is its log from there, once and in order.
func TestChannelModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		enc := rapid.SampledFrom([]protocol.Encoding{protocol.SharedWebSocket, protocol.SharedSSE}).Draw(rt, "encoding")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, roomy, func(c *hub.Config) { c.Timers.WriteTimeout = time.Hour })
			var ids []string
			for range rapid.IntRange(1, 5).Draw(rt, "sessions") {
				ids = append(ids, w.create())
			}
			s := newSink(enc)
			ch := w.channel(s, session.Grant{})
			from := make(map[string]uint64) // of the sessions that are subscribed to
			release := func() {}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				id := rapid.SampledFrom(ids).Draw(rt, "session")
				switch rapid.SampledFrom([]string{"append", "append", "append", "subscribe", "subscribe", "leave", "stall", "release", "rest"}).Draw(rt, "step") {
				case "append":
					n, size := rapid.IntRange(1, 20).Draw(rt, "events"), rapid.SampledFrom([]int{1, 200, 20_000, 200_000}).Draw(rt, "size")
					w.append(id, slices.Repeat([]string{strings.Repeat("x", size)}, n)...)
				case "subscribe":
					last := w.load(id).Last
					from[id] = uint64(rapid.IntRange(0, int(last)).Draw(rt, "cursor"))
					w.subscribe(ch, id, fmt.Sprint(from[id]))
				case "leave":
					if _, there := from[id]; ch.Unsubscribe(id) != there {
						t.Errorf("unsubscribe says that %s was there: %v", id, !there)
					}
					delete(from, id)
				case "stall":
					release()
					release = s.stall()
				case "release":
					release()
				case "rest":
					time.Sleep(10 * time.Second) // the tails drop their bytes
				}
			}
			release()
			time.Sleep(time.Second)
			synctest.Wait()
			last := make(map[string][]uint64) // what came behind the last connected
			caughtUp := make(map[string]int)
			for _, f := range s.got() {
				switch kind := f.kind(); {
				case kind == "connected":
					last[f.session], caughtUp[f.session] = nil, 0
				case kind == "caught_up":
					caughtUp[f.session]++
				case f.seq != 0:
					last[f.session] = append(last[f.session], f.seq)
				}
			}
			for id, cursor := range from {
				var want []uint64
				for seq := cursor + 1; seq <= w.load(id).Last; seq++ {
					want = append(want, seq)
				}
				if !slices.Equal(last[id], want) || caughtUp[id] != 1 {
					rt.Errorf("session %s from %d got %v and %d caught_up, want %v", id, cursor, last[id], caughtUp[id], want)
				}
			}
			if ch.Count() != len(from) {
				rt.Errorf("the channel has %d sessions, want %d", ch.Count(), len(from))
			}
		})
	})
}

// A peer that takes nothing costs the hub no goroutine and no memory for each session. It
// gets everything when it reads on.
func TestChannelOfASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy, func(c *hub.Config) { c.Timers.WriteTimeout = time.Hour })
		const sessions = 500
		s := newSink(protocol.SharedWebSocket)
		ch := w.channel(s, session.Grant{})
		ids := make([]string, sessions)
		for i := range ids {
			ids[i] = w.create()
			w.subscribe(ch, ids[i], "")
		}
		synctest.Wait()
		before := runtime.NumGoroutine()
		release := s.stall()
		for _, id := range ids {
			w.append(id, strings.Repeat("x", 1000))
		}
		time.Sleep(20 * time.Second) // the tails have dropped their bytes: all is in the store
		synctest.Wait()
		if more := runtime.NumGoroutine() - before; more > 20 {
			t.Errorf("%d goroutines wait for the peer", more)
		}
		release()
		synctest.Wait()
		time.Sleep(time.Second)
		for _, id := range ids {
			if got := s.scriptOf(id); got != "connected 1 caught_up=1 2" {
				t.Fatalf("%s got %s", id, got)
			}
		}
	})
}

// stuckStore does not answer about some sessions.
type stuckStore struct {
	*mem.Store
	stuck atomic.Pointer[map[string]bool]
}

func (s *stuckStore) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	if m := s.stuck.Load(); m != nil && (*m)[id] {
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
		return store.Page{}, store.ErrUnavailable
	}
	return s.Store.Read(ctx, id, after, maxEvents, maxBytes)
}

// Sessions whose part of the store does not answer hold the others up for no time, and go on
// when it answers.
func TestChannelWithSessionsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := mem.New(roomy)
		far := &stuckStore{Store: mem}
		w := newWorldOn(t, mem, far)
		s := newSink(protocol.SharedSSE)
		ch := w.channel(s, session.Grant{})
		stuck := make(map[string]bool)
		var ids []string
		for i := range 30 {
			id := w.create()
			w.append(id, "a", "b")
			ids = append(ids, id)
			stuck[id] = i%2 == 0
		}
		far.stuck.Store(&stuck)
		for _, id := range ids {
			w.subscribe(ch, id, "")
		}
		time.Sleep(time.Minute)
		live := w.create()
		w.subscribe(ch, live, "")
		time.Sleep(time.Second)
		at := time.Now()
		w.append(live, "now")
		synctest.Wait()
		if got := s.scriptOf(live); !strings.HasSuffix(got, " 2") || time.Since(at) != 0 {
			t.Errorf("%s after %s", got, time.Since(at))
		}
		far.stuck.Store(nil)
		time.Sleep(time.Minute)
		for _, id := range ids {
			if got := s.scriptOf(id); got != "connected 1 2 3 caught_up=3" {
				t.Errorf("%s got %s", id, got)
			}
		}
	})
}

// The connection has one heartbeat, one grant and one end; a subscription has its own end.
func TestChannelEnds(t *testing.T) {
	for name, enc := range sharedEncodings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, roomy, func(c *hub.Config) { c.MaxSubscriptions = 2 })
				a, b := w.create(), w.create()
				s := newSink(enc)
				ch := w.channel(s, session.Grant{User: "u1", Expires: time.Now().Add(2 * time.Minute)})
				w.subscribe(ch, a, "")
				w.subscribe(ch, b, "")
				c := w.create()
				if err := ch.Subscribe(w.ctx, c, protocol.Cursor{}); !errors.Is(err, hub.ErrTooManySubscriptions) {
					t.Errorf("a third session: %v", err)
				}
				if err := ch.Subscribe(w.ctx, "s_none", protocol.Cursor{}); err == nil {
					t.Error("a session that there is not was subscribed to")
				}
				w.hub.Delete(w.ctx, a)
				synctest.Wait()
				if got := s.scriptOf(a); !strings.HasSuffix(got, "unsubscribed") {
					t.Errorf("the deleted session got %s", got)
				}
				w.subscribe(ch, c, "") // there is room again
				views, err := w.hub.Views(w.ctx, []store.Snapshot{w.load(b)})
				if err != nil || views[0].Connections.WebSocket+views[0].Connections.SSE != 1 {
					t.Errorf("the session has the connections %+v, %v", views[0].Connections, err)
				}
				wait := func(seconds int) {
					for range seconds {
						time.Sleep(time.Second)
						s.heard.Store(time.Now().UnixNano()) // the pongs
					}
				}
				wait(70)
				if n := s.heartbeats(); n < 4 || n > 5 {
					t.Errorf("%d heartbeats", n)
				}
				if !strings.Contains(s.script(), "expiring") {
					t.Errorf("nobody said that the grant expires: %s", s.script())
				}
				wait(60)
				if got := s.end(); got != protocol.CloseToken {
					t.Errorf("the connection ended with %d", got)
				}
				synctest.Wait()
				if ch.Count() != 0 || w.hub.Streams() != 0 {
					t.Errorf("%d sessions and %d connections are left", ch.Count(), w.hub.Streams())
				}
			})
		})
	}
}

// A drain gives the log's end before it ends the connection.
func TestChannelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		s := newSink(protocol.SharedWebSocket)
		ch := w.channel(s, session.Grant{})
		var ids []string
		for range 50 {
			id := w.create()
			ids = append(ids, id)
			w.subscribe(ch, id, "")
		}
		w.hub.BeginDrain()
		for _, id := range ids {
			w.append(id, strings.Repeat("x", 50_000))
		}
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		if err := w.hub.DrainStreams(ctx, time.Second); err != nil {
			t.Error(err)
		}
		if s.end() != protocol.CloseGoingAway || !strings.Contains(s.script(), "draining") {
			t.Errorf("the connection ended with %d after %s", s.end(), s.script())
		}
		for _, id := range ids {
			if got := s.scriptOf(id); !strings.HasSuffix(got, " 2") {
				t.Errorf("%s got %s", id, got)
			}
		}
	})
}

// chatter is a source that always has something.
type chatter struct {
	n      int
	closed atomic.Bool
}

func (c *chatter) Close() { c.closed.Store(true) }

func (c *chatter) Next(b []byte, enc protocol.Encoding, _ int) []byte {
	c.n++
	return enc.Control(b, "listed", "", protocol.AppendControl(nil, "listed", time.Now(), map[string]int{"n": c.n}))
}

// A source that never rests and sessions that never rest get their turns.
func TestChannelSourceAndSessionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		id := w.create()
		for range 100 {
			w.append(id, strings.Repeat("x", 20_000))
		}
		s := newSink(protocol.SharedWebSocket)
		ch := w.channel(s, session.Grant{})
		s.drip = time.Millisecond
		source := new(chatter)
		ch.SetSource(source)
		w.subscribe(ch, id, "")
		time.Sleep(3 * time.Second)
		told := strings.Count(s.script(), "listed")
		if got := s.scriptOf(id); !strings.HasSuffix(got, "101 caught_up=101") || told < 100 {
			t.Errorf("%d frames of the source, and %s", told, got)
		}
		if ch.SetSource(nil); !source.closed.Load() {
			t.Error("a source that is not carried any more was not closed")
		}
	})
}

// A panic in a write ends its connection alone, and gives everything back.
func TestChannelWhoseWritePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		id := w.create()
		good := newSink(protocol.SharedWebSocket)
		w.subscribe(w.channel(good, session.Grant{}), id, "")
		bad := newSink(protocol.SharedWebSocket)
		ch, err := w.hub.Channels.Open(w.ctx, "u1", bad.enc)
		if err != nil {
			t.Fatal(err)
		}
		forget := w.hub.Channels.Start(ch, panicSink{bad}, session.Grant{})
		if bad.end() != protocol.CloseInternal {
			t.Errorf("the connection ended with %d", bad.end())
		}
		forget()
		ch.Stop(0, "", metrics.CloseClient)
		synctest.Wait()
		w.append(id, "1")
		synctest.Wait()
		if got := good.scriptOf(id); !strings.HasSuffix(got, " 2") || w.hub.Streams() != 1 {
			t.Errorf("the other connection has %s; %d are open", got, w.hub.Streams())
		}
	})
}

// An id can name a node that is not there, and costs the whole time limit. One user who sends
// many of them does not keep others from changing their connections.
func TestChangesForOneUserAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.New(roomy)
		w := newWorldOn(t, st, &sleepy{Store: st})
		ghost := base64.RawURLEncoding.EncodeToString([]byte("ghost")) + ".id"
		var refused atomic.Int32
		ask := func(user string) {
			_, err := w.hub.Channels.Change(w.ctx, ghost, user, protocol.ChannelRequest{})
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", user, err)
			}
			if errors.Is(err, hub.ErrBusyNode) {
				refused.Add(1)
			}
		}
		for range 300 {
			w.wg.Go(func() { ask("u1") })
		}
		synctest.Wait()
		if n := refused.Swap(0); n < 200 {
			t.Errorf("%d of 300 changes were refused at once", n)
		}
		ask("u2")
		if n := refused.Load(); n != 0 {
			t.Error("another user was refused")
		}
	})
}
