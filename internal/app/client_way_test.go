package app

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/client"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Ways in which what lies between keeps a WebSocket from the hub.
var brokenWays = map[string]func(w http.ResponseWriter, r *http.Request, hub http.Handler){
	"drops the Upgrade": func(w http.ResponseWriter, r *http.Request, hub http.Handler) {
		r.Header.Del("Upgrade")
		r.Header.Del("Connection")
		hub.ServeHTTP(w, r)
	},
	"forbids it": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "<html>not here</html>", http.StatusForbidden)
	},
	"never answers": func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() },
	"cuts it": func(http.ResponseWriter, *http.Request, http.Handler) {
		panic(http.ErrAbortHandler)
	},
	"passes nothing on": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			return
		}
		_, _, _ = conn.Read(r.Context())
		_ = conn.CloseNow()
	},
}

// Whatever keeps WebSockets out, the client is there within 5 s, by SSE, and does
// not try again for the next stream.
func TestClientFindsTheWayThatIsOpen(t *testing.T) {
	t.Parallel()
	for name, way := range brokenWays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t)
			target, err := url.Parse(h.url)
			if err != nil {
				t.Fatal(err)
			}
			hub := &httputil.ReverseProxy{
				Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
				FlushInterval: -1,
			}
			var tried atomic.Int64 // requests for a WebSocket
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					tried.Add(1)
					way(w, r, hub)
					return
				}
				hub.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			t.Cleanup(server.CloseClientConnections)
			c := &client.Client{BaseURL: server.URL, HTTPClient: server.Client()}
			made, err := c.Create(t.Context(), protocol.CreateRequest{}, "")
			if err != nil {
				t.Fatal(err)
			}
			s := c.Session(made.SessionID, made.Token)
			for i := range 2 {
				began, before := time.Now(), tried.Load()
				stream := s.Stream(client.StreamOptions{})
				follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlCaughtUp })
				judge.AtMost(t, "the way to SSE", time.Since(began), 5*time.Second)
				if stream.Transport() != client.SSE {
					t.Errorf("stream %d: %s", i, stream.Transport())
				}
				if again := tried.Load() > before; again != (i == 0) {
					t.Errorf("stream %d tried a WebSocket: %v", i, again)
				}
				if i == 1 {
					if _, err := stream.Message(t.Context(), "hello", ""); err != nil {
						t.Error(err)
					}
					follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventComplete })
				}
				stream.Close()
			}
		})
	}
}
