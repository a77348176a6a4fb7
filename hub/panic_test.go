package hub_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/engine"
	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// faultyStore panics in the calls that a test names, for one session or worker.
type faultyStore struct {
	store.Store
	call   atomic.Pointer[string] // the method; nil: none
	of     atomic.Pointer[string] // the session or the worker; nil: any
	panics atomic.Int64

	gate atomic.Pointer[gate] // what an append waits for
}

type gate struct {
	of   string
	open chan struct{}
}

func (s *faultyStore) fault(call, of string) {
	s.of.Store(&of)
	s.call.Store(&call)
}

func (s *faultyStore) heal() { s.call.Store(nil) }

func (s *faultyStore) at(call, of string) {
	if c, o := s.call.Load(), s.of.Load(); c != nil && *c == call && (*o == "" || *o == of) {
		s.panics.Add(1)
		panic("a fault in " + call)
	}
}

func (s *faultyStore) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if g := s.gate.Load(); g != nil && g.of == id {
		<-g.open
	}
	s.at("Append", id)
	done, err := s.Store.Append(ctx, id, b)
	s.at("Append, stored", id)
	return done, err
}

func (s *faultyStore) Load(ctx context.Context, id string) (store.Snapshot, error) {
	s.at("Load", id)
	return s.Store.Load(ctx, id)
}

func (s *faultyStore) Commands(ctx context.Context, id string, after uint64) ([]session.Command, error) {
	s.at("Commands", id)
	return s.Store.Commands(ctx, id, after)
}

func (s *faultyStore) Held(ctx context.Context, worker string) ([]store.Holding, error) {
	s.at("Held", worker)
	return s.Store.Held(ctx, worker)
}

func (s *faultyStore) RenewWorker(ctx context.Context, w store.WorkerInfo, lease time.Duration) error {
	s.at("RenewWorker", w.Name)
	return s.Store.RenewWorker(ctx, w, lease)
}

func (s *faultyStore) Unhold(ctx context.Context, worker string, h store.Holding) error {
	s.at("Unhold", h.Session)
	return s.Store.Unhold(ctx, worker, h)
}

func (s *faultyStore) Hold(ctx context.Context, worker string, h store.Holding) error {
	s.at("Hold", h.Session)
	return s.Store.Hold(ctx, worker, h)
}

func (s *faultyStore) Queued(ctx context.Context, provider, workspace string, most int) ([]store.Waiting, error) {
	s.at("Queued", "")
	return s.Store.Queued(ctx, provider, workspace, most)
}

func (s *faultyStore) TakeDue(ctx context.Context, most int, hide time.Duration) ([]store.Due, time.Duration, error) {
	s.at("TakeDue", "")
	return s.Store.TakeDue(ctx, most, hide)
}

// faulty is a world on a store that panics, with what it logs.
type faulty struct {
	*world
	bad *faultyStore

	mu  sync.Mutex
	log bytes.Buffer
}

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

// idleTTL is short: a bubble's hours cost seconds.
const idleTTL = 5 * time.Minute

func inFaulty(t *testing.T, run func(*faulty)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		f := &faulty{bad: &faultyStore{Store: store}}
		f.world = newWorldOn(t, store, f.bad, func(c *hub.Config) {
			c.Log = slog.New(slog.NewTextHandler(f, nil))
			c.Policy.SessionIdleTTL = idleTTL
		})
		run(f)
		f.stop() // which waits for everything: nothing was left by a panic
	})
}

// wantLogged wants a panic in the log, with a stack that leads to this file.
func (f *faulty) wantLogged(what string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, what) && strings.Contains(line, "stack=") && strings.Contains(line, "panic_test.go") {
			return
		}
	}
	f.t.Errorf("the log does not hold %q with a stack:\n%s", what, f.log.String())
}

// running has a worker run a message of a new session.
func (f *faulty) running(p *peer) (id string) {
	f.t.Helper()
	id = f.create()
	f.say(id, "m1")
	if got := p.script(); !strings.HasSuffix(got, "message(1 m1)") {
		f.t.Fatalf("the worker was told %q", got)
	}
	return id
}

// faultyConn is a link whose hub's end panics.
type faultyConn struct {
	*pipe
	read, write atomic.Bool
}

func (c *faultyConn) ReadFrame(ctx context.Context) ([]byte, error) {
	f, err := c.pipe.ReadFrame(ctx)
	if c.read.Load() {
		panic("a fault in ReadFrame")
	}
	return f, err
}

func (c *faultyConn) WriteFrame(ctx context.Context, f []byte) error {
	if c.write.Load() {
		panic("a fault in WriteFrame")
	}
	return c.pipe.WriteFrame(ctx, f)
}

