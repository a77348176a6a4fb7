package protocol

import (
	"encoding/json"
	"slices"
	"testing"
)

// What an earlier worker told people by an agent_update is the same notice today.
func TestNoticesOfEarlierWorkers(t *testing.T) {
	for _, c := range []struct{ kind, raw, text, data string }{
		{"processes_ended", `{"message":"What the cancelled turn had started was ended: node (4211)","reason":"cancelled","processes":[{"pid":4211,"name":"node"}]}`,
			"What the cancelled turn had started was ended: node (4211)", `{"processes":[{"pid":4211,"name":"node"}],"reason":"cancelled"}`},
		{"processes_ended", `{"message":"all"}`, "What the agent had started was ended with it: all", ""},
		{"history_lost", `{"message":"session/load: no such session"}`, "The agent does not know what was said before: session/load: no such session", ""},
		{"agent_exited", `{"message":"exit status 4"}`, "The agent has ended by itself; the next message starts it again: exit status 4", ""},
	} {
		n, ok := NoticeOf(AgentUpdateData{Kind: c.kind, Raw: json.RawMessage(c.raw)})
		if !ok || n.Kind != c.kind || !n.Severity.Known() || n.Text() != c.text || string(n.Data) != c.data {
			t.Errorf("%s %s became %v %+v %s", c.kind, c.raw, ok, n, n.Data)
		}
	}
	for _, u := range []AgentUpdateData{
		{Kind: "usage_update", Raw: json.RawMessage(`{"message":"x"}`)},
		{Kind: "agent", Raw: json.RawMessage(`{"message":"x"}`)},
		{Kind: "history_lost", Raw: json.RawMessage(`{"message":7}`)},
		{Kind: "history_lost", Raw: json.RawMessage(`[]`)},
		{Kind: "history_lost", Raw: json.RawMessage(`{"reason":"x"}`)},
		{Kind: "history_lost"},
	} {
		if n, ok := NoticeOf(u); ok {
			t.Errorf("%s %s became %+v", u.Kind, u.Raw, n)
		}
	}
}

// A hub names everything that it takes; one that names nothing takes what the first
// version of the link had.
func TestHubTakesWhatItNames(t *testing.T) {
	first, now := Welcome{}, Welcome{Events: WorkerEvents()}
	for _, e := range append(slices.Clone(EventTypes), EventApprovalContent) {
		if now.Takes(e) != e.WorkerMaySend() {
			t.Errorf("today's hub takes %s: %v, a worker may send it: %v", e, now.Takes(e), e.WorkerMaySend())
		}
		if first.Takes(e) && !now.Takes(e) {
			t.Errorf("only the first hub takes %s", e)
		}
	}
	if first.Takes(EventNotice) || !now.Takes(EventNotice) {
		t.Error("notice is of today")
	}
}
