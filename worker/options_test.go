package worker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// rich are providers of a rich agent that asks in "ask" and "plan". The file also allows
// "auto", in which it does not ask, and never "yolo".
func rich(c *Config) {
	for name, p := range c.Providers {
		if strings.HasPrefix(name, "rich") {
			p.AskingModes, p.AllowedModes = []string{"ask", "plan"}, []string{"auto"}
			c.Providers[name] = p
		}
	}
	c.CancelGrace = 2 * time.Second
}

// options waits for a list that fits.
func (s *scene) options(what string, fits func(protocol.WorkerOptionsData) bool) protocol.WorkerOptionsData {
	s.h.t.Helper()
	return until(s, protocol.EventConfigOptions, what, fits)
}

// answer waits for the list that answers a command.
func (s *scene) answer(command uint64) protocol.WorkerOptionsData {
	s.h.t.Helper()
	return s.options("the answer to a change", func(d protocol.WorkerOptionsData) bool { return d.Command >= command })
}

func (s *scene) set(id string, v protocol.OptionValue) uint64 {
	s.h.t.Helper()
	return s.command(protocol.WorkerSetOption, protocol.SetOptionCommand{ConfigID: id, Value: v, By: "ann"})
}

// noticed waits for a notice, and returns its text.
func (s *scene) noticed(kind string) string {
	s.h.t.Helper()
	return until(s, protocol.EventNotice, kind, func(n protocol.NoticeData) bool { return n.Kind == kind }).Description
}

func valueOf(t *testing.T, d protocol.WorkerOptionsData, id string) protocol.OptionValue {
	t.Helper()
	o := protocol.FindOption(d.ConfigOptions, id)
	if o == nil {
		t.Fatalf("there is no option %q in %+v", id, d)
	}
	return o.CurrentValue
}

func TestOptionsOfBothFormsAreOneList(t *testing.T) {
	for _, test := range []struct{ provider, ids string }{
		{"rich", "approval model effort fast grants"}, {"rich_older", "mode model"},
	} {
		t.Run(test.provider, func(t *testing.T) {
			h := start(t, rich, "rich", "rich+older")
			s := h.assign(test.provider)
			s.message("m1", "values")
			s.complete("m1")
			d := s.options("a list", func(protocol.WorkerOptionsData) bool { return true })
			var ids []string
			for _, o := range d.ConfigOptions {
				ids = append(ids, o.ID)
			}
			if got := strings.Join(ids, " "); got != test.ids || d.Truncated || d.Mode != "ask" || d.Asking == nil || !*d.Asking || len(d.Changed) > 0 || d.By != "" {
				t.Errorf("list %q, %+v", got, d)
			}
			modes := protocol.FindOption(d.ConfigOptions, "mode").Options
			var words []string
			for _, v := range modes {
				word := v.Value
				if *v.Asks {
					word += "+asks"
				}
				if *v.Allowed {
					word += "+allowed"
				}
				words = append(words, word)
			}
			if got := strings.Join(words, " "); got != "ask+asks+allowed plan+asks+allowed auto+allowed yolo" {
				t.Errorf("modes %q", got)
			}
		})
	}
}

// People change options while the agent rests, and while it works. What is not allowed, not
// offered or of another type is refused, and everybody sees what holds.
func TestPeopleChangeOptions(t *testing.T) {
	for _, provider := range []string{"rich", "rich_older"} {
		t.Run(provider, func(t *testing.T) {
			h := start(t, rich, "rich", "rich+older")
			s := h.assign(provider)
			s.message("m1", "hello")
			s.complete("m1")
			s.message("m2", "hang")
			s.output("hanging")
			d := s.answer(s.set("mode", protocol.TextValue("auto")))
			if valueOf(t, d, "mode").Text != "auto" || d.Mode != "auto" || *d.Asking || d.By != "ann" || len(d.Changed) != 1 {
				t.Errorf("after the change: %+v", d)
			}
			s.cancel("m2")
			s.complete("m2")
			if d = s.answer(s.set("model", protocol.TextValue("large"))); valueOf(t, d, "model").Text != "large" {
				t.Errorf("after the change: %+v", d)
			}
			for _, wrong := range []struct {
				id string
				v  protocol.OptionValue
			}{
				{"mode", protocol.TextValue("yolo")}, {"mode", protocol.TextValue("none")}, {"mode", protocol.BoolValue(true)},
				{"colour", protocol.TextValue("red")}, {"model", protocol.TextValue("")},
			} {
				before := len(s.events())
				d = s.answer(s.set(wrong.id, wrong.v))
				if d.Mode != "auto" || valueOf(t, d, "model").Text != "large" || d.By != "" || !slices.Contains(d.Changed, wrong.id) && provider == "rich_older" {
					t.Errorf("after %v: %+v", wrong, d)
				}
				news := s.events()[before:]
				if !strings.Contains(string(news[0].Data), protocol.NoticeOptionRefused) {
					t.Errorf("%v was not refused: %s", wrong, news[0].Data)
				}
			}
			s.message("m3", "values")
			s.complete("m3")
			if got := s.text("m3"); !strings.Contains(got, `"mode":"auto","model":"large"`) {
				t.Errorf("the agent has %s", got)
			}
		})
	}
}

