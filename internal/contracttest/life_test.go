package contracttest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// A session does not expire while a turn runs or a question is open, and every
// event begins its time anew.
func TestBusySessionDoesNotExpire(t *testing.T) {
	t.Parallel()
	n := serve(t, "--session-idle-ttl", "5s")
	slow, asks := n.create(`{}`), n.create(`{}`)
	st, question := slow.ws(""), asks.ws("")
	asks.send("/approve yes?")
	q := hubtest.Decode[protocol.ToolApprovalData](t, question.until("tool_approval").Data)
	if c := slow.turn(st, "/slow 6"); c.StopReason != "end_turn" {
		t.Errorf("the long turn: %+v", c)
	}
	if v := asks.view(); v.Status != "requires_action" {
		t.Errorf("while a question is open the session is %s", v.Status)
	}
	ok[any](n, 200, "POST", asks.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once"}`, asks.bearer()...)
	question.until("complete")
	for _, end := range []*stream{st, question} {
		if code := end.rest(); code != protocol.CloseEnded || end.last().Type != "closed" {
			t.Errorf("idle, it closed with %d after %s", code, end.last().Raw)
		}
	}
}

// DELETE in the middle of a turn: one complete, closed at the end of every
// stream, and then there is no such session for any credential.
func TestDeleteInMidTurn(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-of-the-service"})
	n.key = "key-of-the-service"
	s := n.create(`{}`)
	ws, sse := s.ws(""), s.sse("")
	m := s.send("/slow 60")
	ws.until("output")
	queued := s.send("waits")
	if r := n.call("DELETE", s.path, "", s.bearer()...); r.StatusCode != http.StatusNoContent || len(r.Body) != 0 {
		t.Fatalf("DELETE: %d %s", r.StatusCode, r.Body)
	}
	if code := ws.rest(); code != protocol.CloseEnded {
		t.Errorf("the WebSocket closed with %d", code)
	}
	if code := sse.rest(); code != 0 {
		t.Errorf("SSE ended with %d", code)
	}
	for _, st := range []*stream{ws, sse} {
		var ended []string
		for _, f := range st.seen {
			if f.Type == "complete" {
				ended = append(ended, hubtest.Decode[protocol.CompleteData](t, f.Data).MessageID)
			}
		}
		if closed := hubtest.Decode[protocol.ClosedData](t, st.last().Data); st.last().Type != "closed" || closed.Reason != "deleted" || fmt.Sprint(ended) != fmt.Sprint([]string{m.MessageID, queued.MessageID}) {
			t.Errorf("it ended with %s; completes of %v", st.last().Raw, ended)
		}
	}
	for _, header := range [][]string{s.bearer(), nil} {
		for _, path := range []string{"", "/history", "/events", "/approvals"} {
			n.refused(404, protocol.CodeNotFound, "GET", s.path+path, "", header...)
		}
		n.refused(404, protocol.CodeNotFound, "POST", s.path+"/messages", `{"content":"x"}`, header...)
		n.refused(404, protocol.CodeNotFound, "POST", s.path+"/token", `{}`, header...)
		n.refused(404, protocol.CodeNotFound, "DELETE", s.path, "", header...)
	}
}

// A ticket has the scope of its token, and dies with it.
func TestTicketHasItsTokensScope(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	read := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read"}`, s.bearer()...)
	reader := []string{"Authorization", "Bearer " + read.Token}
	ticket := func() string {
		return ok[protocol.TicketResponse](n, 201, "POST", s.path+"/ticket", "", reader...).Ticket
	}
	st, _, err := s.socket("?ticket="+ticket(), &websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[string]string{"message": `{"content":"x"}`, "approve": `{"interactionId":"x","decision":"allow_once"}`, "cancel": `{}`} {
		if a := st.command(kind, kind, data); a.Error.Code != protocol.CodeScope {
			t.Errorf("%s with a reader's ticket: %+v", kind, a)
		}
	}
	late := ticket()
	if r := n.call("DELETE", s.path+"/token", "", reader...); r.StatusCode != 204 {
		t.Fatal(r.StatusCode)
	}
	n.refused(401, protocol.CodeUnauthorized, "GET", s.path+"/events?ticket="+late, "")
	if code := st.rest(); code != protocol.CloseToken {
		t.Errorf("the ticket's stream closed with %d", code)
	}
	n.refused(403, protocol.CodeForbidden, "POST", "/api/sessions", `{}`, s.bearer()...)
}

// "Always" is a rule for the same tool and input, of this session.
func TestAlways(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/write a.txt one")
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	ok[any](n, 200, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"allow_always"}`, s.bearer()...)
	st.until("complete")
	s.turn(st, "/write a.txt one")
	if !strings.Contains(st.types(), "tool_approval approval_resolved") || !strings.Contains(fmt.Sprint(st.seen), `"by":"rule"`) {
		t.Errorf("the same again: %s", st.types())
	}
	for _, x := range []struct {
		s    session
		text string
	}{{s, "/write a.txt two"}, {n.create(`{}`), "/write a.txt one"}} {
		other := x.s.ws("?after=latest")
		x.s.send(x.text)
		other.until("tool_approval")
		judge.Within(t, time.Second, "it is asked", func() bool { return x.s.view().Status == "requires_action" })
	}
}

// Of a subscriber that takes nothing nothing is kept; it can resume, and gets
// the rest once and in order.
func TestSlowReaderResumes(t *testing.T) {
	t.Parallel()
	n := serve(t, "--write-timeout", "8s", "--log-max-events", "100000", "--log-max-bytes", "256MiB")
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/stream 4000 4000 1500")
	first := st.until("output")
	judge.Within(t, 30*time.Second, "the reader that stopped is cut", func() bool { return n.metrics()["sessionhub_slow_subscribers_closed_total"] == 1 })
	if code := st.rest(); code != -1 && code != protocol.CloseSlow {
		t.Errorf("it was closed with %d", code)
	}
	last := first.Seq
	for _, f := range logged(st) {
		last = max(last, f.Seq)
	}
	again := s.sse(fmt.Sprintf("?after=%s-%d", s.Session.Epoch, last))
	again.until("complete")
	for i, f := range logged(again) {
		if f.Seq != last+1+uint64(i) {
			t.Fatalf("event %d came where %d should be", f.Seq, last+1+uint64(i))
		}
	}
	if c := strings.Count(again.types(), "gap"); c != 0 {
		t.Errorf("%d gaps", c)
	}
}
