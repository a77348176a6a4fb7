package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

func TestAutoFallsToSSEAndComesBack(t *testing.T) {
	blocked := part{status: 400} // a proxy that knows no Upgrade
	swallowed := part{then: hang}
	short := part{frames: []string{connected("e1", 1)}, then: linger(time.Second)}
	long := part{frames: []string{connected("e1", 1)}, then: linger(35 * time.Second)}
	end := part{frames: []string{connected("e1", 1), lastEvent(1)}}
	hubDown := part{status: 503}
	hubsOwn := part{status: 503, code: protocol.CodeUnavailable}
	cutSSE := part{frames: []string{connected("e1", 1)}}
	for name, tc := range map[string]struct {
		parts []part
		vias  string
		most  time.Duration // of the whole
	}{
		"it begins with a WebSocket":              {parts: []part{end}, vias: "ws", most: 0},
		"blocked: SSE at once":                    {parts: []part{blocked, end}, vias: "ws events", most: 0},
		"a proxy drops the Upgrade":               {parts: []part{{status: 426, code: protocol.CodeUpgradeRequired}, end}, vias: "ws events", most: 0},
		"swallowed: SSE within 5 s":               {parts: []part{swallowed, end}, vias: "ws events", most: 5 * time.Second},
		"breaks at once, three times":             {parts: []part{short, short, short, end}, vias: "ws ws ws events", most: 6 * time.Second},
		"a long one between":                      {parts: []part{short, short, long, short, end}, vias: "ws ws ws ws ws", most: time.Minute},
		"neither gets through: both are tried":    {parts: []part{blocked, {}, end}, vias: "ws events ws", most: 3 * time.Second},
		"the hub is away, whatever the transport": {parts: []part{hubDown, hubsOwn, end}, vias: "ws ws ws", most: 3 * time.Second},
		"what SSE proved is kept":                 {parts: []part{blocked, cutSSE, cutSSE, end}, vias: "ws events events events", most: 3 * time.Second},
		"a hub that closes is no broken way":      {parts: []part{closing(), closing(), closing(), closing(), end}, vias: "ws ws ws ws ws", most: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Auto, tc.parts, func(t *testing.T, hub *scripted, s *Session) {
				began := time.Now()
				st := s.Stream(StreamOptions{})
				_, err := collect(t, st)
				if !errors.Is(err, io.EOF) {
					t.Errorf("it ended with %v", err)
				}
				if got := strings.Join(hub.vias, " "); got != tc.vias || time.Since(began) > tc.most {
					t.Errorf("it went by %s in %s, want %s in %s", got, time.Since(began), tc.vias, tc.most)
				}
				if last := hub.vias[len(hub.vias)-1]; (st.Transport() == SSE) != (last == "events") {
					t.Errorf("it says %s, and used %s", st.Transport(), last)
				}
			})
		})
	}
}

func closing() part {
	return part{frames: []string{connected("e1", 1)}, then: closeWith(protocol.CloseSlow)}
}

// What one stream learned about the way holds for the others, and not for ever.
func TestAutoRemembersForTheHost(t *testing.T) {
	end := part{frames: []string{connected("e1", 1), lastEvent(1)}}
	run(t, Auto, []part{{status: 400}, end, end, end}, func(t *testing.T, hub *scripted, s *Session) {
		for range 2 {
			_, err := collect(t, s.Stream(StreamOptions{}))
			check(t, err, "")
		}
		time.Sleep(socketAgain)
		_, err := collect(t, s.Stream(StreamOptions{}))
		check(t, err, "")
		if want := []string{"ws", "events", "events", "ws"}; !slices.Equal(hub.vias, want) {
			t.Errorf("it went by %v, want %v", hub.vias, want)
		}
	})
}

// A transport that was asked for is kept.
func TestAFixedTransportStays(t *testing.T) {
	for kind, transport := range transports {
		t.Run(kind, func(t *testing.T) {
			cut := part{frames: []string{connected("e1", 1)}}
			run(t, transport, []part{cut, cut, cut, cut, {frames: []string{connected("e1", 1), lastEvent(1)}}}, func(t *testing.T, hub *scripted, s *Session) {
				_, err := collect(t, s.Stream(StreamOptions{Transport: transport}))
				check(t, err, "")
				if len(slices.Compact(hub.vias)) != 1 {
					t.Errorf("it went by %v", hub.vias)
				}
			})
		})
	}
}

// A token is replaced on an open WebSocket without a break.
func TestANewTokenIsToldToTheWebSocket(t *testing.T) {
	told := make(chan string, 1)
	parts := []part{{
		frames: []string{connected("e1", 1), control("expiring", `{"expiresAt":"2026-01-01T00:00:00Z"}`)},
		then: func(ctx context.Context, c *wsServer) {
			_, raw, err := c.Read(ctx)
			if err != nil {
				return
			}
			told <- string(raw)
			_ = c.Write(ctx, textMessage, []byte(`{"type":"ack","id":"auth","data":{}}`))
			_ = c.Write(ctx, textMessage, []byte(lastEvent(1)))
			_, _, _ = c.Read(ctx)
		},
	}}
	run(t, WebSocket, parts, func(t *testing.T, hub *scripted, s *Session) {
		_, err := collect(t, s.Stream(StreamOptions{Renew: func(context.Context) (string, error) { return "fresh", nil }}))
		check(t, err, "")
		if got := <-told; len(hub.vias) != 1 || got != `{"type":"auth","id":"auth","data":{"token":"fresh"}}` {
			t.Errorf("%d connections; it said %s", len(hub.vias), got)
		}
	})
}
