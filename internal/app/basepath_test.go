package app

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"

	"github.com/coder/websocket"
	"go.yaml.in/yaml/v3"

	"sessionhub/protocol"
)

// Below a path that a proxy takes away (--public-url https://x/hub), the cookie's
// path lacked the prefix: no browser sent it back. A client that only follows what
// it is given must reach everything.
func TestHubBelowAPath(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public := "http://" + l.Addr().String() + "/tools/hub"
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": "the-key"}, "--public-url", public+"/")
	target, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &http.Server{Handler: http.StripPrefix("/tools/hub", &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
	})}
	go func() { _ = proxy.Serve(l) }()
	t.Cleanup(func() { _ = proxy.Close() })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	t.Cleanup(browser.CloseIdleConnections)
	do := func(method, address, body string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	text := func(resp *http.Response) []byte {
		t.Helper()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%d: %v", resp.StatusCode, err)
		}
		return raw
	}

	s := hubtest.Decode[protocol.CreateResponse](t, text(do("POST", public+"/api/sessions", `{}`, "X-API-Key", "the-key")))
	for _, given := range []string{s.EventsURL, s.MessagesURL, s.ApproveURL, strings.Replace(s.WebsocketURL, "ws", "http", 1)} {
		if !strings.HasPrefix(given, public+"/api/sessions/"+s.SessionID+"/") {
			t.Errorf("the client is given %s", given)
		}
	}
	bearer := []string{"Authorization", "Bearer " + s.Token}
	text(do("POST", public+"/api/sessions/"+s.SessionID+"/cookie", ``, bearer...))
	resp := do("GET", s.EventsURL, ``)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("an event stream with the cookie: %d", resp.StatusCode)
	}
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, "retry:") {
		t.Errorf("the event stream begins with %q, %v", line, err)
	}
	conn, _, err := websocket.Dial(t.Context(), s.WebsocketURL, &websocket.DialOptions{HTTPClient: browser})
	if err != nil {
		t.Fatalf("a WebSocket with the cookie: %v", err)
	}
	_ = conn.CloseNow()
	// Elsewhere it stays away.
	for _, address := range []string{public + "/api/sessions", "http://" + l.Addr().String() + "/api/sessions/" + s.SessionID + "/events"} {
		if u, _ := url.Parse(address); len(jar.Cookies(u)) > 0 {
			t.Errorf("the cookie goes to %s", address)
		}
	}

	// The reference's server is relative to the reference, and the dashboard's files
	// are to the page.
	var reference struct{ Servers []struct{ URL string } }
	if err := yaml.Unmarshal(text(do("GET", public+"/api/openapi.yaml", ``)), &reference); err != nil || len(reference.Servers) != 1 {
		t.Fatalf("the reference names the servers %+v, %v", reference.Servers, err)
	}
	at, _ := url.Parse(public + "/api/openapi.yaml")
	if server, err := at.Parse(reference.Servers[0].URL); err != nil || strings.TrimSuffix(server.String(), "/") != public {
		t.Errorf("the reference's server is %v, %v; want %s", server, err, public)
	}
	page := text(do("GET", public+"/", ``))
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(page, -1) {
		if strings.HasPrefix(string(m[1]), "/") {
			t.Errorf("the page loads %s", m[1])
		}
	}
}
