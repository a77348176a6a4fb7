package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// pendingApproval waits for a question on the stream.
func pendingApproval(t *testing.T, sub stream) (protocol.ToolApprovalData, []hubtest.Frame) {
	t.Helper()
	fs := until(t, sub, isType(protocol.EventToolApproval))
	return hubtest.Decode[protocol.ToolApprovalData](t, fs[len(fs)-1].Data), fs
}

func (h *hubUnderTest) approve(s protocol.CreateResponse, r protocol.ApproveRequest) (int, protocol.Problem) {
	h.t.Helper()
	var p protocol.Problem
	resp := h.call("POST", "/api/sessions/"+s.SessionID+"/approve", r, &p, "Authorization", "Bearer "+s.Token)
	return resp.StatusCode, p
}

func openSSE(t *testing.T, h *hubUnderTest, s protocol.CreateResponse) stream {
	t.Helper()
	sub, err := h.sse(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.close)
	return sub
}

func completeOf(t *testing.T, fs []hubtest.Frame) protocol.CompleteData {
	t.Helper()
	return hubtest.Decode[protocol.CompleteData](t, fs[len(fs)-1].Data)
}

// A plain message: the answer streams, and the log tells the turn in order.
func TestMessageIsAnswered(t *testing.T) {
	h := startHub(t)
	if err := os.Mkdir(filepath.Join(h.root, "project"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := h.create(protocol.CreateRequest{WorkingDirectory: "project", Title: "A title", Metadata: []byte(`{"a": 1}`)})
	if want := filepath.Join(h.root, "project"); s.Session.WorkingDirectory != want {
		t.Errorf("the working directory is %q, want %q", s.Session.WorkingDirectory, want)
	}
	if s.Session.Status != protocol.StatusIdle || s.Session.Provider != "demo" || s.Session.UserID != "local" || string(s.Session.Metadata) != `{"a":1}` {
		t.Errorf("created %+v", s.Session)
	}
	sub := openSSE(t, h, s)
	m := h.send(s, "hello there")
	fs := until(t, sub, isType(protocol.EventComplete))
	if c := completeOf(t, fs); c.StopReason != protocol.StopEndTurn || c.MessageID != m.MessageID {
		t.Errorf("complete %+v", c)
	}
	if got := text(t, fs); !strings.Contains(got, "hello there") {
		t.Errorf("the answer is %q", got)
	}
	var statuses []protocol.Status
	for _, f := range fs {
		if f.Type == protocol.EventStatus {
			statuses = append(statuses, hubtest.Decode[protocol.StatusData](t, f.Data).Status)
		}
		if f.Type == protocol.EventMessage && f.Seq != m.Seq {
			t.Errorf("the message is event %d, its answer said %d", f.Seq, m.Seq)
		}
	}
	want := []protocol.Status{protocol.StatusIdle, protocol.StatusQueued, protocol.StatusStarting, protocol.StatusRunning}
	if len(statuses) != len(want) {
		t.Fatalf("statuses %v, want %v", statuses, want)
	}
	for i := range want {
		if statuses[i] != want[i] {
			t.Fatalf("statuses %v, want %v", statuses, want)
		}
	}
	until(t, sub, func(f hubtest.Frame) bool {
		return f.Type == protocol.EventStatus && hubtest.Decode[protocol.StatusData](t, f.Data).Status == protocol.StatusIdle
	})
}

// Allowed, the tool writes in the session's own directory; refused, it does not.
func TestToolIsAllowedOrRefused(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)
	file := filepath.Join(h.root, "hello.txt")

	h.send(s, "/write hello.txt first text")
	a, _ := pendingApproval(t, sub)
	if a.Title == "" || a.Kind != "edit" || !strings.Contains(string(a.Input), "hello.txt") || a.ExpiresAt == nil || len(a.Options) == 0 {
		t.Errorf("an approval that tells too little: %+v", a)
	}
	var pending protocol.Approvals
	h.call("GET", "/api/sessions/"+s.SessionID+"/approvals", nil, &pending, "Authorization", "Bearer "+s.Token)
	if len(pending.Approvals) != 1 || pending.Approvals[0].InteractionID != a.InteractionID {
		t.Errorf("pending %+v", pending)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("the file is there before anybody allowed it")
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "reject_once"}); status != http.StatusOK {
		t.Fatalf("reject: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	if _, err := os.Stat(file); err == nil {
		t.Fatal("the file is there although it was refused")
	}

	h.send(s, "/write hello.txt second text")
	a, _ = pendingApproval(t, sub)
	option := ""
	for _, o := range a.Options {
		if o.Kind == protocol.AllowOnce {
			option = o.OptionID
		}
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, OptionID: option}); status != http.StatusOK {
		t.Fatalf("allow: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	if got, err := os.ReadFile(file); err != nil || string(got) != "second text" {
		t.Fatalf("the file has %q, %v", got, err)
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "reject_once"}); status != http.StatusConflict ||
		p.Code != protocol.CodeApprovalResolved || p.Outcome != "selected" || p.OptionID != option {
		t.Errorf("a second answer: %d %+v", status, p)
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: "nobody", Decision: "allow_once"}); status != http.StatusNotFound {
		t.Errorf("an unknown interaction: %d %+v", status, p)
	}
}

