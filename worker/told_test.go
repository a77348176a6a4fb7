package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// eventsOf are the data of all events of a type.
func eventsOf[T any](t *testing.T, s *scene, kind protocol.EventType) []T {
	t.Helper()
	var all []T
	for _, e := range s.events() {
		if e.Type == kind {
			all = append(all, decodeTo[T](t, e.Data))
		}
	}
	return all
}

func TestWhatTheAgentTellsOfItsSession(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "tell all")
	s.complete("m1")
	if got := string(protocol.Marshal(eventsOf[protocol.CommandsData](t, s, protocol.EventCommands))); got != `[{"availableCommands":[`+
		`{"name":"compact","description":"Compact the context"},{"name":"review","description":"Review","input":{"hint":"what"}},{"name":"bare","description":""}]}]` {
		t.Errorf("commands %s", got)
	}
	if got := string(protocol.Marshal(eventsOf[protocol.UsageData](t, s, protocol.EventUsage))); got !=
		`[{"messageId":"m1","used":53000,"size":200000,"cost":{"amount":0.42,"currency":"USD"}}]` {
		t.Errorf("usage %s", got)
	}
	if got := string(protocol.Marshal(eventsOf[protocol.SessionInfoData](t, s, protocol.EventSessionInfo))); got != `[{"title":"Fix the login bug"},{"title":""}]` {
		t.Errorf("titles %s", got)
	}
	// Without a title it is for programs.
	if u := s.update("session_info_update"); strings.Contains(string(u.Raw), "title") {
		t.Errorf("update %s", u.Raw)
	}
	s.message("m2", "tell all") // nothing is new, but that the title comes back
	s.complete("m2")
	if n := len(eventsOf[protocol.CommandsData](t, s, protocol.EventCommands)) + len(eventsOf[protocol.UsageData](t, s, protocol.EventUsage)); n != 2 {
		t.Errorf("%d events tell the same again", n)
	}
}

// Counts that are none are left out, and what is left over is still told.
func TestOddUsage(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "tell odd-usage")
	s.complete("m1")
	if got := string(protocol.Marshal(eventsOf[protocol.UsageData](t, s, protocol.EventUsage))); got !=
		`[{"messageId":"m1","used":12},{"messageId":"m1","size":0},{"messageId":"m1","cost":{"amount":1,"currency":"credits"}}]` {
		t.Errorf("usage %s", got)
	}
	if n := len(eventsOf[protocol.AgentUpdateData](t, s, protocol.EventAgentUpdate)); n != 2 { // they say nothing
		t.Errorf("%d updates", n)
	}
}

func TestThousandCommands(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "tell thousand")
	s.complete("m1")
	all := eventsOf[protocol.CommandsData](t, s, protocol.EventCommands)
	if len(all) != 1 || !all[0].Truncated || len(all[0].AvailableCommands) < 100 || len(all[0].AvailableCommands) > protocol.MaxAgentCommands {
		t.Fatalf("%d events: %.300s", len(all), protocol.Marshal(all))
	}
	if n := len(protocol.Marshal(all[0])); n > protocol.MaxCommandsBytes {
		t.Errorf("%d bytes", n)
	}
	for i, c := range all[0].AvailableCommands {
		if c.Name != fmt.Sprint("c", i) || len(c.Description) > protocol.MaxCommandDescription {
			t.Errorf("command %d is %s with %d bytes", i, c.Name, len(c.Description))
		}
	}
}

// An agent that counts all turns together has its turns counted apart.
func TestUsageOfAnAgentThatCountsItsSession(t *testing.T) {
	for totals, want := range map[bool]string{false: "12 12 12", true: "12 0 0"} {
		h := start(t, func(c *Config) {
			p := c.Providers["plain"]
			p.UsageTotals = totals
			c.Providers["plain"] = p
		})
		s := h.assign("plain")
		var got []string
		for _, id := range []string{"m1", "m2", "m3"} { // its answers say 12 each time
			s.message(id, "hi")
			got = append(got, fmt.Sprint(protocol.ReadTokens(s.complete(id).Usage).Total))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("totals %v: %v, want %s", totals, got, want)
		}
	}
}

// An agent that tells its usage and its title without an end holds up nothing else: of
// thousands of updates, few become events. The newest of each is told before the turn ends.
func TestFloodOfWhatIsTold(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "tell flood")
	s.complete("m1")
	usage, titles := eventsOf[protocol.UsageData](t, s, protocol.EventUsage), eventsOf[protocol.SessionInfoData](t, s, protocol.EventSessionInfo)
	if n := len(usage) + len(titles); n > 3000 {
		t.Errorf("%d events of 6001 updates", n)
	}
	last := usage[len(usage)-1]
	if last.MessageID != "m1" || last.Cost == nil || last.Cost.Amount != 3 || titles[len(titles)-1].Title != "3000" {
		t.Errorf("told last: %s, %+v", protocol.Marshal(last), titles[len(titles)-1])
	}
	used := uint64(0)
	for _, u := range usage {
		if u.Used != nil {
			used = max(used, *u.Used)
		}
	}
	if used != 3000 {
		t.Errorf("used %d", used)
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	count := func() (n int) {
		for p.may(now) {
			n++
		}
		return n
	}
	if n := count(); n != tellBurst {
		t.Errorf("%d at once", n)
	}
	now = now.Add(5*tellEvery + tellEvery/2)
	if n := count(); n != 5 {
		t.Errorf("%d after five times", n)
	}
	now = now.Add(time.Hour)
	if n := count(); n != tellBurst {
		t.Errorf("%d after an hour", n)
	}
}
