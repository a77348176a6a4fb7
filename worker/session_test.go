package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

func TestMessageIsAnswered(t *testing.T) {
	h := start(t, nil, "banner+ignore-eof")
	s := h.assign("banner_ignore-eof")
	if n := len(processesIn(t, h.worker.cfg.Root)); n != 0 {
		t.Errorf("%d processes before the first message", n)
	}
	seq := s.message("m1", "hi")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn || c.Error != nil || string(c.Usage) != `{"totalTokens":12}` {
		t.Errorf("complete %+v", c)
	}
	if got := s.text("m1"); got != "hello" {
		t.Errorf("text %q", got)
	}
	h.wait("done", func() bool { return len(h.dones) == 1 && h.dones[0].Message == seq })

	var kinds []string
	for _, e := range s.events() {
		kind := string(e.Type)
		if e.Type == protocol.EventAgentUpdate {
			u := decodeTo[protocol.AgentUpdateData](t, e.Data)
			kind += ":" + u.Kind
			if u.Kind == updateGarbage && string(u.Raw) != `{"text":"Welcome to the agent! `+"\uFFFD"+`"}` {
				t.Errorf("garbage %s", u.Raw)
			}
		}
		if e.Type == protocol.EventAgentStarted {
			started := decodeTo[agentStarted](t, e.Data)
			if started.SessionID != "acp-1" || started.Mode != "auto" || started.Model != "small" || started.Steering || started.Reasons ||
				started.ProtocolVersion != 1 || started.History != protocol.HistoryNew || !strings.Contains(string(started.AgentInfo), "scripted") {
				t.Errorf("agent_started %s", e.Data)
			}
		}
		kinds = append(kinds, kind)
	}
	if got := strings.Join(kinds, " "); got != "status agent_update:garbage status config_options agent_started output complete" {
		t.Errorf("events %s", got)
	}
	// The second message goes to the same process.
	s.message("m2", "hi")
	s.complete("m2")
	if got := len(s.events()); got != 9 {
		t.Errorf("%d events after the second message", got)
	}
}

func TestTenThousandPiecesKeepTheirOrder(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "stream 10000 20")
	s.complete("m1")
	next := 0
	for _, e := range s.events() {
		if e.Type == protocol.EventOutput {
			if o := decodeTo[protocol.OutputData](t, e.Data); !strings.HasPrefix(o.Text, fmt.Sprintf("%d x", next)) {
				t.Fatalf("piece %d is %q", next, o.Text)
			}
			next++
		}
	}
	if next != 10000 {
		t.Errorf("%d pieces", next)
	}
}