func TestOptionsOfOtherKinds(t *testing.T) {
	h := start(t, rich, "rich")
	s := h.assign("rich", func(a *protocol.Assign) {
		a.AgentOptions.Config = map[string]protocol.OptionValue{"fast": protocol.BoolValue(true), "effort": protocol.TextValue("high")}
	})
	s.message("m1", "values")
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, `"effort":"high","fast":true`) {
		t.Errorf("the agent has %s", got)
	}
	if d := s.answer(s.set("fast", protocol.BoolValue(false))); valueOf(t, d, "fast") != protocol.BoolValue(false) {
		t.Errorf("after the change: %+v", d)
	}
	// A model may be called as a mode is. Any other option may not get a mode in by another door.
	if d := s.answer(s.set("model", protocol.TextValue("yolo"))); valueOf(t, d, "model").Text != "yolo" {
		t.Errorf("after the change: %+v", d)
	}
	if d := s.answer(s.set("grants", protocol.TextValue("yolo"))); valueOf(t, d, "grants").Text != "some" {
		t.Errorf("after the change: %+v", d)
	}
	if got := s.noticed(protocol.NoticeOptionRefused); !strings.Contains(got, "does not allow it") {
		t.Errorf("notice %s", got)
	}
}

// An agent that announces what it then refuses, does not do, or never answers.
func TestAgentRefusesWhatItOffers(t *testing.T) {
	for provider, why := range map[string]string{"rich_refuses": "not today", "rich_stays": "the agent has", "rich_mute": "has not answered"} {
		t.Run(provider, func(t *testing.T) {
			h := start(t, rich, "rich+refuses", "rich+stays", "rich+mute")
			s := h.assign(provider)
			s.message("m1", "values")
			s.complete("m1")
			first := s.set("mode", protocol.TextValue("plan"))
			second := s.set("effort", protocol.TextValue("high"))
			if d := s.answer(first); d.Mode != "ask" || !slices.Contains(d.Changed, "approval") {
				t.Errorf("after the first: %+v", d)
			}
			if d := s.answer(second); valueOf(t, d, "effort").Text != "low" {
				t.Errorf("after the second: %+v", d)
			}
			if got := s.noticed(protocol.NoticeOptionRefused); !strings.Contains(got, why) {
				t.Errorf("notice %s", got)
			}
			s.message("m2", "hello") // and it works on
			s.complete("m2")
		})
	}
}

// The agent's own change is seen. One that is not allowed is set back; an agent that does
// not go back is stopped, and so is one that leaves again and again.
func TestAgentChangesItsMode(t *testing.T) {
	for _, provider := range []string{"rich", "rich_older"} {
		t.Run(provider, func(t *testing.T) {
			h := start(t, rich, "rich", "rich+older")
			s := h.assign(provider)
			s.message("m1", "become plan")
			s.complete("m1")
			d := s.options("the agent's change", func(d protocol.WorkerOptionsData) bool { return d.By == protocol.ByAgent })
			if d.Mode != "plan" || !*d.Asking || len(d.Changed) != 1 {
				t.Errorf("after its change: %+v", d)
			}
			s.message("m2", "become yolo")
			if got := s.noticed(protocol.NoticeModeRestored); !strings.Contains(got, "yolo") || !strings.Contains(got, "plan") {
				t.Errorf("notice %s", got)
			}
			s.complete("m2")
			s.message("m3", "values")
			s.complete("m3")
			if got := s.text("m3"); !strings.Contains(got, `"mode":"plan"`) {
				t.Errorf("the agent has %s", got)
			}
			for _, e := range s.events() {
				if e.Type == protocol.EventConfigOptions && decodeTo[protocol.WorkerOptionsData](t, e.Data).Mode == "yolo" {
					t.Errorf("the log has it: %s", e.Data)
				}
			}
		})
	}
	for _, provider := range []string{"rich_stays", "rich_refuses", "rich_mute", "rich_unruly"} {
		t.Run(provider, func(t *testing.T) {
			h := start(t, rich, "rich+stays", "rich+refuses", "rich+mute", "rich+unruly")
			s := h.assign(provider)
			s.message("m1", "values")
			s.complete("m1")
			s.message("m2", "become yolo")
			// The turn can be over before the worker knows that the agent stays there.
			s.h.wait("the end of the agent", func() bool {
				for _, e := range s.h.events[s.assignment] {
					if strings.Contains(string(e.Data), "which the worker's providers file does not allow") && strings.Contains(string(e.Data), "it was stopped") {
						return true
					}
				}
				return false
			})
			s.message("m3", "values") // the next one begins where it may
			s.complete("m3")
			if got := s.text("m3"); !strings.Contains(got, `"mode":"ask"`) {
				t.Errorf("the agent has %s", got)
			}
		})
	}
}

