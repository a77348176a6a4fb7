package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// stateBytes is what each change of the session stores.
func (r *stepper) stateBytes() int { return len(protocol.Marshal(r.s)) }

// Questions are in the state, which each change stores anew. An agent that asked on
// and on made one of 58 MiB.
func TestOpenQuestionsAreBoundedInBytes(t *testing.T) {
	judge.OneGoroutine(t)
	r := running(t)
	input := `{"command":"` + strings.Repeat("x", 1<<20-20) + `"}`
	r.do(ask("i1", input), ask("i2", input), ask("i3", input)).want("asked i1 for m1", "requires_action m1", "asked i2 for m1", "asked i3 for m1")
	for i := range 20 {
		r.do(ask(fmt.Sprint("j", i), input)).want()
		if len(r.commands) != 1 || !strings.Contains(r.commands[0], "cancelled the open questions of this session would have") {
			t.Errorf("the worker is told %q", r.commands)
		}
	}
	if n := r.stateBytes(); n > 5<<20 {
		t.Errorf("the state has %d bytes", n)
	}
	r.do(option("i2", "once"), ask("i4", input)).want("resolved i2 selected once allow_once u1", "asked i4 for m1")

	// One that is alone is asked whatever its length: --max-event-bytes bounds it.
	r = running(t)
	r.do(ask("i1", `"`+strings.Repeat("x", 5<<20)+`"`)).want("asked i1 for m1", "requires_action m1")
}

// "Always" rules are in the state, too: of very many, the one that has matched nothing
// for longest goes, and people are asked again.
func TestRulesAreBounded(t *testing.T) {
	r := running(t)
	input := func(i int) string { return fmt.Sprintf(`{"command":"%d"}`, i) }
	for i := range protocol.MaxRules {
		r.do(ask(fmt.Sprint("i", i), input(i)), option(fmt.Sprint("i", i), "always"))
	}
	r.do(ask("again", input(0))).want("asked again for m1", "resolved again selected once allow_always rule")
	r.do(ask("new", input(-1)), option("new", "always"))
	if len(r.s.Rules) != protocol.MaxRules {
		t.Errorf("%d rules", len(r.s.Rules))
	}
	r.do(ask("used", input(0))).want("asked used for m1", "resolved used selected once allow_always rule")
	r.do(ask("unused", input(1))).want("asked unused for m1", "requires_action m1")
	if n := r.stateBytes(); n > 64<<10 {
		t.Errorf("the state has %d bytes", n)
	}
}

// The answers of a long turn are kept for a reconnect: not all of them, for a worker
// has long had the old ones. The cancel is kept whatever comes behind it.
func TestCommandsOfATurnAreBounded(t *testing.T) {
	judge.OneGoroutine(t)
	r := running(t).do(ask("i", "{}"), option("i", "always"))
	for i := range 10_000 {
		r.do(ask(fmt.Sprint("i", i), "{}"))
	}
	if len(r.s.Live) != maxLive || len(r.open) != maxLive+1 { // and the message
		t.Errorf("%d commands in the state, %d in the log", len(r.s.Live), len(r.open))
	}
	r.do(InCancel{})
	for i := range 1000 {
		r.do(ask(fmt.Sprint("late", i), "{}")).want(fmt.Sprintf("asked late%d for m1", i), fmt.Sprintf("resolved late%d cancelled", i))
	}
	if len(r.open) != maxLive+1 || commandWord(r.open[len(r.open)-1]) != "cancel m1" {
		t.Errorf("%d commands in the log, the last %s", len(r.open), commandWord(r.open[len(r.open)-1]))
	}
	r.do(ended("m1")).want("complete m1 end_turn", "idle").wantOpen()
}

// A state of before, with more of everything, is still read and goes on.
func TestStateWithoutBoundsGoesOn(t *testing.T) {
	r := running(t)
	for i := range 1000 {
		r.s.Rules = append(r.s.Rules, Rule{Kind: "execute", Hash: fmt.Sprint(i)})
		r.s.Approvals = append(r.s.Approvals, PendingApproval{Data: ask(fmt.Sprint("old", i), "{}").Data, Asked: r.now})
		r.s.Live = append(r.s.Live, uint64(100+i))
	}
	raw, err := json.Marshal(r.s)
	var s State
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.s = &s
	r.do(ask("i", `{"a":1}`)).want()
	for i := range 1000 {
		r.do(option(fmt.Sprint("old", i), "always"))
	}
	if len(r.s.Approvals) != 0 || len(r.s.Rules) != protocol.MaxRules || len(r.s.Live) != maxLive {
		t.Errorf("%d questions, %d rules, %d commands", len(r.s.Approvals), len(r.s.Rules), len(r.s.Live))
	}
}
