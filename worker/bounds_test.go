package worker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// prompted returns a session in the middle of a turn, without a process: its
// agent is what the test says to onLine.
func prompted(t *testing.T) *session {
	t.Helper()
	w, err := New(Config{Root: t.TempDir(), Name: "w", Environ: []string{}, Providers: map[string]Provider{"x": {Command: "x"}}, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	w.hub = protocol.Welcome{Events: protocol.WorkerEvents()}
	s := newSession(w, protocol.Assign{SessionID: "s", Assignment: 1, Provider: "x"}, w.cfg.Providers["x"], nil)
	s.agent = newAgent(processSpec, discard)
	s.agent.sessionID, s.agent.ready = "acp-1", true
	s.turn = newTurn(1, protocol.MessageData{MessageID: "m", Content: raw(`"hi"`)})
	s.prompt()
	s.agent.stdin.take() // the prompt
	return s
}

// ask has the agent send a permission request. It returns what was refused, or
// nothing.
func (s *session) askFor(t *testing.T, call, options string) (refusal string) {
	t.Helper()
	s.onLine(parseLine([]byte(`{"id":7,"method":"session/request_permission","params":{"sessionId":"acp-1","toolCall":` + call + `,"options":` + options + `}}`)))
	line := s.agent.stdin.take()
	if line == nil {
		return ""
	}
	var answer struct{ Error rpcError }
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Error.Message
}

// published returns the data of the events of a type.
func (s *session) published(t *testing.T, kind protocol.EventType) (all []json.RawMessage) {
	t.Helper()
	for _, item := range s.out.items {
		var frame protocol.Frame
		var e protocol.WorkerEvent
		if !item.event {
			continue
		}
		if err := protocol.Decode(item.frame, &frame); err != nil {
			t.Fatal(err)
		}
		if err := protocol.Decode(frame.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type == kind {
			all = append(all, e.Data)
		}
	}
	return all
}

// One id for yes and for no: whoever answers cannot know what the agent takes it for.
func TestPermissionWithEqualOptionsIsRefused(t *testing.T) {
	s := prompted(t)
	got := s.askFor(t, `{"toolCallId":"t"}`, `[{"optionId":"x","name":"Yes","kind":"allow_once"},{"optionId":"x","name":"No","kind":"reject_once"}]`)
	if !strings.Contains(got, "optionId twice") || len(s.turn.asks) != 0 {
		t.Errorf("refused with %q, %d open", got, len(s.turn.asks))
	}
}

// An id of megabytes made a question that no hub took, and the agent waited for
// its answer as long as it lived.
func TestPermissionWithAHugeIDIsAsked(t *testing.T) {
	s := prompted(t)
	if got := s.askFor(t, `{"toolCallId":"`+strings.Repeat("i", 2<<20)+`","title":"Run"}`, scriptedOptions); got != "" {
		t.Fatal(got)
	}
	asked := s.published(t, protocol.EventToolApproval)
	if len(asked) != 1 || len(asked[0]) > 4<<10 || !strings.Contains(string(asked[0]), `"title":"Run"`) {
		t.Errorf("%d questions, %.300s", len(asked), asked)
	}
}

// The hub keeps open questions in the session's state, which it stores whole.
func TestOpenPermissionsAreBoundedInBytes(t *testing.T) {
	judge.OneGoroutine(t)
	s := prompted(t)
	refused := 0
	for i := range maxAsks {
		call := fmt.Sprintf(`{"toolCallId":"t%d","rawInput":"%s"}`, i, strings.Repeat("i", 800<<10))
		if got := s.askFor(t, call, scriptedOptions); got != "" {
			refused++
		}
	}
	size := 0
	for _, data := range s.published(t, protocol.EventToolApproval) {
		size += len(data)
	}
	if size > maxAskBytes || size < maxAskBytes/2 || len(s.turn.asks) != maxAsks-refused {
		t.Errorf("%d bytes of questions, %d open, %d refused", size, len(s.turn.asks), refused)
	}
	s.finishError(protocol.TurnAgentFailed, "the end", true)
}

// A hub that asks nobody says why: that is for the agent to know, which waits. A
// cancelled question was answered as if the turn had been cancelled.
func TestAgentHearsWhyNobodyIsAsked(t *testing.T) {
	s := prompted(t)
	if got := s.askFor(t, `{"toolCallId":"t"}`, scriptedOptions); got != "" {
		t.Fatal(got)
	}
	for interaction := range s.turn.asks {
		s.onApproval(&s.turn.work, protocol.ApprovalCommand{MessageID: "m", InteractionID: interaction, Outcome: protocol.OutcomeCancelled, Reason: "64 questions are open"})
	}
	var answer struct{ Error rpcError }
	if err := json.Unmarshal(s.agent.stdin.take(), &answer); err != nil || answer.Error.Message != "64 questions are open" || len(s.turn.asks) != 0 {
		t.Errorf("the agent hears %+v, %v", answer, err)
	}
}

// Answers that do not fit any more were dropped, and the hub waited for them. The link
// ends instead, and the next hello says what is run here.
func TestAnswersThatDoNotFitEndTheLink(t *testing.T) {
	s := prompted(t)
	for range controlQueue + 1 {
		s.w.onCommand(protocol.WorkerCommand{SessionID: "nobody's", Assignment: 1, Type: protocol.WorkerCancel})
	}
	if _, _, err := s.w.nextBatch(nil); err == nil {
		t.Error("the link goes on")
	}
	s.w.hello()
	if batch, _, err := s.w.nextBatch(nil); err != nil || len(batch) != 0 {
		t.Errorf("on the next link: %d frames, %v", len(batch), err)
	}
}

// What a hub would refuse in a hello is refused before the worker starts.
func TestHelloOfABadConfiguration(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"worker name":     func(c *Config) { c.Name = "a\nb" },
		"workspace":       func(c *Config) { c.Workspace = strings.Repeat("w", protocol.MaxWorkspaceBytes+1) },
		"worker capacity": func(c *Config) { c.Capacity = protocol.MaxCapacity + 1 },
		"257 are more": func(c *Config) {
			for i := range protocol.MaxProviders {
				c.Providers[fmt.Sprint("p", i)] = Provider{Command: "x"}
			}
		},
	} {
		c := Config{Root: t.TempDir(), Name: "w", Providers: map[string]Provider{"x": {Command: "x"}}, Log: discard}
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// While the outbox is full nobody reads what the agent says: its silence is ours.
func TestHeldBackAgentIsNotTakenForSilent(t *testing.T) {
	s := prompted(t)
	s.agent.heard = time.Now().Add(-2 * s.w.cfg.TurnTimeout)
	s.out.limit = 0
	s.onSilence()
	if s.turn.cancelled {
		t.Error("it was cancelled while it was held back")
	}
	s.out.limit = DefaultBufferBytes
	s.agent.heard = time.Now().Add(-2 * s.w.cfg.TurnTimeout)
	s.onSilence()
	if !s.turn.cancelled || !s.turn.timedOut {
		t.Error("a silent agent was not cancelled")
	}
}

// What is cut from a question has a hash in its place, for the hub's "always"
// rules compare what they are given.
func TestCutQuestionsStayDifferent(t *testing.T) {
	judge.OneGoroutine(t)
	long := strings.Repeat("x", 900<<10)
	for name, call := range map[string]string{
		"title":   `{"toolCallId":"t","title":"` + long + `%s"}`,
		"input":   `{"toolCallId":"t","rawInput":["` + long + long + `%s"]}`,
		"content": `{"toolCallId":"t","content":[{"a":"` + long + `"},{"a":"` + long + `%s"}]}`,
	} {
		seen := make(map[string]bool)
		for _, end := range []string{"1", "2"} {
			s := prompted(t)
			if got := s.askFor(t, fmt.Sprintf(call, end), scriptedOptions); got != "" {
				t.Fatalf("%s: %s", name, got)
			}
			var data protocol.ToolApprovalData
			if err := protocol.Decode(s.published(t, protocol.EventToolApproval)[0], &data); err != nil {
				t.Fatal(err)
			}
			seen[string(protocol.Marshal([]any{data.Title, data.Input, data.Content}))] = true
		}
		if len(seen) != 2 {
			t.Errorf("%s: two questions look the same", name)
		}
	}
}

// The parts of a question that does not fit are its whole, in order and before it.
func TestLongQuestionGoesOutWhole(t *testing.T) {
	judge.OneGoroutine(t)
	s := prompted(t)
	long := strings.Repeat("é \"quoted\"\n", 200_000)
	call := `{"toolCallId":"t","title":"Write","kind":"edit","rawInput":{"text":` + string(protocol.Marshal(long)) + `}}`
	options := strings.Replace(scriptedOptions, `"name":"`, `"name":"`+strings.Repeat("n", 300), 1)
	if got := s.askFor(t, call, options); got != "" {
		t.Fatal(got)
	}
	var whole []byte
	for i, raw := range s.published(t, protocol.EventApprovalContent) {
		var part protocol.ApprovalContentData
		if err := protocol.Decode(raw, &part); err != nil || part.Index != i || len(part.Data) > protocol.MaxContentPart {
			t.Fatalf("part %d: index %d, %d bytes, %v", i, part.Index, len(part.Data), err)
		}
		whole = append(whole, part.Data...)
	}
	var c protocol.ApprovalContent
	if err := protocol.Decode(whole, &c); err != nil {
		t.Fatal(err)
	}
	var asked protocol.ToolApprovalData
	if err := protocol.Decode(s.published(t, protocol.EventToolApproval)[0], &asked); err != nil {
		t.Fatal(err)
	}
	var input struct{ Text string }
	if json.Unmarshal(c.Input, &input) != nil || input.Text != long || len(c.Options[0].Name) < 300 || len(asked.Options[0].Name) > 260 {
		t.Errorf("the whole has %d bytes of text, and %q", len(input.Text), c.Options[0].Name)
	}
	if !asked.Truncated || asked.FullBytes != len(whole) || c.FullBytes != len(whole) || c.InteractionID != asked.InteractionID {
		t.Errorf("truncated %v, %d bytes, the whole %d", asked.Truncated, asked.FullBytes, len(whole))
	}
}

// What is too much to be remembered until it is asked about is not asked as if
// there were nothing: the hub is told that it is not whole.
func TestForgottenCallIsNotAskedAsEmpty(t *testing.T) {
	judge.OneGoroutine(t)
	s := prompted(t)
	for i := range 4 {
		s.onLine(parseLine([]byte(fmt.Sprintf(
			`{"method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":"tool_call","toolCallId":"t%d","rawInput":"%s"}}}`,
			i, strings.Repeat("i", 5<<20)))))
	}
	if s.turn.tools.bytes > maxToolBytes {
		t.Errorf("%d bytes are kept", s.turn.tools.bytes)
	}
	if got := s.askFor(t, `{"toolCallId":"t3"}`, scriptedOptions); got != "" {
		t.Fatal(got)
	}
	var asked protocol.ToolApprovalData
	if err := protocol.Decode(s.published(t, protocol.EventToolApproval)[0], &asked); err != nil {
		t.Fatal(err)
	}
	if !asked.Truncated || asked.FullBytes < 5<<20 || len(s.published(t, protocol.EventApprovalContent)) != 0 {
		t.Errorf("asked with truncated %v, %d bytes", asked.Truncated, asked.FullBytes)
	}
	s.finishError(protocol.TurnAgentFailed, "the end", true)
}
