package hub_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"sessionhub/protocol"
)

// A worker of an earlier version tells people something by an agent_update. Readers get
// the notice that it is today.
func TestNoticesOfAnEarlierWorker(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		for i, u := range []protocol.AgentUpdateData{
			{Kind: "history_lost", Raw: json.RawMessage(`{"message":"session/load: gone"}`)},
			{Kind: "processes_ended", Raw: json.RawMessage(`{"message":"What the agent had started was ended with it: sleep (7)","reason":"idle"}`)},
			{Kind: "usage_update", Raw: json.RawMessage(`{"message":"not for people"}`)},
		} {
			p.event(id, 1, uint64(i+1), protocol.EventAgentUpdate, u)
		}
		p.event(id, 1, 4, protocol.EventNotice, protocol.NoticeData{Kind: "agent", Severity: protocol.SeverityError, Title: "Out of credit"})
		p.event(id, 1, 5, protocol.EventNotice, protocol.NoticeData{Kind: "agent", Severity: "fatal", Title: "x"})
		p.complete(id, 1, 6, "m1")
		synctest.Wait()
		var got []string
		for _, e := range w.log(id) {
			switch e.Type {
			case protocol.EventNotice:
				var n protocol.NoticeData
				if err := json.Unmarshal(e.Data, &n); err != nil {
					t.Fatal(err)
				}
				got = append(got, n.Kind+" "+string(n.Severity)+" "+n.Text()+" "+string(n.Data))
			case protocol.EventAgentUpdate:
				got = append(got, string(e.Data))
			}
		}
		want := []string{
			"history_lost warning The agent does not know what was said before: session/load: gone ",
			`processes_ended info What the agent had started was ended with it: sleep (7) {"reason":"idle"}`,
			`{"kind":"usage_update","raw":{"message":"not for people"}}`,
			"agent error Out of credit ",
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("the log has\n%q\nwant\n%q", got, want)
			}
		}
	})
}
