package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// flags are files by which a test tells its agent to go on.
type flags struct {
	t   *testing.T
	dir string
}

func newFlags(t *testing.T) flags { return flags{t, t.TempDir()} }

func (f flags) path(name string) string { return filepath.Join(f.dir, name) }

func (f flags) raise(name string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// quickly makes the end of the background quick.
func quickly(c *Config) { c.BackgroundQuiet = 200 * time.Millisecond }

// inBackground is a session whose agent does this work behind its first turn, m1, which
// is over. The agent takes a word wait:NAME for the flag of that name.
func inBackground(t *testing.T, work string) (*scene, flags) {
	t.Helper()
	f := newFlags(t)
	s := start(t, quickly).assign("plain")
	s.message("m1", "later "+strings.ReplaceAll(work, "wait:", "wait:"+f.path("")+string(filepath.Separator)))
	s.complete("m1")
	return s, f
}

// behind are the events behind the complete of a message, in short words. Those of the
// background have no message.
// The caller holds the lock.
func (s *scene) behind(id string) (words []string) {
	s.h.t.Helper()
	found := false
	for _, e := range s.h.events[s.assignment] {
		data := decodeTo[map[string]any](s.h.t, e.Data)
		if !found {
			found = e.Type == protocol.EventComplete && data["messageId"] == id
			continue
		}
		word := string(e.Type)
		for _, key := range []string{"messageId", "status", "text", "toolCallId", "outcome", "stopReason", "kind"} {
			if v, ok := data[key]; ok {
				word += fmt.Sprintf(" %v", v)
			}
		}
		words = append(words, word)
	}
	return words
}

// wantBehind waits until so many events are behind the complete of a message, and compares
// them.
func (s *scene) wantBehind(id string, want ...string) {
	s.h.t.Helper()
	var got []string
	s.h.wait("what comes behind "+id, func() bool {
		got = s.behind(id)
		return len(got) >= len(want)
	})
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.h.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// statusIs waits for the n-th status of the background that says so.
func (s *scene) statusIs(status protocol.Status, n int) {
	s.h.t.Helper()
	until(s, protocol.EventStatus, fmt.Sprintf("status %s, %d", status, n), func(d protocol.StatusData) bool {
		if d.Status == status && d.MessageID == "" {
			n--
		}
		return n == 0
	})
}

func (s *scene) approve(interaction, option string) uint64 {
	s.h.t.Helper()
	return s.command(protocol.WorkerApproval, protocol.ApprovalCommand{InteractionID: interaction, Outcome: protocol.OutcomeSelected, OptionID: option})
}

// What an agent said and did behind the end of its turn was folded away as "debug", and the
// session said that it was idle.
func TestWorkInTheBackgroundIsTold(t *testing.T) {
	t.Parallel()
	s, _ := inBackground(t, "say:one think:two plan:three tool:b1:in_progress update:b1:completed")
	s.wantBehind("m1", "status running", "output one text", "output two thought", "plan", "tool_call in_progress b1 execute",
		"tool_call completed b1 execute", "status idle")
	s.message("m2", "hi")
	s.complete("m2")
	if got := s.text("m2"); got != "hello" {
		t.Errorf("text %q", got)
	}
}

// A question of a background sub-agent was answered with no, without a trace.
func TestQuestionInTheBackground(t *testing.T) {
	t.Parallel()
	s, _ := inBackground(t, "ask:b1 say:done")
	ask := s.approval()
	if ask.MessageID != "" || ask.Title != "Push" || ask.ToolCallID != "b1" || string(ask.Input) != `{"command":"git push"}` {
		t.Errorf("asked %+v", ask)
	}
	time.Sleep(2 * s.h.worker.cfg.BackgroundQuiet) // an open question keeps it going, however long nobody answers
	seq := s.approve(ask.InteractionID, "yes")
	s.repeat(seq, protocol.WorkerApproval, protocol.ApprovalCommand{InteractionID: ask.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: "no"})
	s.wantBehind("m1", "status running", "tool_call b1 execute", "tool_approval b1 execute",
		`output answer {"outcome":{"optionId":"yes","outcome":"selected"}} text`, "output done text", "status idle")
}

// The hub repeats what it has said over a new link: only what is new counts.
func TestAnswersOfTheBackgroundComeAgain(t *testing.T) {
	t.Parallel()
	s, f := inBackground(t, "ask:b1 wait:second ask:b2")
	first := s.approval()
	yes := protocol.ApprovalCommand{InteractionID: first.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: "yes"}
	seq := s.command(protocol.WorkerApproval, yes)
	s.output("selected")
	s.h.mu.Lock()
	s.h.conn.Close()
	s.h.mu.Unlock()
	f.raise("second")
	second := s.approval(first.InteractionID)
	s.repeat(seq, protocol.WorkerApproval, protocol.ApprovalCommand{InteractionID: second.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: "no"})
	s.approve(second.InteractionID, "yes")
	s.statusIs(protocol.StatusIdle, 1)
	if text := s.text(""); strings.Count(text, `"yes"`) != 2 {
		t.Errorf("the agent got %s", text)
	}
}

// A message that comes meanwhile runs. What began in the background stays there.
func TestTurnBesideTheBackground(t *testing.T) {
	t.Parallel()
	s, f := inBackground(t, "tool:b1:in_progress wait:on update:b1 ask:b1 tool:t1:in_progress say:mine update:b1:completed")
	s.statusIs(protocol.StatusRunning, 1)
	s.message("m2", "hang")
	s.output("hanging")
	f.raise("on")
	ask := s.approval()
	if ask.MessageID != "" {
		t.Errorf("asked %+v", ask)
	}
	// The turn's cancel does not end that question.
	s.cancel("m2")
	s.complete("m2")
	s.approve(ask.InteractionID, "yes")
	s.wantBehind("m2", `output answer {"outcome":{"optionId":"yes","outcome":"selected"}} text`, "tool_call in_progress t1 execute",
		"output mine text", "tool_call completed b1 execute")
}

// The worker closes the calls that a turn leaves open. An agent can go on about them.
func TestCallOfTheTurnGoesOnInTheBackground(t *testing.T) {
	t.Parallel()
	h := start(t, quickly)
	s := h.assign("plain")
	// Neither a word about a call that has ended, nor one about an unknown call, opens it.
	s.message("m1", "raw {\"sessionUpdate\":\"tool_call\",\"toolCallId\":\"t1\",\"status\":\"in_progress\"}")
	s.complete("m1")
	s.message("m2", "later update:t1 update:unknown")
	s.complete("m2")
	s.wantBehind("m2", "status running", "tool_call t1 execute", "tool_call unknown execute", "status idle")
	s.message("m3", "later update:t1:in_progress update:t1:completed tool:t2 update:t2:failed")
	s.complete("m3")
	s.statusIs(protocol.StatusIdle, 2)
}

func TestBackgroundIsCancelled(t *testing.T) {
	for _, test := range []struct {
		name, provider, then string
		dies                 bool
	}{
		{"the agent obeys", "plain", "cancelled update:b1:failed", false},
		{"the agent ignores it", "ignore-cancel_ignore-term", "cancelled", true},
		{"with a question", "plain", "ask:b1 update:b1:failed", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(c *Config) {
				quickly(c)
				c.CancelGrace = 30 * time.Second
				if test.dies {
					c.CancelGrace = 200 * time.Millisecond
				}
			}, "ignore-cancel+ignore-term")
			s := h.assign(test.provider)
			s.message("m1", "later tool:b1:in_progress "+test.then)
			s.complete("m1")
			until(s, protocol.EventToolCall, "the call", func(protocol.ToolCallData) bool { return true })
			if strings.HasPrefix(test.then, "ask") {
				s.approval()
			}
			s.cancel("")
			s.cancel("m1") // late: not ours
			s.statusIs(protocol.StatusIdle, 1)
			until(s, protocol.EventToolCall, "its end", func(c protocol.ToolCallData) bool {
				return c.MessageID == "" && c.ToolCallID == "b1" && c.Status == toolFailed
			})
			if test.dies {
				assertNoProcess(t, h.worker.cfg.Root)
			}
			s.message("m2", "hi")
			if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
				t.Errorf("complete %+v", c)
			}
		})
	}
}