func TestApproval(t *testing.T) {
	selected := func(option string) protocol.ApprovalCommand {
		return protocol.ApprovalCommand{Outcome: protocol.OutcomeSelected, OptionID: option}
	}
	for _, test := range []struct {
		name, prompt string
		answer       protocol.ApprovalCommand
		want         string
	}{
		{"allow", "ask", selected("yes"), `{"outcome":{"optionId":"yes","outcome":"selected"}}`},
		{"reject", "ask", selected("no"), `{"outcome":{"optionId":"no","outcome":"selected"}}`},
		{"the request repeats nothing", "ask-short", selected("yes"), `{"outcome":{"optionId":"yes","outcome":"selected"}}`},
		{"without a tool_call before", "ask-bare", selected("yes"), `{"outcome":{"optionId":"yes","outcome":"selected"}}`},
		{"about nothing at all", "ask-empty", selected("yes"), `{"outcome":{"optionId":"yes","outcome":"selected"}}`},
		{"expired", "ask", protocol.ApprovalCommand{Outcome: protocol.OutcomeExpired}, `{"outcome":{"optionId":"no","outcome":"selected"}}`},
		{"cancelled", "ask", protocol.ApprovalCommand{Outcome: protocol.OutcomeCancelled}, `{"outcome":{"outcome":"cancelled"}}`},
		{"an option that was not offered", "ask", selected("maybe"), `{"outcome":{"outcome":"cancelled"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, nil)
			s := h.assign("plain")
			s.message("m1", test.prompt)
			ask := s.approval()
			if ask.MessageID != "m1" || ask.Title == "" || ask.Kind == "" || len(ask.Options) != 2 ||
				ask.Options[0] != (protocol.ApprovalOption{OptionID: "yes", Name: "Yes", Kind: protocol.AllowOnce}) {
				t.Errorf("approval %+v", ask)
			}
			if test.prompt == "ask-empty" {
				if ask.Title != "Tool call" || ask.Kind != "other" || string(ask.Input) != "null" {
					t.Errorf("empty card %+v", ask)
				}
			} else if ask.Title != "Write file" || ask.Kind != "edit" || string(ask.Input) != `{"path":"a.txt"}` || ask.ToolCallID != "t1" {
				t.Errorf("card %+v", ask)
			}
			// The tool call stands before the question, whoever asks.
			var before bool
			for _, e := range s.events() {
				switch e.Type {
				case protocol.EventToolCall:
					before = true
				case protocol.EventToolApproval:
					if !before {
						t.Error("no tool_call before the approval")
					}
				}
			}
			// One for an unknown question is ignored, as is a repeat.
			s.command(protocol.WorkerApproval, protocol.ApprovalCommand{MessageID: "m1", InteractionID: "other", Outcome: protocol.OutcomeSelected, OptionID: "no"})
			test.answer.MessageID, test.answer.InteractionID = "m1", ask.InteractionID
			seq := s.command(protocol.WorkerApproval, test.answer)
			s.repeat(seq, protocol.WorkerApproval, test.answer)
			if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
				t.Errorf("complete %+v", c)
			}
			if got := s.text("m1"); got != test.want {
				t.Errorf("the agent got %s", got)
			}
			// The open tool call was closed before the end.
			last := until(s, protocol.EventToolCall, "the tool call's end", func(c protocol.ToolCallData) bool { return c.Status == toolFailed })
			if last.ToolCallID != ask.ToolCallID {
				t.Errorf("closed %q", last.ToolCallID)
			}
		})
	}
}

func TestPermissionWithoutOptionsIsAnError(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "ask-nothing")
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, "-32602") {
		t.Errorf("the agent got %s", got)
	}
}

func TestUnknownMethodsAreAnswered(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "method fs/read_text_file")
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, "-32601") {
		t.Errorf("the agent got %s", got)
	}
}

func TestCancel(t *testing.T) {
	for _, test := range []struct {
		name, provider, prompt string
		wait                   func(*scene)
		dies                   bool
	}{
		{"in mid-stream", "plain", "stream 1000000 20", func(s *scene) { s.output("100 x") }, false},
		{"in silence", "plain", "hang", func(s *scene) { s.output("hanging") }, false},
		{"with an approval pending", "plain", "ask", func(s *scene) { s.approval() }, false},
		{"the agent says end_turn", "end-turn-on-cancel", "hang", func(s *scene) { s.output("hanging") }, false},
		{"the agent ignores it", "ignore-cancel_ignore-term", "hang", func(s *scene) { s.output("hanging") }, true},
		{"the agent starts", "never-ready", "hi", func(s *scene) {
			until(s, protocol.EventStatus, "starting", func(d protocol.StatusData) bool { return d.Status == protocol.StatusStarting })
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, func(c *Config) {
				c.CancelGrace = 30 * time.Second
				if test.dies {
					c.CancelGrace = 200 * time.Millisecond
				}
			}, "end-turn-on-cancel", "ignore-cancel+ignore-term", "never-ready")
			s := h.assign(test.provider)
			s.message("m1", test.prompt)
			test.wait(s)
			s.cancel("another message") // late: not ours
			s.cancel("m1")
			if c := s.complete("m1"); c.StopReason != protocol.StopCancelled || c.Error != nil {
				t.Errorf("complete %+v", c)
			}
			if test.prompt == "ask" {
				s.h.wait("the agent's own last word", func() bool { return len(s.h.dones) == 1 })
			}
			if test.dies {
				assertNoProcess(t, h.worker.cfg.Root)
			}
			if test.provider != "never-ready" {
				s.message("m2", "hi")
				if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
					t.Errorf("next complete %+v", c)
				}
			}
		})
	}
}

func TestAgentErrors(t *testing.T) {
	for _, test := range []struct {
		name, provider, prompt string
		code, text             string
		retryable              bool
	}{
		{"fails", "plain", "fail model is overloaded", protocol.TurnAgentFailed, "Internal error: model is overloaded", true},
		{"crashes", "plain", "crash", protocol.TurnAgentCrashed, "exit status 3: panic: out of luck", true},
		{"closes stdout", "plain", "close-stdout", protocol.TurnAgentCrashed, "the agent closed its stdout", true},
		{"too much garbage", "plain", "garbage 100", protocol.TurnAgentProtocol, "100 lines", true},
		{"line too long", "plain", "line 33600000", protocol.TurnAgentProtocol, "32 MiB", true},
		{"asks and does not read", "plain", "flood", protocol.TurnAgentProtocol, "does not read its stdin", true},
		{"unknown stop reason", "plain", "stop tired", protocol.TurnAgentProtocol, "tired", true},
		{"error as stop reason", "plain", "stop error", protocol.TurnAgentProtocol, "error", true},
		{"exits at once", "exit-at-once", "hi", protocol.TurnAgentStart, "exit status 7: no licence found", true},
		{"other version", "version-2", "hi", protocol.TurnAgentStart, `version "2"`, true},
		{"unreadable version", "text-version", "hi", protocol.TurnAgentStart, "cannot be read", true},
		{"login", "needs-login", "hi", protocol.TurnAgentStart, "Authentication required", false},
		{"never ready", "never-ready", "hi", protocol.TurnAgentStart, "not ready after 500ms", true},
		{"missing command", "missing", "hi", protocol.TurnAgentStart, "no-such-agent", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, func(c *Config) {
				p := c.Providers["never-ready"]
				p.StartTimeout = 500 * time.Millisecond
				c.Providers["never-ready"] = p
				c.Providers["missing"] = Provider{Command: "no-such-agent"}
				c.ReadGrace = 500 * time.Millisecond
			}, "exit-at-once", "version-2", "text-version", "needs-login", "never-ready")
			s := h.assign(test.provider)
			ids := []string{"m1", "m2"} // the session stays usable
			if strings.HasPrefix(test.prompt, "line") {
				ids = ids[:1] // that takes seconds under the race detector
			}
			for _, id := range ids {
				s.message(id, test.prompt)
				c := s.complete(id)
				if c.StopReason != protocol.StopError || c.Error == nil {
					t.Fatalf("complete %+v", c)
				}
				if c.Error.Code != test.code || !strings.Contains(c.Error.Message, test.text) || c.Error.Retryable != test.retryable {
					t.Errorf("error %+v", *c.Error)
				}
			}
			if test.provider == "plain" {
				s.message("m3", "hi")
				if c := s.complete("m3"); c.StopReason != protocol.StopEndTurn {
					t.Errorf("complete after that %+v", c)
				}
			}
		})
	}
}

func TestCrashClosesOpenToolCalls(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "crash")
	s.complete("m1")
	events := s.events()
	closed := decodeTo[protocol.ToolCallData](t, events[len(events)-2].Data)
	if closed.ToolCallID != "t9" || closed.Status != toolFailed || events[len(events)-1].Type != protocol.EventComplete {
		t.Errorf("events %s", h.summary())
	}
}

func TestCrashBetweenTurnsIsTold(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "die-later")
	s.complete("m1")
	if told := s.notice(protocol.NoticeAgentExited); !strings.Contains(told.Description, "exit status 4") || told.Severity != protocol.SeverityWarning {
		t.Errorf("notice %+v", told)
	}
	s.message("m2", "hi")
	if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
}

// A line of 33 MB took longer than the turn's timeout on a busy machine, and its
// agent was taken for silent in the middle of it. White space can go on for ever
// and is no sign of life.
func TestPartOfALineIsASignOfLife(t *testing.T) {
	for _, test := range []struct{ what, code string }{{"line", ""}, {"blank", protocol.TurnTimedOut}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(c *Config) { c.TurnTimeout = 2 * time.Second })
			s := h.assign("plain")
			s.message("m1", "hi")
			s.complete("m1")
			s.message("m2", "drip 45 "+test.what)
			c := s.complete("m2")
			if code := errorCode(c); code != test.code {
				t.Errorf("%+v, error %q", c, code)
			}
		})
	}
}

func errorCode(c protocol.CompleteData) string {
	if c.Error == nil {
		return ""
	}
	return c.Error.Code
}
