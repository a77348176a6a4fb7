package hub_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// The end of a token takes effect within 2 s, also on a stream whose peer takes
// nothing and so cannot be told. It once lasted until the write timeout.
func TestTokenEndsAStreamThatTakesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *world, id string)
	}{
		{"expired", func(*world, string) {}},
		{"revoked", func(w *world, id string) {
			if _, err := w.hub.RevokeAll(w.ctx, id); err != nil {
				t.Error(err)
			}
		}},
	} {
		inBubble(t, roomy, func(w *world) {
			id := w.create()
			s := newSink(protocol.SSE)
			expires := time.Now().Add(time.Hour)
			if c.name == "expired" {
				expires = time.Now().Add(5*time.Second + 500*time.Millisecond)
			}
			w.startAs(id, "", s, session.Grant{TokenID: "t1", Expires: expires})
			synctest.Wait()
			release := s.stall()
			defer release()
			w.append(id, "x")
			at(5*time.Second + 500*time.Millisecond)
			if s.end() != 0 {
				t.Fatalf("%s: ended with %d before its time", c.name, s.end())
			}
			c.end(w, id)
			at(2 * time.Second)
			if code, cause := s.sub.Ended(); s.end() != -1 || code != protocol.CloseToken || cause != metrics.CloseToken {
				t.Errorf("%s: end %d, %d %s; want it cut for its token", c.name, s.end(), code, cause)
			}
		})
	}
}

// A peer that reads is told, however the looks of the sweeper fall.
func TestTokenEndsAStreamInOrder(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := newSink(protocol.WebSocket)
		w.startAs(id, "", s, session.Grant{TokenID: "t1", Expires: time.Now().Add(3 * time.Second)})
		at(10 * time.Second)
		if s.end() != protocol.CloseToken {
			t.Errorf("ended with %d", s.end())
		}
	})
}

// panicSink is a connection whose writes panic.
type panicSink struct{ *sink }

func (panicSink) Write([]byte) error { panic("a fault in a write") }

func TestPanicInAPumpEndsOneStream(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		good, bad := w.open(id, "", protocol.WebSocket), panicSink{newSink(protocol.WebSocket)}
		stream, err := w.hub.Open(w.ctx, id, protocol.Cursor{}, protocol.WebSocket)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := stream.Start(w.ctx, bad, session.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if code, cause := sub.Ended(); bad.end() != protocol.CloseInternal || code != protocol.CloseInternal || cause != metrics.CloseInternal {
			t.Errorf("end %d, %d %s", bad.end(), code, cause)
		}
		sub.Stop(0, "", metrics.CloseClient)
		w.append(id, "a")
		w.wantScript(good, "connected 1 caught_up=1 2")
		if n := w.hub.Streams(); n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}

// slowStore answers a Watch of one session when it may.
type slowStore struct {
	store.Store
	slow   string
	asked  chan struct{}
	answer chan struct{}
	once   sync.Once
}

func (s *slowStore) Watch(id string, notify func(store.Notice)) func() {
	if id == s.slow {
		s.once.Do(func() { close(s.asked) })
		<-s.answer
	}
	return s.Store.Watch(id, notify)
}

// A store on a network can take its time for a watch. It once held a lock
// meanwhile that every other stream's beginning and end needs.
func TestSlowWatchHoldsUpNobodyElse(t *testing.T) {
	store := mem.New(roomy)
	slow := &slowStore{Store: store, asked: make(chan struct{}), answer: make(chan struct{})}
	w := newWorldOn(t, store, slow)
	id, other := w.create(), w.create()
	slow.slow = id
	wait := func(s *sink, script string) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); s.script() != script; {
			select {
			case <-s.more:
			case <-later(time.Until(until)):
				t.Fatalf("got %s, want %s", s.script(), script)
			}
		}
	}
	sinks := []*sink{newSink(protocol.WebSocket), newSink(protocol.SSE)}
	var wg sync.WaitGroup
	for _, s := range sinks { // both wait for one watch
		wg.Go(func() { w.start(id, "", s, time.Time{}) })
	}
	<-slow.asked
	quick := w.open(other, "", protocol.WebSocket) // would hang here
	wait(quick, "connected 1 caught_up=1")
	w.append(other, "a")
	wait(quick, "connected 1 caught_up=1 2")
	quick.leave()
	w.append(id, "b") // no notice of it comes
	close(slow.answer)
	wg.Wait()
	for _, s := range sinks {
		wait(s, "connected 1 2 caught_up=2")
	}
	w.append(id, "c")
	for _, s := range sinks {
		wait(s, "connected 1 2 caught_up=2 3")
	}
}