// With the agent's process, everything ends that it had open in the background.
func TestBackgroundEndsWithItsAgent(t *testing.T) {
	t.Parallel()
	s, f := inBackground(t, "tool:b1:in_progress wait:on die")
	s.statusIs(protocol.StatusRunning, 1)
	f.raise("on")
	s.wantBehind("m1", "status running", "tool_call in_progress b1 execute", "tool_call failed b1", "status idle", "notice "+protocol.NoticeAgentExited)
	s.message("m2", "later ask:b2")
	s.complete("m2")
	ask := s.approval()
	s.message("m3", "crash")
	s.complete("m3")
	taken := until(s, protocol.EventApprovalResolved, "the withdrawal", func(protocol.ApprovalResolvedData) bool { return true })
	if taken.InteractionID != ask.InteractionID || taken.Outcome != protocol.OutcomeCancelled {
		t.Errorf("withdrawn %+v", taken)
	}
	s.statusIs(protocol.StatusIdle, 2)
}

func TestAgentInTheBackgroundIsNotIdle(t *testing.T) {
	t.Run("while it asks", func(t *testing.T) {
		t.Parallel()
		h := start(t, func(c *Config) { quickly(c); c.AgentIdle = shortIdle })
		s := h.assign("plain")
		s.message("m1", "later ask:b1")
		s.complete("m1")
		ask := s.approval()
		time.Sleep(3 * shortIdle)
		s.approve(ask.InteractionID, "yes")
		s.output("selected") // it lived
		if r := s.released(); r.Reason != protocol.ReleaseIdle {
			t.Errorf("release %+v", r)
		}
	})
	t.Run("for so long at most", func(t *testing.T) {
		t.Parallel()
		h := start(t, func(c *Config) { quickly(c); c.AgentIdle, c.ChildrenIdle = shortIdle, 3*shortIdle })
		s := h.assign("plain")
		s.message("m1", "later tool:b1:in_progress")
		s.complete("m1")
		if r := s.released(); r.Reason != protocol.ReleaseIdle {
			t.Errorf("release %+v", r)
		}
		s.wantBehind("m1", "status running", "tool_call in_progress b1 execute", "tool_call failed b1", "status idle")
	})
}

