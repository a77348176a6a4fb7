package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// started waits until the agent's turn is over and what it has started, which is
// detached from it, has become so many sleeps.
func (s *scene) started(id string, sleeps int) {
	s.h.t.Helper()
	if c := s.complete(id); c.Error != nil {
		s.h.t.Fatalf("complete %+v", *c.Error)
	}
	judge.Within(s.h.t, patience, "what the agent has started", func() bool {
		return sleeping(s.h, sleeps)
	})
}

// sleeping reports whether beside the agent there are so many sleeps and nothing else.
func sleeping(h *hubEnd, sleeps int) bool {
	all := processesIn(h.t, h.worker.cfg.Root)
	return strings.Count(strings.Join(all, "\n"), ": sleep ") == sleeps && len(all) == sleeps+1
}

// ended waits for the news of what was ended.
func (s *scene) ended() processesEnded {
	s.h.t.Helper()
	n := s.notice(protocol.NoticeProcessesEnded)
	if strings.Contains(n.Text()+string(n.Data), "3333") {
		s.h.t.Errorf("arguments are told: %+v", n)
	}
	e := decodeTo[processesEnded](s.h.t, n.Data)
	for _, p := range e.Processes {
		if p.PID <= 0 || !strings.Contains(n.Description, fmt.Sprintf("%s (%d)", p.Name, p.PID)) {
			s.h.t.Errorf("%+v is not in %q", p, n.Description)
		}
	}
	return e
}

// notice waits for a notice of a kind.
func (s *scene) notice(kind string) protocol.NoticeData {
	s.h.t.Helper()
	return until(s, protocol.EventNotice, kind, func(n protocol.NoticeData) bool { return n.Kind == kind })
}

func (e processesEnded) names() string {
	var names []string
	for _, p := range e.Processes {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A development server that the agent had started was ended ten minutes after the
// last message, while people looked at it, and nobody was told.
func TestAgentWithChildrenStays(t *testing.T) {
	t.Run("until they have ended", func(t *testing.T) {
		t.Parallel()
		h := start(t, func(c *Config) { c.AgentIdle = shortIdle })
		s := h.assign("plain")
		s.message("m1", "orphan 3")
		s.started("m1", 2)
		began := time.Now()
		if r := s.released(); r.Reason != protocol.ReleaseIdle || time.Since(began) < 2*time.Second {
			t.Errorf("release %+v after %v", r, time.Since(began))
		}
		for _, e := range s.events() {
			if strings.Contains(string(e.Data), protocol.NoticeProcessesEnded) {
				t.Errorf("they had ended by themselves: %s", e.Data)
			}
		}
	})
	t.Run("at most for so long", func(t *testing.T) {
		t.Parallel()
		h := start(t, func(c *Config) { c.AgentIdle, c.ChildrenIdle = shortIdle, 3*shortIdle })
		s := h.assign("plain")
		s.message("m1", "orphan 3333")
		s.started("m1", 2)
		if r := s.released(); r.Reason != protocol.ReleaseIdle {
			t.Errorf("release %+v", r)
		}
		if e := s.ended(); e.names() != "sleep sleep" || e.Reason != protocol.ReleaseIdle {
			t.Errorf("ended %+v", e)
		}
		assertNoProcess(t, h.worker.cfg.Root)
		last := s.events()
		if e := last[len(last)-1]; !strings.Contains(string(e.Data), protocol.NoticeProcessesEnded) {
			t.Errorf("the last event is %s", e.Data)
		}
	})
	// What an agent needs to run itself keeps nobody.
	t.Run("not for its own helper", func(t *testing.T) {
		t.Parallel()
		h := start(t, func(c *Config) { c.AgentIdle = shortIdle }, "helper")
		s := h.assign("helper")
		s.message("m1", "hi")
		s.started("m1", 1)
		if r := s.released(); r.Reason != protocol.ReleaseIdle {
			t.Errorf("release %+v", r)
		}
		for _, e := range s.events() {
			if strings.Contains(string(e.Data), protocol.NoticeProcessesEnded) {
				t.Errorf("its helper is named: %s", e.Data)
			}
		}
	})
}

// Whatever ends the agent, the log names what was ended with it.
func TestWhatEndsWithTheAgentIsNamed(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		end          func(*scene)
	}{
		{"its place is wanted", protocol.ReleaseIdle, func(s *scene) {
			s.command(protocol.WorkerClose, protocol.ClosedData{Reason: protocol.ReleaseIdle})
			s.released()
		}},
		{"it crashes", endedAgent, func(s *scene) {
			s.message("m2", "crash")
			if c := s.complete("m2"); errorCode(c) != protocol.TurnAgentCrashed {
				s.h.t.Errorf("complete %+v", c)
			}
		}},
		{"the worker drains", protocol.ReleaseDrained, func(s *scene) {
			if err := s.h.worker.Drain(s.h.t.Context()); err != nil {
				s.h.t.Error(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			s := h.assign("plain")
			s.message("m1", "orphan 3333")
			s.started("m1", 2)
			test.end(s)
			if e := s.ended(); e.names() != "sleep sleep" || e.Reason != test.reason {
				t.Errorf("ended %+v", e)
			}
		})
	}
	t.Run("the turn is cancelled", func(t *testing.T) {
		t.Parallel()
		h := start(t, nil)
		s := h.assign("plain")
		s.message("m1", "orphan 3333")
		s.started("m1", 2)
		s.message("m2", "orphan-hang 3333")
		s.output("hanging")
		judge.Within(t, patience, "two more", func() bool { return sleeping(h, 4) })
		s.cancel("m2")
		s.complete("m2")
		if e := s.ended(); e.names() != "sleep sleep" || e.Reason != endedCancelled {
			t.Errorf("ended %+v", e)
		}
		if !sleeping(h, 2) {
			t.Errorf("of the first turn's processes there are left %q", processesIn(t, h.worker.cfg.Root))
		}
	})
}
