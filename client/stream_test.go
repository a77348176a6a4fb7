package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// collect reads until the stream ends. Events are written as their seq, or
// from..seq, control frames as their type.
func collect(t *testing.T, s *Stream) (string, error) {
	t.Helper()
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // synctest's
	defer cancel()
	var all []string
	for {
		f, err := s.Next(ctx)
		if err != nil {
			return strings.Join(all, " "), err
		}
		switch {
		case f.Control() != "":
			all = append(all, string(f.Control()))
		case f.From != 0:
			all = append(all, fmt.Sprintf("%d..%d", f.From, f.Seq))
		default:
			all = append(all, fmt.Sprint(f.Seq))
		}
	}
}

var transports = map[string]Transport{"websocket": WebSocket, "sse": SSE}

func TestStreamGivesEachEventOnceInOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		after  string
		parts  []part
		want   string
		afters []string
	}{
		"resumes behind the last event": {
			parts: []part{
				{frames: []string{connected("e1", 2), event(1), event(2)}},
				{frames: []string{connected("e1", 4), event(3), control("caught_up", `{"seq":3}`), lastEvent(4)}},
			},
			want: "connected 1 2 connected 3 caught_up 4", afters: []string{"0", "e1-2"},
		},
		"drops what comes again": {
			parts: []part{
				{frames: []string{connected("e1", 2), event(1), event(2)}},
				{frames: []string{connected("e1", 3), event(1), event(2), lastEvent(3)}},
			},
			want: "connected 1 2 connected 3", afters: []string{"0", "e1-2"},
		},
		"passes on what it does not know": {
			parts: []part{{frames: []string{
				connected("e1", 3), event(1), `{"seq":2,"type":"from_the_future","time":"2026-01-01T00:00:00.000Z","data":{"odd":[1]},"new":7}`, lastEvent(3),
			}}},
			want: "connected 1 2 3", afters: []string{"0"},
		},
		"resumes before a hole": {
			parts: []part{
				{frames: []string{connected("e1", 3), event(1), event(3)}},
				{frames: []string{connected("e1", 3), event(2), lastEvent(3)}},
			},
			want: "connected 1 connected 2 3", afters: []string{"0", "e1-1"},
		},
		"resumes when the replay ends too early": {
			parts: []part{
				{frames: []string{connected("e1", 3), event(1), control("caught_up", `{"seq":3}`)}},
				{frames: []string{connected("e1", 3), event(2), lastEvent(3)}},
			},
			want: "connected 1 connected 2 3", afters: []string{"0", "e1-1"},
		},
		"takes a compacted run that reaches behind the cursor": {
			after: "e1-5",
			parts: []part{{frames: []string{connected("e1", 9), compacted(2, 8), lastEvent(9)}}},
			want:  "connected 2..8 9", afters: []string{"e1-5"},
		},
		"takes a compacted run behind another connected of its epoch": {
			parts: []part{{frames: []string{
				connected("e1", 4), event(1), event(2), event(3), event(4), connected("e1", 9), compacted(2, 8), lastEvent(9),
			}}},
			want: "connected 1 2 3 4 connected 2..8 9", afters: []string{"0"},
		},
		"does not take a compacted run that leaves something out": {
			after: "e1-5",
			parts: []part{
				{frames: []string{connected("e1", 9), compacted(7, 8)}},
				{frames: []string{connected("e1", 9), compacted(6, 8), lastEvent(9)}},
			},
			want: "connected connected 6..8 9", afters: []string{"e1-5", "e1-5"},
		},
		"moves over what was trimmed": {
			parts: []part{
				{frames: []string{connected("e1", 9), control("gap", `{"epoch":"e1","fromSeq":1,"toSeq":7,"reason":"trimmed"}`)}},
				{frames: []string{connected("e1", 9), event(8), lastEvent(9)}},
			},
			want: "connected gap connected 8 9", afters: []string{"0", "e1-7"},
		},
		"counts on in the epoch that a live stream names": {
			parts: []part{
				{frames: []string{connected("e1", 1), event(1), connected("e2", 2), event(2)}},
				{frames: []string{connected("e2", 3), lastEvent(3)}},
			},
			want: "connected 1 connected 2 connected 3", afters: []string{"0", "e2-2"},
		},
		"goes back when the log lost its end": {
			after: "e1-9",
			parts: []part{
				// The first connection breaks before the gap: the cursor must not
				// claim to know the new epoch.
				{frames: []string{connected("e2", 6)}},
				{frames: []string{connected("e2", 6), control("gap", `{"epoch":"e2","fromSeq":5,"toSeq":9,"reason":"epoch_changed"}`)}},
				{frames: []string{connected("e2", 6), event(5), lastEvent(6)}},
			},
			want: "connected connected gap connected 5 6", afters: []string{"e1-9", "e1-9", "e2-4"},
		},
		"from now on": {
			after: "latest",
			parts: []part{
				{frames: []string{connected("e1", 7)}},
				{frames: []string{connected("e1", 7), control("caught_up", `{"seq":7}`)}},
				{frames: []string{connected("e1", 8), lastEvent(8)}},
			},
			want: "connected connected caught_up connected 8", afters: []string{"latest", "latest", "e1-7"},
		},
		"passes over frames of a later version, and resumes over rubbish": {
			parts: []part{
				{frames: []string{connected("e1", 2), control("news", `{}`), event(1), `{"seq":`}},
				{frames: []string{connected("e1", 2), lastEvent(2)}},
			},
			want: "connected 1 connected 2", afters: []string{"0", "e1-1"},
		},
	} {
		for kind, transport := range transports {
			t.Run(name+"/"+kind, func(t *testing.T) {
				run(t, transport, tc.parts, func(t *testing.T, hub *scripted, s *Session) {
					got, err := collect(t, s.Stream(StreamOptions{After: tc.after, Transport: transport}))
					if got != tc.want || !errors.Is(err, io.EOF) {
						t.Errorf("got %q, %v; want %q, EOF", got, err, tc.want)
					}
					if !slices.Equal(hub.afters, tc.afters) {
						t.Errorf("the connections began after %q, want %q", hub.afters, tc.afters)
					}
				})
			})
		}
	}
}

