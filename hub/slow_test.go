package hub_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// at lets time go by and everything come to rest.
func at(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestStalledSubscriberIsCutAndOthersSeeNoDelay(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		slow, fast := w.open(id, "", protocol.WebSocket), w.open(id, "", protocol.SSE)
		synctest.Wait()
		release := slow.stall()
		defer release()
		began := time.Now()
		w.append(id, "a")
		synctest.Wait()
		if !strings.HasSuffix(fast.script(), "caught_up=1 2") || !time.Now().Equal(began) {
			t.Errorf("the other one has %s after %s", fast.script(), time.Since(began))
		}
		for range 9 {
			at(time.Second)
			w.append(id, strings.Repeat("x", 100_000))
			synctest.Wait()
			if slow.end() != 0 {
				t.Fatalf("cut after %s", time.Since(began))
			}
			if got := fast.got(); got[len(got)-1].seq != w.load(id).Last {
				t.Fatalf("the other one waits too: %s", fast.script())
			}
		}
		at(3 * time.Second)
		if slow.end() != -1 {
			t.Fatal("not cut after 12 s")
		}
		if code, cause := slow.sub.Ended(); code != protocol.CloseSlow || cause != metrics.CloseSlow {
			t.Errorf("ended with %d %s", code, cause)
		}
		// It lost nothing: it goes on at its cursor.
		again := w.open(id, "1", protocol.WebSocket)
		w.wantScript(again, "connected 2 3 4 5 6 7 8 9 10 11 caught_up=11")
	})
}

func TestSlowButProgressingSubscriberStays(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := w.open(id, "", protocol.WebSocket)
		synctest.Wait()
		s.mu.Lock()
		s.drip = 8 * time.Second // 40 s for a write, but something goes every 8
		s.mu.Unlock()
		for range 4 {
			w.append(id, "x")
			at(5 * time.Minute) // heartbeats are writes too
		}
		if s.end() != 0 || !strings.HasSuffix(s.script(), "caught_up=1 2 3 4 5") {
			t.Errorf("end %d: %s", s.end(), s.script())
		}
	})
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		a, b := w.open(id, "", protocol.WebSocket), w.open(id, "", protocol.SSE)
		at(14 * time.Second)
		if a.heartbeats()+b.heartbeats() != 0 {
			t.Error("a heartbeat before its time")
		}
		at(61*time.Second - 14*time.Second)
		if a.heartbeats() != 4 || b.heartbeats() != 4 {
			t.Errorf("%d pings and %d comments in a minute, want 4", a.heartbeats(), b.heartbeats())
		}
		w.wantScript(a, "connected 1 caught_up=1") // nothing else comes
	})
}

func TestPeerThatAnswersNoPingIsDropped(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		dead, live := w.open(id, "", protocol.WebSocket), w.open(id, "", protocol.WebSocket)
		dead.heard.Store(time.Now().UnixNano())
		for range 44 {
			live.heard.Store(time.Now().UnixNano())
			at(time.Second)
		}
		if dead.end() != 0 {
			t.Error("dropped before 30 s after the first ping")
		}
		for range 3 {
			live.heard.Store(time.Now().UnixNano())
			at(time.Second)
		}
		if dead.end() != -1 || live.end() != 0 {
			t.Errorf("ends: %d of the dead one, %d of the live one", dead.end(), live.end())
		}
		if _, cause := dead.sub.Ended(); cause != metrics.CloseVanished {
			t.Errorf("cause %s", cause)
		}
	})
}

func TestTokenExpires(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		expires := time.Now().Add(5 * time.Minute)
		s, renewed := newSink(protocol.SSE), newSink(protocol.WebSocket)
		w.start(id, "", s, expires)
		w.start(id, "", renewed, expires)
		at(4*time.Minute - time.Second)
		w.wantScript(s, "connected 1 caught_up=1")
		at(2 * time.Second)
		w.wantScript(s, "connected 1 caught_up=1 expiring")
		var e protocol.Expiring
		frames := s.got()
		frames[len(frames)-1].data(&e)
		if !e.ExpiresAt.Equal(expires) {
			t.Errorf("expires at %s, want %s", e.ExpiresAt, expires)
		}
		renewed.sub.SetGrant(t.Context(), session.Grant{Expires: expires.Add(10 * time.Minute)})
		at(58 * time.Second)
		if s.end() != 0 {
			t.Error("it ended before the token")
		}
		at(3 * time.Second)
		if s.end() != protocol.CloseToken {
			t.Errorf("ended with %d, want 4401", s.end())
		}
		if renewed.end() != 0 {
			t.Errorf("the renewed one ended with %d", renewed.end())
		}
		at(9 * time.Minute)
		w.wantScript(renewed, "connected 1 caught_up=1 expiring expiring") // warned again, for the new end
		at(time.Minute)
		if renewed.end() != protocol.CloseToken {
			t.Errorf("the renewed one ended with %d", renewed.end())
		}
	})
}

func TestDrainSpreadsTheStreams(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		var sinks []*sink
		for i := range 40 {
			sinks = append(sinks, w.open(id, "", protocol.Encoding(i%2)))
		}
		synctest.Wait()
		w.hub.BeginDrain()
		began := time.Now()
		ended := make(chan error, 1)
		w.wg.Go(func() { ended <- w.hub.DrainStreams(w.ctx, 10*time.Second) })
		at(5 * time.Second)
		open := 0
		for _, s := range sinks {
			if s.end() == 0 {
				open++
			}
		}
		if open < 5 || open > 35 {
			t.Errorf("%d of 40 streams are open after half of the time", open)
		}
		if err := <-ended; err != nil || time.Since(began) > 11*time.Second {
			t.Errorf("drained in %s: %v", time.Since(began), err)
		}
		delays := make(map[int64]bool)
		for _, s := range sinks {
			frames := s.got()
			var d protocol.Draining
			frames[len(frames)-1].data(&d)
			delays[d.ReconnectAfterMs] = true
			if s.end() != protocol.CloseGoingAway || d.ReconnectAfterMs < 0 || d.ReconnectAfterMs > 10_000 {
				t.Errorf("ended with %d after %s", s.end(), s.script())
			}
		}
		if len(delays) < 20 {
			t.Errorf("only %d moments to come back at: a storm", len(delays))
		}
	})
}