// Ways to a mode that the file does not allow: at creation, from the agent's own history and
// configuration, and from a worker whose file allowed it once.
func TestModesThatAreNotAllowed(t *testing.T) {
	h := start(t, func(c *Config) {
		rich(c)
		c.AgentIdle = shortIdle
		p := c.Providers["rich"]
		p.AskingModes, p.AllowedModes = nil, nil
		c.Providers["old-file"] = p
		p.Mode = "plan"
		c.Providers["old-file-with-mode"] = p
	}, "rich", "rich+older", "rich+starts-yolo", "loads+rich+loads-yolo")
	n := 0
	begin := func(provider, mode string, change ...func(*protocol.Assign)) *scene {
		n++
		return h.assign(provider, append(change, func(a *protocol.Assign) {
			a.SessionID, a.AgentOptions.Mode = "s"+string(rune('0'+n)), mode
		})...)
	}
	for _, provider := range []string{"rich", "rich_older", "old-file", "old-file-with-mode"} {
		s := begin(provider, "yolo")
		s.message("m1", "values")
		if r := s.released(); r.Retry || !strings.HasPrefix(r.Reason, `mode "yolo" not allowed: the worker's providers file must name it`) {
			t.Errorf("%s: released %+v", provider, r)
		}
	}
	for provider, want := range map[string]string{"old-file": "ask", "old-file-with-mode": "plan", "rich_starts-yolo": "ask"} {
		s := begin(provider, "")
		s.message("m1", "values")
		s.complete("m1")
		if got := s.text("m1"); !strings.Contains(got, `"mode":"`+want+`"`) {
			t.Errorf("%s: the agent has %s", provider, got)
		}
	}
	// The history of the agent says one thing and the session another; the file counts.
	s := begin("loads_rich_loads-yolo", "yolo", func(a *protocol.Assign) { a.Resume, a.AgentSession, a.AgentOptions.Model = true, "acp-1", "gone" })
	s.message("m1", "values")
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, `"mode":"ask"`) {
		t.Errorf("after a restart the agent has %s", got)
	}
	if got := s.noticed(protocol.NoticeModeRestored); !strings.Contains(got, `not allowed`) {
		t.Errorf("notice %s", got)
	}
	d := s.options("a list", func(protocol.WorkerOptionsData) bool { return true })
	if d.Mode != "ask" || !slices.Contains(d.Changed, "approval") || !slices.Contains(d.Changed, "model") {
		t.Errorf("list %+v", d)
	}
}

// A thousand options, options that break every rule: the list is cut and says so, and the
// hub takes it. What was cut can be set all the same.
func TestOptionsWithoutEnd(t *testing.T) {
	h := start(t, rich, "rich+thousand+wrong")
	s := h.assign("rich_thousand_wrong")
	s.message("m1", "values")
	s.complete("m1")
	d := s.options("a list", func(protocol.WorkerOptionsData) bool { return true })
	if !d.Truncated || d.Mode != "ask" || len(d.ConfigOptions) > protocol.MaxConfigOptions || len(protocol.Marshal(d)) > protocol.MaxConfigBytes {
		t.Errorf("%d options, %d bytes, %v", len(d.ConfigOptions), len(protocol.Marshal(d)), d.Truncated)
	}
	if len(d.ConfigOptions) < 50 {
		t.Errorf("only %d options are left", len(d.ConfigOptions))
	}
	if d = s.answer(s.set("model", protocol.TextValue("model-999"))); valueOf(t, d, "model").Text != "model-999" {
		t.Errorf("after the change: %+v", valueOf(t, d, "model"))
	}
}

// A change that comes again is made once, and one that comes before the agent is there holds
// for its start.
func TestChangesComeAgainAndEarly(t *testing.T) {
	h := start(t, func(c *Config) { rich(c) }, "rich")
	s := h.assign("rich")
	early := s.set("effort", protocol.TextValue("high"))
	s.message("m1", "values")
	s.complete("m1")
	if got := s.text("m1"); !strings.Contains(got, `"effort":"high"`) {
		t.Errorf("the agent has %s", got)
	}
	s.answer(early)
	s.repeat(early, protocol.WorkerSetOption, protocol.SetOptionCommand{ConfigID: "effort", Value: protocol.TextValue("low"), By: "ann"})
	s.message("m2", "crash") // and the next agent has it again
	s.complete("m2")
	held := s.set("mode", protocol.TextValue("auto")) // without an agent
	if d := s.answer(held); d.Mode != "auto" || d.By != "ann" {
		t.Errorf("without an agent: %+v", d)
	}
	s.message("m3", "values")
	s.complete("m3")
	if got := s.text("m3"); !strings.Contains(got, `"effort":"high"`) || !strings.Contains(got, `"mode":"auto"`) {
		t.Errorf("the next agent has %s", got)
	}
}