func TestStreamObeysCloseCodes(t *testing.T) {
	more := part{frames: []string{connected("e1", 2), lastEvent(2)}}
	for name, tc := range map[string]struct {
		first       part
		end         protocol.Code // of the *Error; empty: EOF
		least, most time.Duration // of the wait before the next connection
		stops       bool
	}{
		"4404 stops":               {first: part{then: closeWith(protocol.CloseNotFound)}, end: protocol.CodeNotFound, stops: true},
		"4410 is the end":          {first: part{then: closeWith(protocol.CloseEnded)}, stops: true},
		"4401 stops without Renew": {first: part{then: closeWith(protocol.CloseToken)}, end: protocol.CodeTokenExpired, stops: true},
		"4408 resumes":             {first: part{then: closeWith(protocol.CloseSlow)}, most: 500 * time.Millisecond},
		"4503 resumes":             {first: part{then: closeWith(protocol.CloseUnavailable)}, most: 500 * time.Millisecond},
		"4429 waits":               {first: part{then: closeWith(protocol.CloseRate)}, least: 5 * time.Second, most: 5 * time.Second},
		"1001 comes back when it was told to": {
			first: part{frames: []string{control("draining", `{"reconnectAfterMs":7000}`)}, then: closeWith(protocol.CloseGoingAway)},
			least: 7 * time.Second, most: 7 * time.Second,
		},
		"a cut resumes": {first: part{}, most: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			tc.first.frames = append([]string{connected("e1", 2), event(1)}, tc.first.frames...)
			run(t, WebSocket, []part{tc.first, more}, func(t *testing.T, hub *scripted, s *Session) {
				var wait time.Duration
				_, err := collect(t, s.Stream(StreamOptions{OnRetry: func(_ error, d time.Duration) { wait = d }}))
				check(t, err, tc.end)
				if len(hub.afters) == 1 != tc.stops || wait < tc.least || wait > tc.most {
					t.Errorf("%d connections, the wait was %s; want %s to %s", len(hub.afters), wait, tc.least, tc.most)
				}
			})
		})
	}
}

func check(t *testing.T, err error, code protocol.Code) {
	t.Helper()
	var refused *Error
	switch {
	case code == "" && !errors.Is(err, io.EOF):
		t.Errorf("got %v, want EOF", err)
	case code != "" && (!errors.As(err, &refused) || refused.Code != code):
		t.Errorf("got %v, want the code %s", err, code)
	}
}