// "Always" is the hub's: the same call runs by rule, another one asks.
func TestAllowAlwaysMatchesTheSameInputOnly(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)
	h.send(s, "/write a.txt one")
	a, _ := pendingApproval(t, sub)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "allow_always"}); status != http.StatusOK {
		t.Fatalf("always: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	h.send(s, "/write a.txt one")
	fs := until(t, sub, isType(protocol.EventComplete))
	var by []string
	for i, f := range fs {
		if f.Type == protocol.EventApprovalResolved {
			by = append(by, hubtest.Decode[protocol.ApprovalResolvedData](t, f.Data).By)
			if fs[i-1].Type != protocol.EventToolApproval {
				t.Errorf("the rule's answer does not follow its question")
			}
		}
	}
	if len(by) != 1 || by[0] != protocol.ByRule {
		t.Errorf("resolved by %v, want by the rule", by)
	}
	h.send(s, "/write a.txt two")
	pendingApproval(t, sub)
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/cancel", `{}`)
	if c := completeOf(t, until(t, sub, isType(protocol.EventComplete))); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}
}

func TestStopMidStreamAndTakeQueuedMessageBack(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)
	first := h.send(s, "/stream 100000 10 50")
	until(t, sub, isType(protocol.EventOutput))
	second := h.send(s, "hello")
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/cancel", protocol.CancelRequest{MessageID: second.MessageID})
	if c := completeOf(t, until(t, sub, isType(protocol.EventComplete))); c.MessageID != second.MessageID || c.StopReason != protocol.StopCancelled {
		t.Errorf("the queued message: %+v", c)
	}
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/cancel", nil)
	if c := completeOf(t, until(t, sub, isType(protocol.EventComplete))); c.MessageID != first.MessageID || c.StopReason != protocol.StopCancelled {
		t.Errorf("the running message: %+v", c)
	}
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/cancel", `{}`) // nothing runs
	h.want(http.StatusNotFound, protocol.CodeNotFound, "POST", "/api/sessions/"+s.SessionID+"/cancel", `{"messageId":"never"}`)
}

func TestMessageIsIdempotent(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	path := "/api/sessions/" + s.SessionID + "/messages"
	var first, again protocol.MessageResponse
	h.call("POST", path, `{"content":"/slow 1","messageId":"m-1"}`, &first)
	h.call("POST", path, `{ "messageId":"m-1", "content": "/slow 1" }`, &again)
	if first.Duplicate || !again.Duplicate || first.Seq != again.Seq || again.MessageID != "m-1" {
		t.Errorf("first %+v, again %+v", first, again)
	}
	h.want(http.StatusConflict, protocol.CodeIdempotency, "POST", path, `{"content":"other","messageId":"m-1"}`)
	sub := openSSE(t, h, s)
	until(t, sub, isType(protocol.EventComplete))
	h.call("POST", path, `{"content":"/slow 1","messageId":"m-1"}`, &again)
	if !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("after the turn: %+v", again)
	}
}

// DELETE in mid-turn: every stream reads to closed, the processes end, and
// nothing finds the session any more.
func TestDeleteEndsEverything(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)
	ws, err := h.ws(t.Context(), s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	h.send(s, "/run sleep 300")
	a, _ := pendingApproval(t, sub)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "allow_once"}); status != http.StatusOK {
		t.Fatalf("%d %+v", status, p)
	}
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	for _, x := range []stream{sub, ws} {
		fs := until(t, x, isType(protocol.EventClosed))
		completes := 0
		for _, f := range fs {
			if f.Type == protocol.EventComplete {
				completes++
			}
		}
		if x == ws && completes != 1 {
			t.Errorf("%d completes, want 1", completes)
		}
		if f, err := x.next(t.Context()); err == nil {
			t.Errorf("after closed came %s", f.Raw)
		}
	}
	for _, auth := range []string{"Bearer " + s.Token, ""} {
		h.want(http.StatusNotFound, protocol.CodeNotFound, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", auth)
		h.want(http.StatusNotFound, protocol.CodeNotFound, "GET", "/api/sessions/"+s.SessionID+"/events", nil, "Authorization", auth)
	}
	h.want(http.StatusNotFound, protocol.CodeNotFound, "DELETE", "/api/sessions/"+s.SessionID, nil)
	judge.Within(t, 5*time.Second, "the agent's place is free", func() bool {
		return metric(t, h, `sessionhub_worker_sessions{provider="demo"}`) == 0
	})
}

// Idle agents do not keep others waiting: with one place, sessions take turns.
func TestIdleAgentMakesPlaceForAWaitingSession(t *testing.T) {
	t.Parallel()
	h := startHub(t, "--worker-capacity", "1")
	a, b := h.create(protocol.CreateRequest{}), h.create(protocol.CreateRequest{})
	subA, subB := openSSE(t, h, a), openSSE(t, h, b)
	for range 3 {
		h.send(a, "hello")
		until(t, subA, isType(protocol.EventComplete))
		h.send(b, "hello")
		until(t, subB, isType(protocol.EventComplete))
	}
	h.send(a, "/slow 2")
	until(t, subA, isType(protocol.EventOutput))
	m := h.send(b, "hello")
	if fs := until(t, subB, isType(protocol.EventComplete)); completeOf(t, fs).MessageID != m.MessageID || completeOf(t, fs).StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", completeOf(t, fs))
	}
	if c := completeOf(t, until(t, subA, isType(protocol.EventComplete))); c.StopReason != protocol.StopEndTurn {
		t.Errorf("the running turn was disturbed: %+v", c)
	}
}
