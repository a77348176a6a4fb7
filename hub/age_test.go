package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

func ageing(c *hub.Config) { c.Timers.SSEMaxAge = 10 * time.Minute }

// Behind a proxy that does not tell of a lost client, an event stream once kept its
// place for ever. Now it ends of age, each at its own moment, and gives its place back;
// its client goes on at its cursor and lacks nothing.
func TestEventStreamEndsOfAge(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		began := time.Now()
		var zombies []*sink
		for range 20 {
			zombies = append(zombies, w.open(id, "", protocol.SSE))
		}
		socket := w.open(id, "", protocol.WebSocket)
		ends := map[time.Duration]int{}
		open := len(zombies)
		for time.Since(began) < 11*time.Minute {
			at(time.Second)
			w.append(id, "a")
			synctest.Wait()
			left := 0
			for _, s := range zombies {
				if s.end() == 0 {
					left++
				}
			}
			if left < open {
				ends[time.Since(began)], open = open-left, left
			}
		}
		if open != 0 {
			t.Fatalf("%d of 20 are open after %s", open, time.Since(began))
		}
		for moment, n := range ends {
			if moment < 8*time.Minute || moment > 10*time.Minute+2*time.Second {
				t.Errorf("%d ended after %s: want 8 to 10 minutes", n, moment)
			}
			if n > 10 {
				t.Errorf("%d of 20 ended in one second", n)
			}
		}
		if code, cause := zombies[0].sub.Ended(); code != protocol.CloseGoingAway || cause != metrics.CloseMaxAge {
			t.Errorf("ended with %d %s", code, cause)
		}
		if socket.end() != 0 {
			t.Error("the WebSocket, which has pings, ended too")
		}
		// The place is free, and the next stream has exactly what the last one lacks.
		last := retired(t, zombies[0])
		again := w.open(id, last.id, protocol.SSE)
		synctest.Wait()
		for _, f := range again.got() {
			if f.seq == 0 {
				continue
			}
			if last.seq++; f.seq != last.seq {
				t.Fatalf("after %d came %d", last.seq-1, f.seq)
			}
		}
		if last.seq != w.load(id).Last {
			t.Errorf("it has events to %d of %d", last.seq, w.load(id).Last)
		}
	}, ageing)
}

// A reader on a slow line gets what is being written to it, and then the end.
func TestAgeDoesNotCutASlowReader(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := w.open(id, "", protocol.SSE)
		at(7*time.Minute + 50*time.Second)
		s.mu.Lock()
		s.drip = 4 * time.Second // 20 s for a write
		s.mu.Unlock()
		for began := time.Now(); s.end() == 0 && time.Since(began) < 3*time.Minute; at(time.Second) {
			w.append(id, "x")
		}
		if s.end() != protocol.CloseGoingAway {
			t.Fatalf("it ended with %d", s.end())
		}
		retired(t, s)
	}, ageing)
}

// retired gives the last event of a stream that was told to come back at once.
func retired(t *testing.T, s *sink) frame {
	t.Helper()
	got := s.got()
	if end := got[len(got)-1].raw; !strings.Contains(end, `"draining"`) || !strings.Contains(end, `"data":{"reconnectAfterMs":100,"reason":"max_age"}`) {
		t.Fatalf("the stream ends with %s", end)
	}
	if last := got[len(got)-2]; last.id != "" {
		return last
	}
	t.Fatalf("no event stands before the end, but %s", got[len(got)-2].raw)
	return frame{}
}
