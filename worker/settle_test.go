package worker

import (
	"testing"
	"time"

	"sessionhub/protocol"
)

// Codex never answered a prompt that followed its error at once: a queued message
// then hung until the turn's timeout.
func TestPromptWaitsForAgentToSettleAfterError(t *testing.T) {
	s := start(t, nil).assign("plain")
	s.message("m1", "fail for now")
	if c := s.complete("m1"); c.StopReason != protocol.StopError {
		t.Fatalf("complete %+v", c)
	}
	began := time.Now()
	s.message("m2", "say hello")
	if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	// The first complete was on its way for a part of the time.
	if took := time.Since(began); took < errorSettle/2 {
		t.Errorf("the next prompt went out after %v", took)
	}

	s.message("m3", "fail again")
	s.complete("m3")
	s.message("m4", "say never")
	s.cancel("m4")
	if c := s.complete("m4"); c.StopReason != protocol.StopCancelled {
		t.Errorf("cancelled while it waited: %+v", c)
	}
	s.message("m5", "say hello")
	if c := s.complete("m5"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
}