func TestStreamObeysRefusals(t *testing.T) {
	more := part{frames: []string{connected("e1", 1), lastEvent(1)}}
	for name, tc := range map[string]struct {
		first part
		end   protocol.Code
		least time.Duration
		stops bool
	}{
		"404 stops": {first: part{status: 404, code: protocol.CodeNotFound}, end: protocol.CodeNotFound, stops: true},
		"400 stops": {first: part{status: 400, code: protocol.CodeInvalidRequest}, end: protocol.CodeInvalidRequest, stops: true},
		"403 stops": {first: part{status: 403, code: protocol.CodeScope}, end: protocol.CodeScope, stops: true},
		"401 stops without Renew": {
			first: part{status: 401, code: protocol.CodeTokenRevoked}, end: protocol.CodeTokenRevoked, stops: true,
		},
		"429 waits as told": {
			first: part{status: 429, code: protocol.CodeConnectionLimit, header: map[string]string{"Retry-After": "9"}}, least: 9 * time.Second,
		},
		"503 is tried again": {first: part{status: 503, code: protocol.CodeUnavailable, header: map[string]string{"Retry-After": "2"}}, least: 2 * time.Second},
		"a proxy's 502 too":  {first: part{status: 502}},
	} {
		for kind, transport := range transports {
			t.Run(name+"/"+kind, func(t *testing.T) {
				run(t, transport, []part{tc.first, more}, func(t *testing.T, hub *scripted, s *Session) {
					began := time.Now()
					_, err := collect(t, s.Stream(StreamOptions{Transport: transport}))
					check(t, err, tc.end)
					if len(hub.afters) == 1 != tc.stops || time.Since(began) < tc.least {
						t.Errorf("%d connections in %s", len(hub.afters), time.Since(began))
					}
				})
			})
		}
	}
}

func TestStreamOfAnEndedSessionOverSSE(t *testing.T) {
	run(t, SSE, []part{{status: http.StatusNoContent}}, func(t *testing.T, _ *scripted, s *Session) {
		got, err := collect(t, s.Stream(StreamOptions{Transport: SSE, After: "e1-9"}))
		if got != "" || !errors.Is(err, io.EOF) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// An event stream that the hub ends of its age is resumed at once, and OnRetry, by
// which people are told of lost connections, does not hear of it.
func TestStreamResumesAtOnceWhenItsEventStreamEndsOfAge(t *testing.T) {
	retire := control(protocol.ControlDraining, `{"reconnectAfterMs":100,"reason":"max_age"}`)
	var parts []part
	for seq := 1; seq <= 3; seq++ {
		caughtUp := control(protocol.ControlCaughtUp, fmt.Sprintf(`{"seq":%d}`, seq))
		parts = append(parts, part{frames: []string{connected("e1", seq), event(seq), caughtUp, retire}})
	}
	run(t, SSE, parts, func(t *testing.T, hub *scripted, s *Session) {
		retries := 0
		st := s.Stream(StreamOptions{
			Transport: SSE, MaxAttempts: 1, Backoff: Backoff{Base: time.Hour, Max: time.Hour},
			OnRetry: func(error, time.Duration) { retries++ },
		})
		defer st.Close()
		began := time.Now()
		for want := uint64(1); want <= 3; {
			f, err := st.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f.Seq == 0 {
				continue
			}
			if f.Seq != want {
				t.Fatalf("got %d, want %d", f.Seq, want)
			}
			want++
		}
		if took := time.Since(began); took != 200*time.Millisecond || retries != 0 {
			t.Errorf("after %v and %d retries", took, retries)
		}
	})
}

func TestStreamRenewsItsToken(t *testing.T) {
	for name, first := range map[string]part{
		"refused": {status: 401, code: protocol.CodeTokenExpired},
		"closed":  {frames: []string{connected("e1", 0)}, then: closeWith(protocol.CloseToken)},
		"ahead":   {frames: []string{connected("e1", 0), control("expiring", `{"expiresAt":"2026-01-01T00:00:00Z"}`)}, then: hang},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, WebSocket, []part{first, {frames: []string{connected("e1", 1), lastEvent(1)}}}, func(t *testing.T, hub *scripted, s *Session) {
				_, err := collect(t, s.Stream(StreamOptions{Renew: func(context.Context) (string, error) { return "fresh", nil }}))
				check(t, err, "")
				if want := []string{"Bearer secret", "Bearer fresh"}; !slices.Equal(hub.tokens, want) {
					t.Errorf("the tokens were %q, want %q", hub.tokens, want)
				}
			})
		})
	}
	refused := part{status: 401, code: protocol.CodeTokenExpired}
	t.Run("refused again", func(t *testing.T) {
		run(t, WebSocket, []part{refused, refused, refused}, func(t *testing.T, hub *scripted, s *Session) {
			_, err := collect(t, s.Stream(StreamOptions{Renew: func(context.Context) (string, error) { return "stale", nil }}))
			check(t, err, protocol.CodeTokenExpired)
			if len(hub.afters) != 2 {
				t.Errorf("%d connections, want 2", len(hub.afters))
			}
		})
	})
	t.Run("none to be had", func(t *testing.T) {
		errNone := errors.New("no more")
		run(t, WebSocket, []part{refused}, func(t *testing.T, _ *scripted, s *Session) {
			_, err := collect(t, s.Stream(StreamOptions{Renew: func(context.Context) (string, error) { return "", errNone }}))
			if !errors.Is(err, errNone) {
				t.Errorf("got %v", err)
			}
			check(t, err, protocol.CodeTokenExpired)
		})
	})
}

