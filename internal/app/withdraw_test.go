package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// A worker withdraws a question over the wire: it is closed for everybody, a late
// answer is 409, and the worker is told who came first.
func TestWithdrawnQuestionIsClosedForEverybody(t *testing.T) {
	t.Parallel()
	h := startOpenHub(t)
	l := h.dialLink(testWorkerKey)
	l.hello()
	s := h.create(protocol.CreateRequest{})
	m := h.send(s, "hi")
	l.want(protocol.FrameAssign)
	l.want(protocol.FrameCommand)
	n := uint64(0)
	event := func(t protocol.EventType, data any) {
		n++
		l.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: s.SessionID, Assignment: 1, N: n, Type: t, Data: protocol.Marshal(data)})
	}
	ask := func(interaction string) {
		event(protocol.EventToolApproval, protocol.ToolApprovalData{
			MessageID: m.MessageID, InteractionID: interaction, ToolCallID: "t1", Title: "run", Kind: "execute", Input: []byte(`{}`),
			Options: []protocol.ApprovalOption{{OptionID: "y", Name: "Yes", Kind: protocol.AllowOnce}},
		})
	}
	// command reads up to the next approval command.
	command := func() protocol.ApprovalCommand {
		t.Helper()
		for {
			f, err := l.read()
			if err != nil || f.Type == protocol.FrameError {
				t.Fatalf("%s %s, %v", f.Type, f.Data, err)
			}
			if f.Type == protocol.FrameCommand {
				c := hubtest.Decode[protocol.WorkerCommand](t, f.Data)
				return hubtest.Decode[protocol.ApprovalCommand](t, c.Data)
			}
		}
	}
	ask("i1")
	event(protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: "i1", Outcome: protocol.OutcomeCancelled})
	if c := command(); c.InteractionID != "i1" || c.Outcome != protocol.OutcomeCancelled || c.MessageID != m.MessageID {
		t.Errorf("the worker is told %+v", c)
	}
	var pending protocol.Approvals
	h.call("GET", "/api/sessions/"+s.SessionID+"/approvals", nil, &pending)
	if len(pending.Approvals) != 0 {
		t.Errorf("pending: %+v", pending.Approvals)
	}
	status, problem := h.approve(s, protocol.ApproveRequest{InteractionID: "i1", OptionID: "y"})
	if status != http.StatusConflict || problem.Code != protocol.CodeApprovalResolved || problem.Outcome != protocol.OutcomeCancelled {
		t.Errorf("a late answer: %d %+v", status, problem)
	}

	ask("i2")
	judge.Within(t, 20*time.Second, "the question is open", func() bool {
		h.call("GET", "/api/sessions/"+s.SessionID+"/approvals", nil, &pending)
		return len(pending.Approvals) == 1
	})
	if status, problem := h.approve(s, protocol.ApproveRequest{InteractionID: "i2", OptionID: "y"}); status != http.StatusOK {
		t.Fatalf("an answer: %d %+v", status, problem)
	}
	event(protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: "i2", Outcome: protocol.OutcomeCancelled})
	if c := command(); c.InteractionID != "i2" || c.Outcome != protocol.OutcomeSelected || c.OptionID != "y" {
		t.Errorf("the worker is told %+v", c)
	}

	// Nothing else of that kind is a worker's to say.
	event(protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: "i2", Outcome: protocol.OutcomeSelected, OptionID: "y"})
	for {
		f, err := l.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == protocol.FrameError {
			if e := hubtest.Decode[protocol.LinkError](t, f.Data); e.Code != protocol.LinkForbidden || !strings.Contains(e.Detail, "withdraw") {
				t.Errorf("error %+v", e)
			}
			return
		}
	}
}
