package app

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// The log has the address of the client, not that of the proxy, if the proxy is
// trusted; and nobody can choose what it says.
func TestClientsAddressBehindProxies(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(frontDoors)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, test := range []struct{ what, trusted, want string }{
				{"trusted", "10.0.0.0/8,127.0.0.1", "127.0.0.2"},
				{"not trusted", "10.0.0.0/8", "127.0.0.1:"},
			} {
				t.Run(test.what, func(t *testing.T) {
					h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": proxyKey, "SESSIONHUB_LOG_LEVEL": "info"},
						"--trusted-proxies", test.trusted)
					door := openDoor(t, name, freeAddress(t), strings.TrimPrefix(h.url, "http://"))
					c := fromElsewhere(t, door.client(proxyKey))
					for _, line := range useFrom(t, h, c) {
						if line.Remote != test.want && (!strings.HasSuffix(test.want, ":") || !strings.HasPrefix(line.Remote, test.want)) {
							t.Errorf("%q came from %q, want %s", line.Msg, line.Remote, test.want)
						}
					}
				})
			}
		})
	}
	t.Run("without a proxy", func(t *testing.T) {
		h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": proxyKey, "SESSIONHUB_LOG_LEVEL": "info"}, "--trusted-proxies", "127.0.0.1")
		c := fromElsewhere(t, &client.Client{BaseURL: h.url, APIKey: proxyKey, HTTPClient: &http.Client{Transport: &http.Transport{}}})
		for _, line := range useFrom(t, h, c) {
			if !strings.HasPrefix(line.Remote, "127.0.0.2:") {
				t.Errorf("%q came from %q", line.Msg, line.Remote)
			}
		}
	})
}

// fromElsewhere makes a client that connects from 127.0.0.2, and says itself that
// it comes from yet another place.
func fromElsewhere(t *testing.T, c *client.Client) *client.Client {
	transport := c.HTTPClient.Transport.(*http.Transport)
	transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	t.Cleanup(transport.CloseIdleConnections)
	c.HTTPClient.Transport = liar{transport}
	return c
}

// liar adds what a client may write, and a proxy must not take for its own.
type liar struct{ http.RoundTripper }

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", "10.6.6.6, 203.0.113.66")
	r.Header.Set("Forwarded", "for=203.0.113.66")
	r.Header.Set("X-Real-IP", "203.0.113.66")
	return l.RoundTripper.RoundTrip(r)
}

type logLine struct{ Msg, Remote, Session string }

// useFrom makes what leaves a line that says from where, and returns those lines.
func useFrom(t *testing.T, h *hubUnderTest, c *client.Client) []logLine {
	t.Helper()
	made, err := c.Create(t.Context(), protocol.CreateRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Session(made.SessionID, made.Token)
	for _, transport := range clientTransports {
		stream := s.Stream(client.StreamOptions{Transport: transport})
		follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlCaughtUp })
		stream.Close()
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"session created": 1, "session deleted": 1, "stream opened": 2, "stream closed": 2}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var lines []logLine
		seen := map[string]int{}
		for text := range strings.Lines(h.log.String()) {
			var line logLine
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			if line.Session == made.SessionID && want[line.Msg] > 0 {
				seen[line.Msg]++
				lines = append(lines, line)
			}
		}
		if maps.Equal(seen, want) {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %v the log has %v", want, seen)
		}
	}
}