// The log of a store in memory ends with its node. A drain ended a stream whose reader was
// a moment behind before it had the end of a turn, and nobody could tell it later.
func TestDrainLetsAStreamHaveTheEndOfItsLog(t *testing.T) {
	for name, enc := range encodings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				id := w.create()
				s := w.open(id, "", enc)
				synctest.Wait()
				release := s.stall()
				w.append(id, "a") // a write that waits
				synctest.Wait()
				w.append(id, "b")
				w.hub.BeginDrain()
				ended := make(chan error, 1)
				w.wg.Go(func() { ended <- w.hub.DrainStreams(w.ctx, 10*time.Millisecond) })
				at(500 * time.Millisecond)
				release()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				w.wantScript(s, "connected 1 caught_up=1 2 draining 3")
				if s.end() != protocol.CloseGoingAway {
					t.Errorf("the stream ended with %d", s.end())
				}
			})
		})
	}
}

// A log that never rests does not hold the drain up, nor does a reader that takes its time.
func TestDrainEndsStreamsOfABusyLog(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		fast, slow := w.open(id, "", protocol.WebSocket), w.open(id, "", protocol.SSE)
		synctest.Wait()
		slow.mu.Lock()
		slow.drip = 60 * time.Millisecond // 300 ms for a write
		slow.mu.Unlock()
		more := time.AfterFunc(0, func() {
			for w.ctx.Err() == nil && (fast.end() == 0 || slow.end() == 0) {
				w.append(id, strings.Repeat("x", 10_000))
				time.Sleep(10 * time.Millisecond) // far more than the slow one takes
			}
		})
		defer more.Stop()
		at(10 * time.Millisecond)
		w.hub.BeginDrain()
		began := time.Now()
		if err := w.hub.DrainStreams(w.ctx, 10*time.Millisecond); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("drained in %s: %v", time.Since(began), err)
		}
		if fast.end() != protocol.CloseGoingAway || slow.end() != protocol.CloseGoingAway {
			t.Errorf("the streams ended with %d and %d", fast.end(), slow.end())
		}
	})
}

func TestDrainCutsWhoDoesNotGo(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := w.open(id, "", protocol.WebSocket)
		synctest.Wait()
		defer s.stall()()
		w.append(id, "x") // a write that waits
		w.hub.BeginDrain()
		ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
		defer cancel()
		if err := w.hub.DrainStreams(ctx, time.Second); err == nil || s.end() != -1 {
			t.Errorf("%v, end %d", err, s.end())
		}
	})
}

// While nothing comes, a tail holds no bytes; who lags then reads the store.
func TestReaderBehindAClearedTail(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := w.open(id, "", protocol.WebSocket)
		synctest.Wait()
		release := s.stall()
		w.append(id, "a")
		synctest.Wait()
		w.append(id, "b", "c")
		at(7 * time.Second)
		w.append(id, "d")
		release()
		w.wantScript(s, "connected 1 caught_up=1 2 3 4 5")
	})
}

// What the log lost while a reader lagged is named to the event.
func TestReaderBehindATrimmedLogIsToldTheGap(t *testing.T) {
	for name, enc := range encodings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, store.Retention{MaxEvents: 3, MaxBytes: 1 << 30}, func(w *world) {
				id := w.create()
				s := w.open(id, "", enc)
				synctest.Wait()
				release := s.stall()
				w.append(id, "a")
				synctest.Wait()
				w.append(id, "b", "c", "d", "e", "f", "g", "h", "i") // up to 10
				at(7 * time.Second)                                  // the tail is empty
				release()
				w.wantScript(s, "connected 1 caught_up=1 2 gap=3-7(trimmed) 8 9 10")
			})
		})
	}
}

// The hub ends with all that it has started: Run cuts the streams that are left, and
// waits for their writes. Nobody waited for those.
func TestRunWaitsForWhatIsBeingWritten(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		// Nobody else cuts these, as a handler does whose connection has ended.
		open := func(enc protocol.Encoding) *sink {
			stream, err := w.hub.Open(w.ctx, id, protocol.Cursor{}, enc)
			if err != nil {
				t.Fatal(err)
			}
			s := newSink(enc)
			if s.sub, err = stream.Start(w.ctx, s, session.Grant{}); err != nil {
				t.Fatal(err)
			}
			return s
		}
		idle, busy := open(protocol.SSE), open(protocol.WebSocket)
		defer idle.sub.Stop(1000, "the client left", metrics.CloseClient)
		defer busy.sub.Stop(1000, "the client left", metrics.CloseClient)
		synctest.Wait()
		defer busy.stall()()
		w.append(id, "a")
		synctest.Wait()
		if busy.since.Load() == 0 {
			t.Fatal("nothing is being written")
		}
		w.stop()
		if busy.since.Load() != 0 {
			t.Error("Run has returned, and a write waits")
		}
		for _, s := range []*sink{idle, busy} {
			if s.end() != -1 {
				t.Errorf("Run has returned, and a stream is open: end %d", s.end())
			}
		}
	})
}
