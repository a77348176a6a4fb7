package contracttest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// Clients that speak while the node stops get answers or an end, and cost it
// nothing: a connection that is closed while a request on it is served takes the
// process along. Connections of all kinds are at every point of their life then: new
// ones, with requests behind each other, with bodies, about to become streams.
func TestStopUnderRequests(t *testing.T) {
	t.Parallel()
	for range 3 {
		n := serve(t, "--worker", "none")
		s := n.create(`{}`)
		host := "Host: " + n.Host() + "\r\nAuthorization: Bearer " + s.Token + "\r\n"
		get := "GET " + s.path + " HTTP/1.1\r\n" + host + "\r\n"
		post := func(framing, body string) string {
			return "POST " + s.path + "/cancel HTTP/1.1\r\n" + host + "Content-Type: application/json\r\n" + framing + "\r\n\r\n" + body
		}
		upgrade := "GET " + s.path + "/ws HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		kinds := []string{
			strings.Repeat(get, 20),
			strings.Repeat(post("Content-Length: 2", "{}"), 20),
			post("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
			post("Content-Length: 2000000", strings.Repeat(" ", 100_000)), // refused: the rest is read away
			get + "GET " + s.path + "/events HTTP/1.1\r\n" + host + "\r\n",
			get + get + upgrade,
			"GET /healthz HTTP/1.1\r\nHost: " + n.Host() + "\r\nX: half a header",
			"",
		}
		stop := make(chan struct{})
		var clients sync.WaitGroup
		var answered atomic.Int64
		for i := range 4 * len(kinds) {
			clients.Go(func() { hammer(n.Host(), kinds[i%len(kinds)], &answered, stop) })
		}
		judge.Within(t, 20*time.Second, "100 connections were answered", func() bool { return answered.Load() >= 100 })
		n.Terminate()
		select {
		case <-n.Ended:
		case <-time.After(judge.Patience):
			t.Error("the node does not end")
		}
		close(stop)
		clients.Wait()
		if code := n.Cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(n.Log.String(), "panic") {
			t.Fatalf("the node ended with %d", code)
		}
	}
}

// hammer sends the same over one connection after the other, until stop.
func hammer(host, text string, answered *atomic.Int64, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		c, err := net.DialTimeout("tcp", host, time.Second)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // the node has stopped listening
			continue
		}
		_ = c.SetDeadline(time.Now().Add(time.Duration(5+i%40) * time.Millisecond)) // gone at another moment each time
		_, _ = fmt.Fprint(c, text)
		if got, _ := io.Copy(io.Discard, c); got > 0 {
			answered.Add(1)
		}
		_ = c.Close()
	}
}
