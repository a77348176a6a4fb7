package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// An agent took its question back, and nobody noticed: people answered it, and the
// agent waited for an answer that it did not want.
func TestWithdrawnQuestion(t *testing.T) {
	for _, test := range []struct {
		name string
		hub  *protocol.ApprovalCommand // what the hub says of it; nil: nothing, as before it knew of withdrawals
		want string
	}{
		{"the withdrawal was first", &protocol.ApprovalCommand{Outcome: protocol.OutcomeCancelled}, `"code":-32800`},
		{"an answer was first", &protocol.ApprovalCommand{Outcome: protocol.OutcomeSelected, OptionID: "yes"}, `{"outcome":{"optionId":"yes","outcome":"selected"}}`},
		{"it expired first", &protocol.ApprovalCommand{Outcome: protocol.OutcomeExpired}, `{"outcome":{"optionId":"no","outcome":"selected"}}`},
		{"the hub says nothing", nil, `"code":-32800`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			s := h.assign("plain")
			flag := filepath.Join(t.TempDir(), "now")
			s.message("m1", "withdraw "+flag)
			ask := s.approval()
			if err := os.WriteFile(flag, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			taken := until(s, protocol.EventApprovalResolved, "the withdrawal", func(protocol.ApprovalResolvedData) bool { return true })
			if taken.InteractionID != ask.InteractionID || taken.Outcome != protocol.OutcomeCancelled {
				t.Errorf("withdrawn: %+v", taken)
			}
			if test.hub != nil {
				test.hub.MessageID, test.hub.InteractionID = "m1", ask.InteractionID
				s.command(protocol.WorkerApproval, *test.hub)
			}
			if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
				t.Errorf("complete %+v", c)
			}
			if got := s.text("m1"); !strings.Contains(got, test.want) {
				t.Errorf("the agent got %s", got)
			}
			// A late command is nobody's, and there was one withdrawal.
			s.command(protocol.WorkerApproval, protocol.ApprovalCommand{MessageID: "m1", InteractionID: ask.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: "yes"})
			s.message("m2", "hi")
			s.complete("m2")
			withdrawals := 0
			for _, e := range s.events() {
				if e.Type == protocol.EventApprovalResolved {
					withdrawals++
				}
			}
			if withdrawals != 1 {
				t.Errorf("%d withdrawals", withdrawals)
			}
		})
	}
}

// The turn's cancel ends a withdrawn question, too.
func TestCancelWithAWithdrawnQuestion(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	flag := filepath.Join(t.TempDir(), "now")
	s.message("m1", "withdraw "+flag)
	s.approval()
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(s, protocol.EventApprovalResolved, "the withdrawal", func(protocol.ApprovalResolvedData) bool { return true })
	s.cancel("m1")
	s.output("-32800")
	if c := s.complete("m1"); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}
}
