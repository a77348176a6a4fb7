package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/need"
	"sessionhub/protocol"
)

// choose answers an approval with the option of a kind.
func (s *scene) choose(message string, ask protocol.ToolApprovalData, kind string) {
	s.h.t.Helper()
	for _, o := range ask.Options {
		if o.Kind == kind {
			s.command(protocol.WorkerApproval, protocol.ApprovalCommand{
				MessageID: message, InteractionID: ask.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: o.OptionID,
			})
			return
		}
	}
	s.h.t.Fatalf("no option of kind %s in %+v", kind, ask.Options)
}

// The demo agent stands on the ACP SDK: an independent counterpart.
func TestDemoAgent(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Providers["demo"] = Provider{Command: c.Providers["plain"].Command, Args: []string{"demo-agent"}}
	})
	s := h.assign("demo")
	s.message("m1", "good morning")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn || !strings.Contains(s.text("m1"), "good morning") {
		t.Errorf("%+v, %q", c, s.text("m1"))
	}
	s.message("m2", "/write made.txt one two")
	ask := s.approval()
	if ask.Kind != "edit" || ask.Title == "" || len(ask.Content) == 0 {
		t.Errorf("approval %+v", ask)
	}
	s.choose("m2", ask, protocol.AllowOnce)
	s.complete("m2")
	if made, err := os.ReadFile(filepath.Join(h.worker.cfg.Root, "made.txt")); err != nil || strings.TrimSpace(string(made)) != "one two" {
		t.Errorf("file %q, %v", made, err)
	}
	s.message("m3", "/run sleep 300")
	s.choose("m3", s.approval(ask.InteractionID), protocol.AllowOnce)
	judge.Within(t, patience, "the command runs", func() bool {
		return strings.Contains(strings.Join(processesIn(t, h.worker.cfg.Root), " "), "sleep 300")
	})
	s.cancel("m3")
	if c := s.complete("m3"); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}
	s.message("m4", "/fail the model is away")
	if c := s.complete("m4"); c.Error == nil || c.Error.Code != protocol.TurnAgentFailed || !strings.Contains(c.Error.Message, "the model is away") {
		t.Errorf("complete %+v", c)
	}
	s.message("m5", "/crash")
	if c := s.complete("m5"); c.Error == nil || c.Error.Code != protocol.TurnAgentCrashed || !strings.Contains(c.Error.Message, "exit status 3") {
		t.Errorf("complete %+v", c)
	}
	s.message("m6", "/plan")
	s.complete("m6")
	until(s, protocol.EventPlan, "a plan", func(p protocol.PlanData) bool { return len(p.Entries) > 0 })
}

// A real agent against a scripted model.
func TestCodex(t *testing.T) {
	path := need.Codex.Path(t)
	model, err := fakemodel.New(fakemodel.Directives)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	env, err := fakemodel.CodexHome(t.TempDir(), model.URL())
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, func(c *Config) {
		p := Provider{Command: path, Env: make(map[string]string)}
		for _, entry := range env {
			name, value, _ := strings.Cut(entry, "=")
			p.Env[name] = value
		}
		c.Providers["codex"] = p
		c.AgentIdle = time.Hour
	})
	s := h.assign("codex")
	s.message("m1", "say hello my dear world")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn || s.text("m1") != "hello my dear world" {
		t.Errorf("%+v, %q", c, s.text("m1"))
	}

	s.message("m2", "write made.txt one two")
	first := s.approval()
	if first.Kind != "edit" || first.Title == "" {
		t.Errorf("approval %+v", first)
	}
	s.choose("m2", first, protocol.AllowOnce)
	s.complete("m2")
	if made, err := os.ReadFile(filepath.Join(h.worker.cfg.Root, "made.txt")); err != nil || string(made) != "one two\n" {
		t.Errorf("file %q, %v", made, err)
	}

	s.message("m3", "write refused.txt one two")
	second := s.approval(first.InteractionID)
	s.choose("m3", second, protocol.RejectOnce)
	s.complete("m3")
	if _, err := os.Stat(filepath.Join(h.worker.cfg.Root, "refused.txt")); err == nil {
		t.Error("the refused edit was made")
	}

	s.message("m4", "slow")
	until(s, protocol.EventOutput, "a slow piece", func(o protocol.OutputData) bool { return o.MessageID == "m4" })
	s.cancel("m4")
	if c := s.complete("m4"); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}

	s.message("m5", "shell echo one > asked.txt")
	s.approval(first.InteractionID, second.InteractionID)
	s.cancel("m5")
	if c := s.complete("m5"); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}

	// A new process loads what the old one knew, and its replay stays out of
	// the log.
	s.close()
	s.released()
	told := toldSession(s)
	again := h.assign("codex", func(a *protocol.Assign) { a.Resume, a.Message, a.AgentSession = true, h.seq, told })
	again.message("m6", "say still here")
	again.complete("m6")
	if got := again.text("m6"); got != "still here" {
		t.Errorf("text %q", got)
	}
	started := until(again, protocol.EventAgentStarted, "agent_started", func(agentStarted) bool { return true })
	if history := started.History; history == protocol.HistoryNew {
		t.Errorf("history %q", history)
	}
	for _, e := range again.events() {
		if strings.Contains(string(e.Data), "dear") {
			t.Errorf("replayed: %s", e.Data)
		}
	}
}

// toldSession is the agent's own session id, as the hub was told it.
func toldSession(s *scene) string {
	s.h.t.Helper()
	return until(s, protocol.EventStatus, "the agent's session", func(d protocol.WorkerStatusData) bool { return d.AgentSession != "" }).AgentSession
}
