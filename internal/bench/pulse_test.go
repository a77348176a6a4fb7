package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/client"
)

func TestLateHeartbeatsAreCounted(t *testing.T) {
	began := time.Now()
	stream := func(seconds ...int) *subscriber {
		s := &subscriber{session: &session{}, ended: os.ErrDeadlineExceeded}
		for _, n := range seconds {
			s.pulse.hear(began.Add(time.Duration(n) * time.Second))
		}
		return s
	}
	dropped := stream(0, 50)
	dropped.ended = errors.New("EOF")
	w := &swarm{ended: began.Add(60 * time.Second), subs: []*subscriber{
		stream(0, 15, 30, 45, 59), stream(0, 21, 41, 59), stream(0, 15, 30), stream(), dropped,
	}}
	// One in its course, one at its end.
	if got, want := w.heartbeats(), (Heartbeats{Late: 2, LongestSeconds: 30}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What is refused for a while is asked for again, and nothing else.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fmt.Errorf("create: %w", &client.Error{Status: http.StatusServiceUnavailable})
		stream := fmt.Errorf("open: %w", &refusedError{[]byte("HTTP/1.1 503 Service Unavailable\r\n")})
		for _, c := range []struct {
			answers []error // the last one for ever
			refused uint64
		}{
			{[]error{nil}, 0},
			{[]error{away, stream, nil}, 2},
			{[]error{&client.Error{Status: http.StatusForbidden}}, 0},
			{[]error{&refusedError{[]byte("HTTP/1.1 429 Too Many Requests\r\n")}}, 0},
			{[]error{away}, uint64(maxPatience/askAgain) + 2},
		} {
			var p patience
			asked := 0
			err := p.ask(t.Context(), func() error {
				asked++
				return c.answers[min(asked, len(c.answers))-1]
			})
			if last := c.answers[len(c.answers)-1]; !errors.Is(err, last) || p.refused.Load() != c.refused {
				t.Errorf("%v: got %v after %d refusals, want %d", c.answers, err, p.refused.Load(), c.refused)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var p patience
		if err := p.ask(ctx, func() error { return away }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Half of the active sessions have an odd number: with mixed transports these are
// those of the other one.
func TestActiveSessionsAreSpread(t *testing.T) {
	for _, c := range []struct {
		sessions int
		share    float64
		want     int
	}{{100_000, .01, 1000}, {16_667, .01, 167}, {10, .5, 5}, {10, 1, 10}, {10, .9, 9}, {10, 0, 0}, {3, .01, 0}} {
		r := &run{o: Options{Mode: ModeCluster, Active: c.share}, sessions: make([]*session, c.sessions)}
		n, odd := 0, 0
		for i := range c.sessions {
			if r.active(i) {
				n++
				odd += i % 2
			}
		}
		if n != c.want || odd < n/2-1 || odd > n/2+1 {
			t.Errorf("%d sessions, %g: %d are active and %d of them odd; want %d", c.sessions, c.share, n, odd, c.want)
		}
	}
}