// An agent may end what it does in the background when its worker is stopped.
func TestDrainWaitsForTheBackground(t *testing.T) {
	t.Parallel()
	f := newFlags(t)
	h := start(t, quickly)
	s := h.assign("plain")
	s.message("m1", "later tool:b1:in_progress wait:"+f.path("on")+" update:b1:completed")
	s.complete("m1")
	s.statusIs(protocol.StatusRunning, 1)
	drained := make(chan error, 1)
	go func() { drained <- h.worker.Drain(t.Context()) }()
	<-h.worker.draining
	f.raise("on")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	s.wantBehind("m1", "status running", "tool_call in_progress b1 execute", "tool_call completed b1 execute", "status idle")
	if r := s.released(); r.Reason != protocol.ReleaseDrained {
		t.Errorf("release %+v", r)
	}
}

// An older hub takes nothing outside of a turn: it gets what it always got.
func TestBackgroundWithAnOlderHub(t *testing.T) {
	t.Parallel()
	h := prepare(t, quickly)
	h.early = true
	h.run()
	s := h.assign("plain")
	s.message("m1", "later say:one tool:b1:in_progress ask:b1 say:two")
	s.complete("m1")
	s.wantBehind("m1", "agent_update agent_message_chunk", "agent_update tool_call", "agent_update agent_message_chunk", "agent_update agent_message_chunk")
	if last := s.events()[len(s.events())-2]; !strings.Contains(string(last.Data), `outcome\":\"cancelled`) {
		t.Errorf("the agent got %s", last.Data)
	}
}

// When the hub becomes an older one, nobody will answer what was asked in the background.
func TestBackgroundWhenTheHubBecomesOlder(t *testing.T) {
	t.Parallel()
	h := start(t, quickly)
	s := h.assign("plain")
	s.message("m1", "later ask:b1")
	s.complete("m1")
	s.approval()
	h.mu.Lock()
	h.early = true
	h.conn.Close()
	h.mu.Unlock()
	told := until(s, protocol.EventAgentUpdate, "what the agent got", func(u protocol.AgentUpdateData) bool { return strings.Contains(string(u.Raw), "answer") })
	if !strings.Contains(string(told.Raw), `outcome\":\"cancelled`) {
		t.Errorf("the agent got %s", told.Raw)
	}
	s.message("m2", "hi")
	s.complete("m2")
}

func TestQuestionInTheBackgroundIsWithdrawn(t *testing.T) {
	t.Parallel()
	f := newFlags(t)
	h := start(t, quickly)
	s := h.assign("plain")
	s.message("m1", "later withdraw:"+f.path("on"))
	s.complete("m1")
	ask := s.approval()
	f.raise("on")
	until(s, protocol.EventApprovalResolved, "the withdrawal", func(r protocol.ApprovalResolvedData) bool { return r.InteractionID == ask.InteractionID })
	s.command(protocol.WorkerApproval, protocol.ApprovalCommand{InteractionID: ask.InteractionID, Outcome: protocol.OutcomeCancelled})
	s.output("-32800")
	s.statusIs(protocol.StatusIdle, 1)
}

// A drain waits for what an agent does in the background, and no longer than for the agent.
func TestDrainEndsWithTheAgentInTheBackground(t *testing.T) {
	t.Parallel()
	f := newFlags(t)
	h := start(t, quickly)
	s := h.assign("plain")
	s.message("m1", "later tool:b1:in_progress wait:"+f.path("on")+" die")
	s.complete("m1")
	s.statusIs(protocol.StatusRunning, 1)
	drained := make(chan error, 1)
	go func() { drained <- h.worker.Drain(t.Context()) }()
	<-h.worker.draining
	f.raise("on")
	if r := s.released(); r.Reason != protocol.ReleaseDrained || !r.Retry {
		t.Errorf("release %+v", r)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