// joinFaulty is join over a link whose hub's end can panic.
func (f *faulty) joinFaulty(h protocol.Hello) (*peer, *faultyConn) {
	f.t.Helper()
	mine, theirs := newPipe()
	conn := &faultyConn{pipe: theirs}
	p := &peer{w: f.world, conn: mine, done: make(chan error, 1), thaw: make(chan struct{})}
	f.wg.Go(func() { p.done <- f.hub.ServeWorker(f.ctx, conn, fleet.WorkerKey{}) })
	f.wg.Go(p.read)
	p.send(protocol.FrameHello, h)
	return p, conn
}

// A panic in any goroutine of a worker's link ends that link, and the worker is
// told to come back; it goes on there where it was, and so do the other links.
func TestPanicInALinkEndsOneLink(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(f *faulty, p *peer, conn *faultyConn, id string)
		log   string
		told  bool // of the end
	}{
		{"reader", func(_ *faulty, p *peer, conn *faultyConn, id string) {
			conn.read.Store(true)
			p.output(id, 1, 1)
		}, "a fault in ReadFrame", true},
		{"storer", func(f *faulty, p *peer, _ *faultyConn, id string) {
			f.bad.fault("Append", id)
			p.output(id, 1, 1)
		}, "a fault in Append", true},
		{"writer at the store", func(f *faulty, _ *peer, _ *faultyConn, id string) {
			f.bad.fault("Commands", id)
			if err := f.hub.Cancel(f.ctx, id, protocol.CancelRequest{}); err != nil {
				f.t.Error(err)
			}
		}, "a fault in Commands", true},
		{"writer", func(f *faulty, _ *peer, conn *faultyConn, id string) {
			conn.write.Store(true)
			if err := f.hub.Cancel(f.ctx, id, protocol.CancelRequest{}); err != nil {
				f.t.Error(err)
			}
		}, "a fault in WriteFrame", false},
		{"keeper of the lease", func(f *faulty, _ *peer, _ *faultyConn, _ string) {
			f.bad.fault("RenewWorker", "w1")
			at(3 * time.Second)
		}, "a fault in RenewWorker", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFaulty(t, func(f *faulty) {
				p, conn := f.joinFaulty(hello("w1"))
				p.want("welcome")
				id := f.running(p)
				h := hello("w2")
				h.Workspace = "other"
				q := f.join(h)
				q.want("welcome")

				c.fault(f, p, conn, id)
				if !p.ended() {
					t.Fatal("the link has not ended")
				}
				if told := strings.HasSuffix(p.script(), "error(internal)"); told != c.told {
					t.Errorf("the worker was told: %v", told)
				}
				if err := <-p.done; err == nil || !strings.Contains(err.Error(), "internal") {
					t.Errorf("ServeWorker returned %v", err)
				}
				f.wantLogged(c.log)
				f.bad.heal()
				if q.ended() {
					t.Error("the other link has ended too")
				}
				again := f.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}))
				again.script()
				n := f.load(id).N + 1
				again.output(id, 1, n)
				again.complete(id, 1, n+1, "m1")
				again.script()
				if n, done := f.completes(id, "m1"); n != 1 || done.StopReason != protocol.StopEndTurn {
					t.Errorf("%d completes, %+v", n, done)
				}
			})
		})
	}
}

// Of the sessions of one link, those that come in one wave are stored side by side.
func TestPanicSideBySideEndsTheLink(t *testing.T) {
	inFaulty(t, func(f *faulty) {
		p := f.join(hello("w1"))
		p.want("welcome")
		a, b := f.running(p), f.running(p)
		first := &gate{of: b, open: make(chan struct{})}
		f.bad.gate.Store(first)
		p.output(b, 1, 1)
		synctest.Wait()
		p.output(a, 1, 1) // these wait for the first, and are taken together
		p.output(b, 1, 2)
		synctest.Wait()
		f.bad.fault("Append", a)
		close(first.open)
		if !p.ended() {
			t.Fatal("the link has not ended")
		}
		if err := <-p.done; err == nil || !strings.Contains(err.Error(), "internal") {
			t.Errorf("ServeWorker returned %v", err)
		}
		f.wantLogged("a fault in Append")
		f.wantLogged("receiver.takeAll.func") // in a goroutine of its own
	})
}

func TestPanicWhileAWorkerJoins(t *testing.T) {
	inFaulty(t, func(f *faulty) {
		f.bad.fault("Held", "w1")
		p := f.join(hello("w1"))
		p.want("welcome error(internal)")
		if !p.ended() {
			t.Fatal("the link has not ended")
		}
		f.wantLogged("a fault in Held")
		f.bad.heal()
		again := f.join(hello("w1"))
		again.want("welcome")
		f.running(again)
	})
}

