package worker

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

// becomes ends the link, and the next one is to a hub of another version.
func (h *hubEnd) becomes(early bool) {
	h.mu.Lock()
	h.early = early
	conn := h.conn
	h.mu.Unlock()
	_ = conn.Close()
}

// When the hub becomes an older one, nobody can answer what the agent asked in its turn. While
// a question is open, no time of the worker's ends the turn: it would wait for ever.
func TestElicitationWhenTheHubBecomesOlder(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "elicit -")
	s.elicitation()
	h.becomes(true)
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, `"action":"cancel"`) {
		t.Errorf("the agent got %s", got)
	}
}

// A hub that becomes a newer one learns the options and the mode of an agent that runs.
func TestOptionsWhenTheHubBecomesNewer(t *testing.T) {
	t.Parallel()
	h := prepare(t, rich, "rich")
	h.early = true
	h.run()
	s := h.assign("rich", func(a *protocol.Assign) { a.AgentOptions.Mode = "auto" })
	s.message("m1", "hi")
	s.complete("m1")
	if s.count(protocol.EventConfigOptions) > 0 {
		t.Fatal("the older hub got options")
	}
	h.becomes(false)
	told := s.options("the list", func(protocol.WorkerOptionsData) bool { return true })
	if told.Mode != "auto" || told.Asking == nil || *told.Asking || len(told.Changed) > 0 || told.By != "" {
		t.Errorf("told %+v", told)
	}
}

// An agent without options has none to tell.
func TestNoOptionsWhenTheHubBecomesNewer(t *testing.T) {
	s := prompted(t)
	s.out.meet(s.w.hub)
	s.opt.agents = &options{}
	s.onOtherHub()
	if got := s.published(t, protocol.EventConfigOptions); len(got) > 0 {
		t.Errorf("told %s", got)
	}
}
