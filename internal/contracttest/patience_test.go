package contracttest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// These wait for real clocks. They run beside each other, after the others.

// between checks that something took about so long: never less than it should, and
// in a run that judges time not much more.
func between(t *testing.T, what string, took, least, most time.Duration) {
	t.Helper()
	if t.Logf("%s took %v", what, took); took < least {
		t.Errorf("%s took %v, want %v at least", what, took, least)
	}
	judge.AtMost(t, what, took, most)
}

// An idle SSE stream has a comment line every 15 s, an idle WebSocket a ping; a
// peer that answers none for 30 s is dropped.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	live := s.sse("")
	live.until("caught_up")
	started := time.Now()
	c := n.dial()
	_ = c.SetDeadline(time.Now().Add(75 * time.Second))
	_, _ = io.WriteString(c, s.handshake(""))
	in := bufio.NewReader(c)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	var ping time.Time
	for { // it is read, and nothing is answered
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			break
		}
		if head[0] == 0x89 && ping.IsZero() {
			ping = time.Now()
		}
		size := int64(head[1])
		if size == 126 {
			var long [2]byte
			_, _ = io.ReadFull(in, long[:])
			size = int64(long[0])<<8 | int64(long[1])
		}
		_, _ = io.CopyN(io.Discard, in, size)
	}
	if ping.IsZero() {
		t.Fatal("there was no ping")
	}
	between(t, "the first ping", ping.Sub(started), 13*time.Second, 19*time.Second)
	between(t, "the drop of a peer that answers no ping", time.Since(ping), 28*time.Second, 36*time.Second)
	comments := 0
	for live.until("comment"); ; live.until("comment") {
		if comments++; comments == 2 {
			break
		}
	}
	judge.Within(t, 10*time.Second, "the place of the dropped peer is free, and the other's is not", func() bool {
		v := s.view()
		return v.Connections.WebSocket == 0 && v.Connections.SSE == 1
	})
}

// expiring comes 60 s ahead, not sooner; at the end the stream ends with 4401.
func TestExpiring(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	open := func(seconds int) (*stream, time.Time) {
		r := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", fmt.Sprintf(`{"ttlSeconds":%d}`, seconds), s.bearer()...)
		x := s
		x.Token = r.Token
		return x.ws(""), r.ExpiresAt
	}
	long, end := open(66)
	if e := hubtest.Decode[protocol.Expiring](t, long.until("expiring").Data); !e.ExpiresAt.Equal(end) {
		t.Errorf("expiring says %v, the token %v", e.ExpiresAt, end)
	}
	ahead := time.Until(end)
	if ahead > 60500*time.Millisecond {
		t.Errorf("expiring came %v ahead", ahead)
	}
	judge.AtMost(t, "the way of expiring", time.Minute-ahead, 3*time.Second)
	short, end := open(10)
	short.until("expiring")
	if code := short.rest(); code != protocol.CloseToken {
		t.Errorf("at its end the stream closed with %d", code)
	}
	between(t, "the end after the token's", time.Since(end), 0, 2*time.Second)
}

// A ticket is good for 30 s.
func TestTicketExpires(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	ticket := ok[protocol.TicketResponse](n, 201, "POST", s.path+"/ticket", "", s.bearer()...)
	if left := time.Until(ticket.ExpiresAt); left > 30*time.Second || judge.Load() && left < 25*time.Second {
		t.Errorf("a ticket lives for %v", left)
	}
	judge.Within(t, 40*time.Second, "the ticket's time is over", func() bool { return time.Now().After(ticket.ExpiresAt) })
	n.refused(401, protocol.CodeUnauthorized, "GET", s.path+"/events?ticket="+ticket.Ticket, "")
}

// A request has to come in time: 10 s for its header, 30 s for its body. Who is
// late reads why.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	type late struct {
		name        string
		first       string
		each        string // sent twice a second
		least, most time.Duration
	}
	done := make(chan error)
	cases := []late{
		{"a header in drops", "GET /healthz HTTP/1.1\r\nHost: " + n.Host() + "\r\n", "X: y\r\n", 9 * time.Second, 14 * time.Second},
		{"silence", "", "", 9 * time.Second, 14 * time.Second},
		{"a body that stalls at once", s.posted(100) + "{", "", 28 * time.Second, 36 * time.Second},
		{"a long body in drops", s.posted(500_000), "x", 28 * time.Second, 36 * time.Second},
		{"a long body that stalls", s.posted(500_000) + string(bytes.Repeat([]byte("x"), 100_000)), "", 28 * time.Second, 36 * time.Second},
	}
	for _, c := range cases {
		conn := n.dial()
		go func() {
			started := time.Now()
			answered, err := waitForAnswer(conn, c.first, c.each)
			took := time.Since(started)
			switch {
			case err != nil:
				err = fmt.Errorf("%s: %w", c.name, err)
			case took < c.least || judge.Load() && took > c.most:
				err = fmt.Errorf("%s: answered after %v", c.name, took)
			default:
				if problem := answered.Problem(408, protocol.CodeRequestTimeout); problem != nil {
					err = fmt.Errorf("%s: %w", c.name, problem)
				}
			}
			done <- err
		}()
	}
	for range cases {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// posted is the head of a message whose body has so many bytes.
func (s session) posted(length int) string {
	return fmt.Sprintf("POST %s/messages HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		s.path, s.n.Host(), s.Token, length)
}

// waitForAnswer sends first, then each twice a second until there is an answer.
func waitForAnswer(conn net.Conn, first, each string) (hubtest.Answer, error) {
	if _, err := io.WriteString(conn, first); err != nil {
		return hubtest.Answer{}, err
	}
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for each != "" {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = io.WriteString(conn, each) // fails once the hub has had enough
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return hubtest.Answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return hubtest.Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}, err
}
