package chat

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestWhatIsToldIsShown(t *testing.T) {
	tr := newTranscript(painter{}, 80)
	tr.me = "me"
	tell := func(kind protocol.EventType, data any) {
		tr.event(protocol.Event{Type: kind, Data: protocol.Marshal(data)})
	}
	if got := tr.told.commandLines() + tr.told.context(); got != "The agent has told of no commands." {
		t.Errorf("at first %q", got)
	}
	tell(protocol.EventSessionInfo, protocol.SessionInfoData{Title: "Fix it", By: "anna"})
	tell(protocol.EventCommands, protocol.CommandsData{AvailableCommands: []protocol.AgentCommand{
		{Name: "compact", Description: "Compact"}, {Name: "review", Description: "Review", Input: &protocol.AgentCommandInput{Hint: "what"}},
	}})
	tell(protocol.EventUsage, protocol.UsageData{Used: new(uint64(53_000)), Size: new(uint64(200_000))})
	tell(protocol.EventUsage, protocol.UsageData{Used: new(uint64(60_000))})
	tell(protocol.EventNotice, protocol.NoticeData{Kind: "agent", Severity: protocol.SeverityError, Title: "Out of credit", Description: "Top it up."})
	tell("from_the_future", map[string]int{"odd": 1})
	rows := strings.Join(append(tr.take(), tr.live()...), "\n")
	for _, want := range []string{"This session is called Fix it (anna)", "Out of credit: Top it up."} {
		if !strings.Contains(rows, want) {
			t.Errorf("%q is not in\n%s", want, rows)
		}
	}
	if got := tr.told.title + " " + tr.told.context(); got != "Fix it 30 % of context" {
		t.Errorf("the line says %q", got)
	}
	if got := tr.told.commandLines(); !strings.Contains(got, "  /compact  Compact\n  /review [what]  Review\n") {
		t.Errorf("commands %q", got)
	}
}

func TestUsageLines(t *testing.T) {
	for _, c := range []struct {
		u    *protocol.SessionUsage
		want string
	}{
		{nil, "The agent has told nothing of what it uses."},
		{&protocol.SessionUsage{}, "The agent has told nothing of what it uses."},
		{&protocol.SessionUsage{Used: new(uint64(53_000)), Size: new(uint64(200_000)), Cost: &protocol.Cost{Amount: .42, Currency: "USD"}}, "Context: 53,000 of 200,000 tokens\nCost: 0.42 USD"},
		{&protocol.SessionUsage{Used: new(uint64(999)), InputTokens: 1_000, TotalTokens: 1_234_567}, "Context: 999 tokens\nTokens: 1,234,567, of them 1,000 read, 0 written, 0 read from the cache, 0 written to it, 0 of thoughts"},
	} {
		if got := usageLines(c.u); got != c.want {
			t.Errorf("%+v: %q", c.u, got)
		}
	}
}
