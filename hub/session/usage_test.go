package session

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

func tokens(n uint64) *uint64 { return &n }

func costs(amount float64, currency string) InUsage {
	return InUsage{Data: protocol.UsageData{MessageID: "invented", Cost: &protocol.Cost{Amount: amount, Currency: currency}}}
}

func completes(id, usage string) InComplete {
	return InComplete{Data: protocol.CompleteData{
		MessageID: id, StopReason: protocol.StopEndTurn, Usage: []byte(usage), Cost: &protocol.Cost{Amount: 99, Currency: "CHF"},
	}}
}

// A session's cost is the sum over all processes of its agent. The agent's own count can
// begin anew at any time.
func TestCostsAreAddedUp(t *testing.T) {
	r := newStepper(t)
	r.do(say("m1"), InAssign{Worker: "w", Workspace: "ws"})
	check := func(what string, session, turn float64) {
		t.Helper()
		if u := r.s.Usage; r.err != nil || u == nil || u.Cost == nil || u.Cost.Amount != session || u.TurnCost != turn {
			t.Errorf("%s: %v, %+v of %+v", what, r.err, r.s.Usage.Cost, r.s.Usage)
		}
	}
	r.do(costs(.1, "USD"), costs(.3, "USD"), costs(.3, "USD"))
	check("one process", .3, .3)
	r.do(costs(.2, "USD"))
	check("it went backwards: another process counts", .5, .5)
	r.do(InStarting{AgentSession: "a2"}, costs(.7, "USD"))
	check("a session of its own counts from nothing", 1.2, 1.2)
	r.do(InStarting{AgentSession: "a2"}, costs(.8, "USD"))
	check("the same one goes on", 1.3, 1.3)
	r.do(completes("m1", "{}"), InDone{Message: 1})
	if got := strings.Join(r.events, " "); !strings.Contains(got, "complete") {
		t.Errorf("events %s", got)
	}
	r.do(costs(1, "USD"))
	check("between two turns", 1.5, .2)
	r.do(say("m2"), InHand{Command: r.s.NextCommand + 1}, costs(1.5, "USD"))
	check("of the second turn only", 2, .5)
	r.do(costs(7, "EUR"))
	check("another currency has a sum of its own", 7, 7)
	r.do(costs(protocol.MaxCost, "EUR"), costs(protocol.MaxCost-1, "EUR"))
	check("there is an end to it", protocol.MaxCost, 2*protocol.MaxCost-1)
}

func TestCompleteHasTheCostOfItsTurn(t *testing.T) {
	r := newStepper(t)
	r.do(say("m1"), InAssign{Worker: "w", Workspace: "ws"}, costs(.25, "USD"))
	change, err := Step(r.s, completes("m1", `{"inputTokens":3,"outputTokens":4,"cachedReadTokens":-5,"cachedWriteTokens":1e30,"thoughtTokens":"6"}`), r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(change.Events[0].Data); !strings.Contains(got, `"cost":{"amount":0.25,"currency":"USD"}`) {
		t.Errorf("complete %s", got)
	}
	if u := change.State.Usage.SessionUsage; u.InputTokens != 3 || u.OutputTokens != 4 || u.CachedReadTokens+u.CachedWriteTokens+u.ThoughtTokens != 0 || u.TotalTokens != 7 {
		t.Errorf("usage %+v", u)
	}
	// A turn that the worker's loss ends has its cost too, and one that told none has none.
	change, err = Step(r.s, FromWorker{Assignment: 1, Input: InLost{}}, r.policy, r.now)
	if err != nil || !strings.Contains(string(change.Events[0].Data), `"cost":{"amount":0.25`) {
		t.Errorf("lost: %v, %s", err, change.Events[0].Data)
	}
	r = newStepper(t)
	r.do(say("m1"), InAssign{Worker: "w", Workspace: "ws"})
	change, err = Step(r.s, completes("m1", `null`), r.policy, r.now)
	if err != nil || strings.Contains(string(change.Events[0].Data), "cost") || change.State.Usage != nil {
		t.Errorf("%v, %s, %+v", err, change.Events[0].Data, change.State.Usage)
	}
}

func TestUsageKeepsWhatIsNotTold(t *testing.T) {
	r := newStepper(t)
	r.do(say("m1"), InAssign{Worker: "w", Workspace: "ws"})
	r.do(InUsage{protocol.UsageData{Used: tokens(5), Size: tokens(10)}}, InUsage{protocol.UsageData{Used: tokens(0)}})
	if u := r.s.Usage; *u.Used != 0 || *u.Size != 10 || u.Cost != nil {
		t.Errorf("usage %+v", u)
	}
	if spent := Spent(&State{}, r.s); spent != (protocol.Cost{}) {
		t.Errorf("spent %+v", spent)
	}
}
