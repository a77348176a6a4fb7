package app

import (
	"context"
	"net/http"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// Somebody empties Valkey, while it runs or so that it comes back with nothing. The
// sessions are gone: their streams, which heard of nothing, end and say so, their
// agents end, and the next session works. The streams once stayed for ever.
func TestEmptiedValkeyEndsItsSessions(t *testing.T) {
	t.Parallel()
	for name, comeBack := range map[string]func(*valkeytest.Server){
		"while it runs":  func(*valkeytest.Server) {},
		"over a restart": func(server *valkeytest.Server) { server.Kill(); server.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := valkeytest.Start(t, valkeytest.Valkey(t))
			nodes := startNodes(t, server, 2)
			a, b := nodes[0], nodes[1]
			s := a.create(protocol.CreateRequest{WorkingDirectory: a.root})
			sse := openSSE(t, b, s)
			ws, err := b.ws(t.Context(), s, "")
			if err != nil {
				t.Fatal(err)
			}
			defer ws.close()
			a.send(s, "hello")
			for _, stream := range []stream{sse, ws} {
				until(t, stream, isType(protocol.EventComplete))
			}
			if len(processesIn(t, a.root)) == 0 {
				t.Error("no agent runs")
			}
			if _, err := server.Do("FLUSHALL"); err != nil {
				t.Fatal(err)
			}
			comeBack(server)

			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stop := context.AfterFunc(ctx, sse.close)
			defer stop()
			ended := func(stream stream) error {
				for {
					if _, err := stream.next(ctx); err != nil {
						return err
					}
				}
			}
			if err := ended(ws); websocket.CloseStatus(err) != protocol.CloseNotFound {
				t.Errorf("the WebSocket ended with %v, want close %d", err, protocol.CloseNotFound)
			}
			if err := ended(sse); ctx.Err() != nil {
				t.Errorf("the SSE stream does not end: %v", err)
			}
			judge.Within(t, 20*time.Second, "its agent is gone", func() bool { return len(processesIn(t, a.root)) == 0 })
			judge.Within(t, 20*time.Second, "404", func() bool {
				resp := a.call("GET", "/api/sessions/"+s.SessionID, nil, nil, "Authorization", "Bearer "+s.Token)
				return resp.StatusCode == http.StatusNotFound
			})
			next := a.create(protocol.CreateRequest{WorkingDirectory: a.root})
			judge.Within(t, 20*time.Second, "the other node has its store, too", func() bool {
				return b.call("GET", "/api/sessions/"+next.SessionID, nil, nil, "Authorization", "Bearer "+next.Token).StatusCode == http.StatusOK
			})
			after := openSSE(t, b, next)
			a.send(next, "hello again")
			if done := completeOf(t, until(t, after, isType(protocol.EventComplete))); done.StopReason != protocol.StopEndTurn {
				t.Errorf("the next session's turn ended with %+v", done)
			}
		})
	}
}
