package app

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

func TestSessionsOfAUserAreLimited(t *testing.T) {
	h := startHub(t, "--max-sessions-per-user", "2", "--rate-sessions", "1000/s:1000")
	a := h.create(protocol.CreateRequest{})
	h.create(protocol.CreateRequest{})
	h.want(429, protocol.CodeSessionLimit, "POST", "/api/sessions", `{}`)
	h.want(204, "", "DELETE", "/api/sessions/"+a.SessionID, nil)
	h.create(protocol.CreateRequest{})
	if got := metric(t, h, `sessionhub_limit_rejections_total{limit="sessions_per_user"}`); got != 1 {
		t.Errorf("%v rejections are counted", got)
	}
}

// Refused before the first byte of the stream, with its status.
func TestStreamsOfAUserAreLimited(t *testing.T) {
	h := startHub(t, "--max-connections-per-user", "2")
	a, b := h.create(protocol.CreateRequest{}), h.create(protocol.CreateRequest{})
	first := openSSE(t, h, a)
	ws, err := h.ws(t.Context(), b, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	h.want(429, protocol.CodeConnectionLimit, "GET", "/api/sessions/"+a.SessionID+"/events", nil)
	_, resp, err := websocket.Dial(t.Context(), a.WebsocketURL, nil)
	if err == nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a WebSocket too many: %v %v", err, resp)
	}
	first.close()
	judge.Within(t, 5e9, "the place is free", func() bool {
		sub, err := h.sse(t.Context(), a, "")
		if err == nil {
			sub.close()
		}
		return err == nil
	})
}

func TestMessagesAreRated(t *testing.T) {
	h := startHub(t, "--rate-messages", "1/s:3", "--max-queued-messages", "100")
	s := h.create(protocol.CreateRequest{})
	path := "/api/sessions/" + s.SessionID + "/messages"
	h.send(s, "/slow 5")
	h.send(s, "two")
	var first, again protocol.MessageResponse
	h.call("POST", path, `{"content":"three","messageId":"m3"}`, &first)
	var p protocol.Problem
	resp := h.call("POST", path, `{"content":"four"}`, &p)
	if resp.StatusCode != http.StatusTooManyRequests || p.Code != protocol.CodeRateLimited || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the fourth: %d %+v, Retry-After %q", resp.StatusCode, p, resp.Header.Get("Retry-After"))
	}
	if h.call("POST", path, `{"content":"three","messageId":"m3"}`, &again); !again.Duplicate {
		t.Errorf("a repeat was refused: %+v", again)
	}
}

// Who sends on and on although it is refused is closed with 4429.
func TestCommandFloodIsClosed(t *testing.T) {
	h := startHub(t, "--rate-messages", "0.01/s:1")
	s := h.create(protocol.CreateRequest{})
	ws, err := h.ws(t.Context(), s, "latest")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	for i := range 25 { // the last ones meet a closed connection
		_ = ws.command(t.Context(), protocol.CommandMessage, fmt.Sprint("c", i), protocol.MessageRequest{Content: []byte(`"hello"`)})
	}
	if code := endOf(t, ws); code != protocol.CloseRate {
		t.Errorf("closed with %d", code)
	}
}

// The same key gives the same session, also when it comes many times at once;
// another body is a conflict, and so is a session that was deleted.
func TestCreateIsIdempotent(t *testing.T) {
	h := startHub(t, "--rate-sessions", "1000/s:1000")
	key := []string{"Idempotency-Key", "order 66"}
	var ids sync.Map
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			var out protocol.CreateResponse
			if resp := h.call("POST", "/api/sessions", `{"title":"one"}`, &out, key...); resp.StatusCode != 201 {
				t.Errorf("create: %d", resp.StatusCode)
			}
			if _, known := ids.LoadOrStore(out.SessionID, out.Token); !known {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Fatalf("%d sessions were made", made.Load())
	}
	var list protocol.SessionList
	if h.call("GET", "/api/sessions", nil, &list); len(list.Sessions) != 1 {
		t.Errorf("%d sessions are listed", len(list.Sessions))
	}
	h.want(409, protocol.CodeIdempotency, "POST", "/api/sessions", `{"title":"two"}`, key...)
	h.want(201, "", "POST", "/api/sessions", `{"title":"one"}`, "Idempotency-Key", "another")
	h.want(204, "", "DELETE", "/api/sessions/"+list.Sessions[0].SessionID, nil)
	h.want(409, protocol.CodeIdempotency, "POST", "/api/sessions", `{"title":"one"}`, key...)
	h.want(400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{}`, "Idempotency-Key", fmt.Sprintf("%0300d", 1))
}
