package worker

import (
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

func (s *scene) steer(id, into, text string) uint64 {
	s.h.t.Helper()
	return s.command(protocol.WorkerSteer, protocol.SteerCommand{MessageID: id, Into: into, Content: protocol.Marshal(text), UserID: "u"})
}

func (s *scene) steered(id string) protocol.SteeredData {
	s.h.t.Helper()
	return until(s, protocol.EventSteered, "steered of "+id, func(d protocol.SteeredData) bool { return d.MessageID == id })
}

// outcomes counts the steered events of each message.
func (s *scene) outcomes() map[string]int {
	n := make(map[string]int)
	for _, e := range s.events() {
		if e.Type == protocol.EventSteered {
			n[decodeTo[protocol.SteeredData](s.h.t, e.Data).MessageID]++
		}
	}
	return n
}

// A message reaches the agent in the middle of its turn. What the agent does not take is
// told with the reason, and never sent to it twice.
func TestSteering(t *testing.T) {
	h := start(t, nil, "steers")
	s := h.assign("steers")
	s.message("m1", "listen 2")
	s.output("listening")
	started := until(s, protocol.EventAgentStarted, "agent_started", func(protocol.AgentStartedData) bool { return true })
	if !started.Steering || !started.Reasons || started.History != protocol.HistoryNew {
		t.Errorf("agent_started %+v", started)
	}
	for _, test := range []struct{ text, outcome, detail string }{
		{"left", protocol.SteerInjected, ""},
		{"refuse", protocol.SteerQueued, "not now"},
		{"idle", protocol.SteerQueued, "not at work"},
		{"odd", protocol.SteerQueued, "perhaps"},
	} {
		seq := s.steer(test.text, "m1", test.text)
		d := s.steered(test.text)
		if d.Into != "m1" || d.Outcome != test.outcome || !strings.Contains(d.Detail, test.detail) {
			t.Errorf("%s: %+v", test.text, d)
		}
		// The same command comes again after a reconnect.
		s.repeat(seq, protocol.WorkerSteer, protocol.SteerCommand{MessageID: test.text, Into: "m1", Content: protocol.Marshal(test.text)})
	}
	s.steer("last", "m1", "new")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	if got := s.text("m1"); got != "listening took left took new " {
		t.Errorf("the agent said %q", got)
	}
	s.steer("late", "m1", "late") // its turn is over: the hub knows that, and hears nothing
	s.message("m2", "hi")
	s.complete("m2")
	for id, n := range s.outcomes() {
		if n != 1 || id == "late" {
			t.Errorf("%s has %d outcomes", id, n)
		}
	}
}

// A turn is over only when the agent has said what became of each message: a message
// whose fate nobody knows would run twice, or never.
func TestTurnEndsBehindItsSteering(t *testing.T) {
	h := start(t, nil, "steers")
	s := h.assign("steers")
	s.message("m1", "listen 1")
	s.output("listening")
	s.steer("s1", "m1", "end-first")
	s.complete("m1")
	if d := s.steered("s1"); d.Outcome != protocol.SteerQueued {
		t.Errorf("steered %+v", d)
	}
	var order []string
	for _, e := range s.events() {
		if e.Type == protocol.EventSteered || e.Type == protocol.EventComplete {
			order = append(order, string(e.Type))
		}
	}
	if got := strings.Join(order, " "); got != "steered complete" {
		t.Errorf("order %q", got)
	}
}

// An agent that dies, or is cancelled, with a message in its hands may have taken it in.
func TestSteeringThatIsNotAnswered(t *testing.T) {
	for _, test := range []struct{ text, stop, code string }{
		{"die", protocol.StopError, protocol.TurnAgentCrashed},
		{"silent", protocol.StopCancelled, ""},
	} {
		t.Run(test.text, func(t *testing.T) {
			h := start(t, func(c *Config) { c.CancelGrace = 300 * time.Millisecond }, "steers")
			s := h.assign("steers")
			s.message("m1", "listen 2")
			s.output("listening")
			s.steer("s1", "m1", test.text)
			if test.stop == protocol.StopCancelled {
				s.output("took silent")
				s.cancel("m1")
			}
			c := s.complete("m1")
			if c.StopReason != test.stop || test.code != "" && c.Error.Code != test.code {
				t.Errorf("complete %+v", c)
			}
			if d := s.steered("s1"); d.Outcome != protocol.SteerInjected || d.Detail == "" {
				t.Errorf("steered %+v", d)
			}
		})
	}
}

// An agent that cannot be steered, or is not at work yet, does not get the message.
func TestSteeringOfOthers(t *testing.T) {
	h := start(t, nil, "never-ready")
	s := h.assign("plain")
	s.message("m1", "hang")
	s.output("hanging")
	s.steer("s1", "m1", "left")
	if d := s.steered("s1"); d.Outcome != protocol.SteerQueued || !strings.Contains(d.Detail, "takes no messages") {
		t.Errorf("steered %+v", d)
	}
	other := h.assign("never-ready", func(a *protocol.Assign) { a.SessionID = "s2" })
	other.message("m1", "hang")
	other.steer("s1", "m1", "left")
	if d := other.steered("s1"); d.Outcome != protocol.SteerQueued || !strings.Contains(d.Detail, "did not work") {
		t.Errorf("steered %+v", d)
	}
}
