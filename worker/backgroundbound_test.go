package worker

import (
	"fmt"
	"strings"
	"testing"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// behindTurn is a session whose agent is ready and has no turn, with a hub that takes what
// comes then.
func behindTurn(t *testing.T) *session {
	t.Helper()
	s := prompted(t)
	s.w.background.Store(true)
	s.turn = nil
	return s
}

func (s *session) updateFor(update string) {
	s.onLine(parseLine([]byte(`{"method":"session/update","params":{"sessionId":"acp-1","update":` + update + `}}`)))
}

// The hub's bound of open questions is one for the turn and the background.
func TestQuestionsOfTurnAndBackgroundAreBoundedTogether(t *testing.T) {
	s := behindTurn(t)
	for i := range maxAsks {
		if i == maxAsks/2 {
			s.turn = newTurn(2, protocol.MessageData{MessageID: "m2", Content: raw(`"hi"`)})
			s.turn.prompted = true
		}
		if got := s.askFor(t, fmt.Sprintf(`{"toolCallId":"t%d"}`, i), scriptedOptions); got != "" {
			t.Fatalf("question %d: %s", i, got)
		}
	}
	if got := s.askFor(t, `{"toolCallId":"more"}`, scriptedOptions); !strings.Contains(got, "too many open") {
		t.Errorf("refused with %q", got)
	}
	if len(s.turn.asks) != maxAsks/2 || len(s.background.asks) != maxAsks/2 {
		t.Errorf("%d questions of the turn, %d of the background", len(s.turn.asks), len(s.background.asks))
	}
	s.finishError(protocol.TurnAgentFailed, "the end", true)
	if len(s.background.asks) != maxAsks/2 {
		t.Errorf("the turn's end leaves %d questions of the background", len(s.background.asks))
	}
}

// What cannot be shown as work does not begin any: it would make the session busy.
func TestNothingBeginsTheBackgroundButWork(t *testing.T) {
	s := behindTurn(t)
	for _, update := range []string{
		`{"sessionUpdate":"usage_update","used":1}`, `{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":""}}`,
		`{"sessionUpdate":"agent_message_chunk","content":{"type":"resource_link","uri":"file:///a","name":"a"}}`, `{"sessionUpdate":"agent_message_chunk","content":7}`,
		`{"sessionUpdate":"tool_call","title":"without an id"}`, `{"sessionUpdate":"tool_call","toolCallId":"` + strings.Repeat("i", maxToolID+1) + `"}`,
		`{"sessionUpdate":"plan","entries":"none"}`, `{"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"an echo"}}`, `[]`, `7`,
	} {
		s.updateFor(update)
	}
	for _, options := range []string{`[]`, `7`, `[{"optionId":"","kind":"allow_once"}]`} {
		if got := s.askFor(t, `{"toolCallId":"t"}`, options); got == "" {
			t.Errorf("asked with the options %s", options)
		}
	}
	if got := s.published(t, protocol.EventStatus); s.background.works || len(got) != 0 {
		t.Errorf("it works: %s", got)
	}
}

// Ten thousand tool calls that never end cost no more memory than those of a turn.
func TestToolsOfTheBackgroundAreBounded(t *testing.T) {
	judge.OneGoroutine(t)
	s := behindTurn(t)
	for i := range maxTools + 100 {
		s.updateFor(fmt.Sprintf(`{"sessionUpdate":"tool_call","toolCallId":"t%d","status":"in_progress"}`, i))
	}
	if n := len(s.published(t, protocol.EventToolCall)); n != maxTools+100 || len(s.background.tools.order) != maxTools || !s.background.busy() {
		t.Errorf("%d are told, %d remembered", n, len(s.background.tools.order))
	}
	s.agent.requestStop()
	s.backgroundGone()
	if n := len(s.published(t, protocol.EventToolCall)); n != 2*maxTools+100 || len(s.background.tools.order) != 0 || s.background.works {
		t.Errorf("in the end %d are told, %d remembered", n, len(s.background.tools.order))
	}
}