// The place of a session whose worker does not answer its close is freed by a timer.
func TestPanicBehindACloseEndsTheLink(t *testing.T) {
	inFaulty(t, func(f *faulty) {
		p := f.join(hello("w1"))
		p.want("welcome")
		id := f.running(p)
		if err := f.hub.Delete(f.ctx, id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.bad.fault("Unhold", id)
		at(engine.DefaultTimers.CloseGrace + time.Second)
		if !p.ended() {
			t.Fatal("the link has not ended")
		}
		f.wantLogged("a fault in Unhold")
	})
}

// A session at which a loop of the hub's panics keeps nobody else from their due, and
// neither does a panic in the loop itself.
func TestPanicInALoopOfTheHub(t *testing.T) {
	t.Run("deadlines, one session", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			bad, good := f.create(), f.create()
			f.bad.fault("Load", bad)
			at(idleTTL + time.Minute)
			if s := f.load(good).State.Closed; s != protocol.ClosedExpired {
				t.Errorf("the other session is %q", s)
			}
			f.wantLogged("a fault in Load")
			if n := f.bad.panics.Load(); n > 5 {
				t.Errorf("%d panics in a minute", n)
			}
			f.bad.heal()
			at(2 * time.Minute)
			if s := f.load(bad).State.Closed; s != protocol.ClosedExpired {
				t.Errorf("looked at again, the session is %q", s)
			}
		})
	})
	t.Run("deadlines", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			id := f.create()
			at(time.Second)
			f.bad.fault("TakeDue", "")
			at(idleTTL + time.Minute)
			f.wantLogged("a fault in TakeDue")
			f.bad.heal()
			at(time.Minute)
			if s := f.load(id).State.Closed; s != protocol.ClosedExpired {
				t.Errorf("the session is %q", s)
			}
		})
	})
	t.Run("dispatcher, one session", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			bad := f.create()
			f.bad.fault("Hold", bad)
			f.say(bad, "m1")
			p := f.join(hello("w1"))
			p.want("welcome")
			f.running(p)
			f.wantLogged("a fault in Hold")
			f.bad.heal()
			at(time.Minute) // it is looked at again
			p.want("assign(1 after 0 resume=false) message(1 m1)")
		})
	})
	t.Run("dispatcher, an assignment without an answer", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			id := f.create()
			f.say(id, "m1")
			f.bad.fault("Append, stored", id)
			p := f.join(hello("w1"))
			p.want("welcome")
			f.wantLogged("a fault in Append, stored")
			at(10 * time.Second)
			p.want("assign(1 after 0 resume=false) message(1 m1)")
		})
	})
	t.Run("dispatcher", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			p := f.join(hello("w1"))
			p.want("welcome")
			f.bad.fault("Queued", "")
			id := f.create()
			f.say(id, "m1")
			at(5 * time.Second)
			p.want("")
			f.wantLogged("a fault in Queued")
			f.bad.heal()
			at(2 * time.Second) // before it would be queued again
			p.want("assign(1 after 0 resume=false) message(1 m1)")
		})
	})
	t.Run("sweeper", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			one, two := f.create(), f.create()
			good := f.open(two, "", protocol.WebSocket)
			bad := &stalledPanic{sink: newSink(protocol.WebSocket)}
			stream, err := f.hub.Open(f.ctx, one, protocol.Cursor{}, protocol.WebSocket)
			if err != nil {
				t.Fatal(err)
			}
			sub, err := stream.Start(f.ctx, bad, session.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			beside := f.open(one, "", protocol.WebSocket)
			at(3 * time.Second)
			if code, cause := sub.Ended(); bad.end() != -1 || code != protocol.CloseInternal || cause != metrics.CloseInternal {
				t.Errorf("end %d, %d %s", bad.end(), code, cause)
			}
			if beside.end() != -1 {
				t.Errorf("the stream beside it ended with %d: it would be left without heartbeats", beside.end())
			}
			sub.Stop(0, "", metrics.CloseClient)
			f.wantLogged("a fault in Stalled")
			at(time.Minute)
			if good.end() != 0 || good.heartbeats() != 4 {
				t.Errorf("the other session's stream: end %d, %d pings", good.end(), good.heartbeats())
			}
			f.wantScript(f.open(one, "", protocol.WebSocket), "connected 1 caught_up=1")
		})
	})
	t.Run("checks of tokens", func(t *testing.T) {
		inFaulty(t, func(f *faulty) {
			var ids []string
			var sinks []*sink
			for range 4 {
				id, s := f.create(), newSink(protocol.WebSocket)
				f.startAs(id, "", s, session.Grant{TokenID: "t1"})
				ids, sinks = append(ids, id), append(sinks, s)
			}
			synctest.Wait()
			for _, id := range ids {
				if err := f.hub.Revoke(f.ctx, id, session.Grant{TokenID: "t1", Expires: time.Now().Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
			}
			f.bad.fault("Load", ids[0])
			at(2 * time.Second)
			if sinks[0].end() != -1 {
				t.Errorf("ended with %d: whether it may go on cannot be told", sinks[0].end())
			}
			for _, s := range sinks[1:] {
				if s.end() != protocol.CloseToken {
					t.Errorf("ended with %d", s.end())
				}
			}
			f.wantLogged("a fault in Load")
		})
	})
}

// stalledPanic is a connection at which the sweeper panics.
type stalledPanic struct{ *sink }

func (*stalledPanic) Stalled(time.Duration) bool { panic("a fault in Stalled") }
