package wsconn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// pipeRequest is a good handshake.
func pipeRequest() *http.Request {
	return &http.Request{
		Method: http.MethodGet, Host: "h", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		URL: &url.URL{Path: "/ws"},
		Header: http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {key},
		},
	}
}

// piped is a Conn and its client in memory, where a minute costs nothing.
func piped(t *testing.T, opts Options) (*Conn, *client) {
	t.Helper()
	conn, _, err := accept(pipeRequest(), nil, 1<<20, opts.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	if err := conn.sock.bind(near, nil, opts); err != nil {
		t.Fatal(err)
	}
	return conn, newClient(t, far)
}

func TestCloseWaitsOneSecondForASilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, c := piped(t, Options{})
		defer c.Close()
		go func() { c.expectClose(1001) }() // reads, and answers nothing
		begin := time.Now()
		if err := conn.Close(websocket.StatusGoingAway, ""); !errors.Is(err, errSilent) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("took %v", d)
		}
		conn.release()
	})
}

// The library gives a control frame five seconds, then it closes the connection. A slow client that sends pings, as
// several client libraries do, must not be dropped for it.
func TestSlowReadingClientMayPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, c := piped(t, Options{})
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer conn.release()
			drain(conn)
		}()
		wrote := make(chan error, 1)
		whole := strings.Repeat("s", 100_000)
		go func() { wrote <- conn.WriteFrames(text(whole)) }()
		for i := range 4 {
			time.Sleep(4 * time.Second) // the fake clock
			c.send(masked(0x89, string(rune('0'+i))))
		}
		synctest.Wait()
		if !conn.Stalled(16*time.Second) || conn.Stalled(17*time.Second) {
			t.Errorf("waiting since %v", time.Unix(0, conn.WaitingSince()))
		}
		if heard := time.Unix(0, conn.LastHeard()); time.Since(heard) != 0 {
			t.Errorf("last heard at %v", heard)
		}
		c.expect(opText, whole)
		c.expect(opPong, "3")
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		c.send(masked(0x89, "again"))
		c.expect(opPong, "again")
		_ = c.Close()
		<-served
	})
}

// A write in pieces moves the stamp with each.
func TestStampFollowsPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, c := piped(t, Options{})
		wrote := make(chan error, 1)
		go func() { wrote <- conn.WriteFrames(text(strings.Repeat("p", 3*chunkBytes))) }()
		buf := make([]byte, chunkBytes)
		for range 3 {
			time.Sleep(9 * time.Second) // the fake clock
			if conn.Stalled(10 * time.Second) {
				t.Error("a client that takes a piece every nine seconds counts as stalled")
			}
			if n, err := c.Conn.Read(buf); n != chunkBytes || err != nil {
				t.Fatal(n, err)
			}
			synctest.Wait()
		}
		time.Sleep(10 * time.Second) // the header's bytes are still to be taken
		if !conn.Stalled(10 * time.Second) {
			t.Error("a client that takes nothing does not count as stalled")
		}
		conn.Cut()
		if err := <-wrote; err == nil {
			t.Error("no error after the cut")
		}
		if conn.WaitingSince() != 0 {
			t.Error("the stamp is still there")
		}
		_ = c.Close()
		conn.release()
	})
}

func TestPingCallbackOfTheCallerIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, c := piped(t, Options{})
		ask := conn.answerPingFor(func(_ context.Context, p []byte) bool { return string(p) == "yes" })
		go func() {
			for _, p := range []string{"no", "yes"} {
				if ask(context.Background(), []byte(p)) {
					t.Error("the library would answer too")
				}
			}
		}()
		c.expect(opPong, "yes")
		conn.release()
		_ = c.Close()
	})
}
