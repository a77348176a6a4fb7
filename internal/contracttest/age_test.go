package contracttest

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
)

// A client of an event stream has nothing to say. One that sent bytes on and on once
// took a whole core of the hub, which read them away.
func TestEventStreamEndsWhenItsClientSpeaks(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	request := "GET " + s.path + "/events HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n"
	for name, c := range map[string]net.Conn{
		"behind its request": n.exchange(request + "x").c,
		"later": func() net.Conn {
			x := n.exchange(request)
			for line := ""; !strings.Contains(line, "caught_up"); {
				var err error
				if line, err = x.in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			x.send("x")
			return x.c
		}(),
	} {
		// The end, or a reset: what it sent is not read.
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the stream goes on", name)
		}
	}
	judge.Within(t, 10*time.Second, "the places are free and the ends are counted", func() bool {
		return s.view().Connections.SSE == 0 && n.metrics()[`sessionhub_connections_closed_total{reason="bad_frame",transport="sse"}`] == 2
	})
}

// Twenty event streams of clients that nobody told the hub about once used the session's
// limit up for hours: a proxy keeps their connections open. Each ends of its age, in
// order and behind a whole event; whoever comes back has lost nothing.
func TestEventStreamHasAGreatestAge(t *testing.T) {
	t.Parallel()
	n := serve(t, "--sse-max-age", "3s", "--max-connections-per-session", "21")
	s := n.create(`{}`)
	for range 20 {
		n.exchange("GET " + s.path + "/events HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n") // and never looked at
	}
	judge.Within(t, 10*time.Second, "20 streams are counted", func() bool { return s.view().Connections.SSE == 20 })
	socket := s.ws("")
	socket.until("caught_up")
	judge.Within(t, 20*time.Second, "they have given their places back", func() bool { return s.view().Connections.SSE == 0 })
	if got := n.metrics()[`sessionhub_connections_closed_total{reason="max_age",transport="sse"}`]; got != 20 {
		t.Errorf("%v streams ended of their age", got)
	}

	// A reader that comes back with the last id has every event, once.
	s.send("/stream 200 20 20")
	next, cursor := uint64(1), "0"
	for streams := 0; ; streams++ {
		st := s.sse("", "Last-Event-ID", cursor)
		var last hubtest.Frame
		for {
			f, err := st.next()
			if err != nil {
				if err != io.EOF || f.Raw != "" || f.ID != "" {
					t.Fatalf("stream %d ends in the middle of %+v: %v", streams, f, err)
				}
				break
			}
			if f.Seq == 0 {
				if f.Raw != "" || f.Name == "retry" {
					last = f
				}
				continue
			}
			if f.Seq != next {
				t.Fatalf("stream %d: after %d came %d", streams, next-1, f.Seq)
			}
			next, cursor = next+1, f.ID
			if f.Type == "complete" {
				if streams == 0 {
					t.Fatal("one stream saw it all: none ended of its age")
				}
				if socket.command("ping", "p1", "{}").Type != "ack" {
					t.Error("the WebSocket ended too")
				}
				return
			}
		}
		if last.Name != "retry" || last.ID != "100" {
			t.Errorf("stream %d does not say when to come back, but %+v", streams, last)
		}
	}
}
