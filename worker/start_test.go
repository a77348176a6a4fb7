package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestRefusedSettingsFailTheSession(t *testing.T) {
	for _, test := range []struct {
		name, provider, mode, model, reason string
	}{
		{"mode", "plain", "yolo", "", `mode "yolo" not offered: offered auto, ask`},
		{"mode of an agent without modes", "no-modes", "ask", "", `mode "ask" not offered: offered nothing`},
		{"mode that slips", "mode-slips", "ask", "", `mode "ask" was not kept: the agent is in "auto"`},
		{"option that slips", "config-options_option-slips", "ask", "", `mode "ask" was not kept: the agent has "auto"`},
		{"model", "plain", "", "huge", `model "huge" not offered: offered small, large`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, nil, "no-modes", "mode-slips", "config-options+option-slips")
			s := h.assign(test.provider, func(a *protocol.Assign) {
				a.AgentOptions = protocol.AgentOptions{Mode: test.mode, Model: test.model}
			})
			s.message("m1", "hi")
			if r := s.released(); r.Retry || r.Reason != test.reason {
				t.Errorf("release %+v", r)
			}
			assertNoProcess(t, h.worker.cfg.Root)
		})
	}
}

func TestSettingsReachTheAgent(t *testing.T) {
	for _, test := range []struct{ provider, mode, model, want string }{
		{"plain", "ask", "large", "ask large"},
		{"plain", "", "", "auto small"},
		{"config-options", "ask", "", "ask small"},
		{"with-defaults", "", "", "ask large"},
		{"with-defaults", "auto", "small", "auto small"},
	} {
		t.Run(test.provider+" "+test.want, func(t *testing.T) {
			h := start(t, func(c *Config) {
				p := c.Providers["plain"]
				p.Mode, p.Model = "ask", "large"
				c.Providers["with-defaults"] = p
			}, "config-options")
			s := h.assign(test.provider, func(a *protocol.Assign) {
				a.AgentOptions = protocol.AgentOptions{Mode: test.mode, Model: test.model}
			})
			s.message("m1", "settings")
			s.complete("m1")
			if got := s.text("m1"); got != test.want {
				t.Errorf("the agent has %q", got)
			}
		})
	}
}

func TestWorkingDirectory(t *testing.T) {
	h := start(t, nil)
	dir := filepath.Join(h.worker.cfg.Root, "project")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := h.assign("plain", func(a *protocol.Assign) { a.WorkingDirectory = "project" })
	s.message("m1", "cwd")
	s.complete("m1")
	real, _ := filepath.EvalSymlinks(dir)
	if got := s.text("m1"); got != real {
		t.Errorf("the agent is in %q", got)
	}

	s = h.assign("plain", func(a *protocol.Assign) { a.SessionID, a.WorkingDirectory = "s2", "../elsewhere" })
	s.message("m1", "cwd")
	if r := s.released(); r.Retry || !strings.HasPrefix(r.Reason, "working_directory_not_allowed: ") {
		t.Errorf("release %+v", r)
	}
}

func TestEnvironmentOfAgents(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Environ = []string{"PATH=/bin:/usr/bin", "HOME=/home/u", "LC_ALL=C", "SESSIONHUB_API_KEY=secret", "AWS_KEY=secret", "MODEL_KEY=given", "GOCOVERDIR="}
		p := c.Providers["plain"]
		p.Env, p.InheritEnv = map[string]string{"EXTRA": "1", "HOME": "/elsewhere"}, []string{"MODEL_*"}
		c.Providers["plain"] = p
	})
	s := h.assign("plain")
	s.message("m1", "env")
	s.complete("m1")
	got := s.text("m1")
	for _, want := range []string{"PATH=/bin:/usr/bin", "HOME=/elsewhere", "LC_ALL=C", "MODEL_KEY=given", "EXTRA=1"} {
		if !strings.Contains("\n"+got+"\n", "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	for _, secret := range []string{"secret", "SESSIONHUB_API_KEY", "AWS_KEY"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s reached the agent", secret)
		}
	}
}

func TestHistoryComesBackAndItsReplayIsDiscarded(t *testing.T) {
	h := start(t, func(c *Config) { c.AgentIdle = shortIdle }, "loads")
	s := h.assign("loads")
	s.message("m1", "hi")
	s.complete("m1")
	s.released()
	told := toldSession(s)
	s = h.assign("loads", func(a *protocol.Assign) { a.Resume, a.Message, a.AgentSession = true, h.seq, told })
	s.message("m2", "hi")
	s.complete("m2")
	started := until(s, protocol.EventAgentStarted, "agent_started", func(agentStarted) bool { return true })
	if started.History != protocol.HistoryLoaded {
		t.Errorf("started %+v", started)
	}
	for _, e := range s.events() {
		if strings.Contains(string(e.Data), "old ") {
			t.Errorf("replayed: %s", e.Data)
		}
	}
}

func TestLostHistoryIsTold(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "crash")
	s.complete("m1")
	s.message("m2", "hi")
	s.complete("m2")
	s.notice(protocol.NoticeHistoryLost)
}
