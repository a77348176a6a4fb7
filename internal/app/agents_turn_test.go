package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// turnScenarios are what people do. The first one starts the agent.
var turnScenarios = []scenario{
	{"text", func(t *testing.T, c *conversation) {
		m := c.say("say a few words from the scripted model")
		c.complete(m, protocol.StopEndTurn)
		if got := text(t, c.seen); got != "a few words from the scripted model" {
			t.Errorf("the answer is %q", got)
		}
		if len(c.starts()) != 1 {
			t.Errorf("how the agent started is not in the log: %s", c.record())
		}
	}},
	{"allow", func(t *testing.T, c *conversation) {
		m := c.say("shell echo one > allowed.txt; echo done")
		a := c.asked("execute", "echo one > allowed.txt")
		if c.content("allowed.txt") != "" {
			t.Fatal("the command ran before it was allowed")
		}
		c.decide(a, protocol.AllowOnce)
		c.complete(m, protocol.StopEndTurn)
		if c.content("allowed.txt") != "one\n" {
			t.Error("the allowed command did not run")
		}
		if got := text(t, c.seen); !strings.Contains(got, "The output begins: ") {
			t.Errorf("the answer is %q", got)
		}
		if got := c.toolStatuses(); !slices.Equal(got, []string{"completed"}) {
			t.Errorf("tool calls are %q", got)
		}
	}},
	{"refuse", func(t *testing.T, c *conversation) {
		m := c.say("shell echo one > refused.txt")
		c.decide(c.asked("execute", "refused.txt"), protocol.RejectOnce)
		c.complete(m, c.agent.afterRefuse)
		if c.content("refused.txt") != "" {
			t.Error("the refused command ran")
		}
		if got := c.toolStatuses(); !slices.Equal(got, []string{"failed"}) {
			t.Errorf("tool calls are %q", got)
		}
		c.answers("still here after the refusal")
	}},
	{"edit", func(t *testing.T, c *conversation) {
		m := c.say("write " + filepath.Join(c.dir, "edited.txt") + " one two") // some take absolute paths only
		a := c.asked("edit", "edited.txt")
		if len(a.Content) == 0 {
			t.Errorf("the question shows no change: %s", protocol.Marshal(a))
		}
		c.decide(a, protocol.AllowOnce)
		c.complete(m, protocol.StopEndTurn)
		if c.content("edited.txt") != "one two\n" {
			t.Errorf("the file has %q", c.content("edited.txt"))
		}
	}},
	{"always", testAlways},
	{"cancel in mid-stream", func(_ *testing.T, c *conversation) {
		m := c.sayAndHear("slow")
		c.cancel(m)
		c.answers("still here after the cancel")
	}},
	{"cancel with an approval pending", func(t *testing.T, c *conversation) {
		m := c.say("shell echo one > pending.txt")
		a := c.asked("execute", "pending.txt")
		c.cancel(m)
		want := protocol.ApprovalResolvedData{InteractionID: a.InteractionID, Outcome: protocol.OutcomeCancelled}
		if got := c.resolved(); len(got) != 1 || got[0].InteractionID != want.InteractionID || got[0].Outcome != want.Outcome {
			t.Errorf("the approval ended with %+v, want %+v", got, want)
		}
		c.answers("still here after the second cancel")
		if c.content("pending.txt") != "" {
			t.Error("the command ran without an answer")
		}
	}},
	{"a second message meanwhile", func(t *testing.T, c *conversation) {
		first := c.sayAndHear("slow 3")
		second := c.say("say second")
		c.complete(first, protocol.StopEndTurn)
		for _, f := range c.seen {
			if f.Type == protocol.EventOutput && hubtest.Decode[protocol.OutputData](t, f.Data).MessageID != first.MessageID {
				t.Errorf("the second answer began before the first one ended: %s", f.Raw)
			}
		}
		c.complete(second, protocol.StopEndTurn)
		if got := text(t, c.seen); got != "second" {
			t.Errorf("the second answer is %q", got)
		}
	}},
}

// An "always" is the hub's: it answers the same command by itself and nothing
// else, and the agent writes no rule of its own.
func testAlways(t *testing.T, c *conversation) {
	const command = "echo always > always.txt"
	m := c.say("shell " + command)
	first := c.asked("execute", command)
	c.decide(first, protocol.AllowAlways)
	c.complete(m, protocol.StopEndTurn)
	if c.content("always.txt") != "always\n" {
		t.Fatal("the allowed command did not run")
	}
	if err := os.Remove(filepath.Join(c.dir, "always.txt")); err != nil {
		t.Fatal(err)
	}

	m = c.say("shell " + command)
	if second := c.asked("execute", command); string(second.Input) != string(first.Input) {
		t.Fatalf("the same command has another input: %s, before: %s", second.Input, first.Input)
	}
	c.complete(m, protocol.StopEndTurn)
	if got := c.resolved(); len(got) != 1 || got[0].By != protocol.ByRule {
		t.Errorf("the rule did not answer: %+v", got)
	}
	if c.content("always.txt") != "always\n" {
		t.Error("the command that the rule allowed did not run")
	}

	m = c.say("shell " + command + "2")
	c.decide(c.asked("execute", command+"2"), protocol.RejectOnce)
	c.complete(m, c.agent.afterRefuse)
	if got := c.resolved(); len(got) != 1 || got[0].By == protocol.ByRule {
		t.Errorf("another command was answered with %+v", got)
	}
	hidden, err := filepath.Glob(filepath.Join(c.dir, ".*"))
	if err != nil || len(hidden) > 0 {
		t.Errorf("the agent left %q in the user's directory, %v", hidden, err)
	}
}