func TestStreamGivesUpAfterMaxAttempts(t *testing.T) {
	bad := part{frames: []string{connected("e1", 3), event(1), event(3)}}
	run(t, WebSocket, []part{bad, bad, bad, bad}, func(t *testing.T, hub *scripted, s *Session) {
		_, err := collect(t, s.Stream(StreamOptions{MaxAttempts: 3}))
		if !errors.Is(err, ErrHole) || len(hub.afters) != 3 {
			t.Errorf("%d connections, then %v", len(hub.afters), err)
		}
	})
}

// A peer that has vanished sends no FIN: only its silence tells.
func TestStreamLeavesASilentHub(t *testing.T) {
	talk := func(ctx context.Context, c *websocket.Conn) {
		ctx = c.CloseRead(ctx)
		for range 8 { // two minutes of pings, then silence
			time.Sleep(15 * time.Second)
			if c.Ping(ctx) != nil {
				return
			}
		}
		<-ctx.Done()
	}
	parts := []part{{frames: []string{connected("e1", 1)}, then: talk}, {frames: []string{connected("e1", 1), lastEvent(1)}}}
	run(t, WebSocket, parts, func(t *testing.T, _ *scripted, s *Session) {
		began := time.Now()
		var reason error
		_, err := collect(t, s.Stream(StreamOptions{OnRetry: func(err error, _ time.Duration) { reason = err }}))
		check(t, err, "")
		if d := time.Since(began); !errors.Is(reason, errSilent) || d < 160*time.Second || d > 161*time.Second {
			t.Errorf("it left after %s because: %v", d, reason)
		}
	})
}

func TestNextEndsWithItsContextAndResumes(t *testing.T) {
	parts := []part{
		{frames: []string{connected("e1", 1), event(1)}, then: hang},
		{frames: []string{connected("e1", 2), lastEvent(2)}},
	}
	run(t, WebSocket, parts, func(t *testing.T, hub *scripted, s *Session) {
		st := s.Stream(StreamOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for err == nil {
			_, err = st.Next(ctx)
		}
		if !errors.Is(err, context.DeadlineExceeded) || st.Cursor().String() != "e1-1" {
			t.Fatalf("got %v at %s", err, st.Cursor())
		}
		if got, err := collect(t, st); got != "connected 2" || !errors.Is(err, io.EOF) {
			t.Errorf("then %q, %v", got, err)
		}
	})
}

func TestABadStartIsTheErrorOfNext(t *testing.T) {
	if _, err := (&Client{}).Session("s1", "").Stream(StreamOptions{After: "x-y"}).Next(t.Context()); !errors.Is(err, protocol.ErrCursor) {
		t.Errorf("got %v", err)
	}
}

func TestFramesAreBounded(t *testing.T) {
	long := `{"seq":1,"type":"output","data":"` + strings.Repeat("x", 10_000) + `"}`
	for kind, transport := range transports {
		t.Run(kind, func(t *testing.T) {
			run(t, transport, []part{{frames: []string{connected("e1", 1), long}, then: hang}}, func(t *testing.T, _ *scripted, s *Session) {
				got, err := collect(t, s.Stream(StreamOptions{Transport: transport, MaxFrameBytes: 5000, MaxAttempts: 1}))
				if got != "connected" || err == nil || errors.Is(err, io.EOF) {
					t.Errorf("got %q, %v", got, err)
				}
			})
		})
	}
}
