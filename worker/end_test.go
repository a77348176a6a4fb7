package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

func TestCloseEndsTheAgentAndItsChildren(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "child")
	s.h.wait("the child's pid", func() bool { return len(s.h.events[s.assignment]) > 2 })
	judge.Within(t, patience, "the child", func() bool {
		return strings.Contains(strings.Join(processesIn(t, h.worker.cfg.Root), " "), "sleep 300")
	})
	s.close()
	if r := s.released(); r.Reason != protocol.ReleaseClosed {
		t.Errorf("release %+v", r)
	}
	assertNoProcess(t, h.worker.cfg.Root)
}

func TestRevokeEndsTheAgentWithoutAWord(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "hang")
	s.output("hanging")
	h.send(protocol.FrameRevoke, protocol.Revoke{SessionID: "s1", Assignment: s.assignment})
	judge.Within(t, patience, "the session's end", func() bool { return h.worker.find("s1", s.assignment) == nil })
	assertNoProcess(t, h.worker.cfg.Root)
	for _, e := range s.events() {
		if e.Type == protocol.EventComplete {
			t.Error("complete after a revoke")
		}
	}
	if len(h.releases) > 0 {
		t.Errorf("releases %+v", h.releases)
	}
}

func TestNewerAssignmentReplacesTheOlder(t *testing.T) {
	h := start(t, func(c *Config) { c.Capacity = 1 }, "ignore-term")
	old := h.assign("ignore-term")
	old.message("m1", "hang")
	old.output("hanging")
	s := h.assign("plain")
	s.message("m2", "hi")
	if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	if n := len(old.sinceReady()); n != 1 { // hanging
		t.Errorf("%d events of the older assignment after its start", n)
	}
}

// shortIdle also runs from an assignment to its first message, which must not come
// too late on a busy machine.
const shortIdle = time.Second

func TestIdleAgentIsStopped(t *testing.T) {
	h := start(t, func(c *Config) { c.AgentIdle = shortIdle })
	s := h.assign("plain")
	s.message("m1", "hi")
	s.complete("m1")
	if r := s.released(); r.Reason != protocol.ReleaseIdle || !r.Retry {
		t.Errorf("release %+v", r)
	}
	assertNoProcess(t, h.worker.cfg.Root)
	judge.Within(t, patience, "the session is forgotten", func() bool { return h.worker.find("s1", s.assignment) == nil })
}

// A message that comes while the idle agent is being stopped calls the release
// off, and runs in a new agent.
func TestMessageCallsTheIdleEndOff(t *testing.T) {
	h := start(t, func(c *Config) { c.AgentIdle, c.StopGrace = shortIdle, 2*time.Second }, "note-term+ignore-eof")
	s := h.assign("note-term_ignore-eof")
	s.message("m1", "hi")
	s.complete("m1")
	judge.Within(t, patience, "the stop", func() bool {
		_, err := os.Stat(filepath.Join(h.worker.cfg.Root, "term"))
		return err == nil
	})
	s.message("m2", "hi")
	if c := s.complete("m2"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	starts := 0
	for _, e := range s.events() {
		if e.Type == protocol.EventAgentStarted {
			starts++
		}
	}
	if starts != 2 {
		t.Errorf("%d agents were started", starts)
	}
	s.released()
}
