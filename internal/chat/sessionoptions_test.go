package chat

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestOptionsAreToldAndListed(t *testing.T) {
	yes, no := true, false
	tr := newTranscript(painter{}, 80)
	tr.me = "ann"
	list := protocol.ConfigOptionsData{
		ConfigOptions: []protocol.ConfigOption{
			{ID: "mode", Name: "Mode", Category: "mode", Type: protocol.ConfigSelect, CurrentValue: protocol.TextValue("auto"), Options: []protocol.ConfigValue{
				{Value: "ask", Asks: &yes, Allowed: &yes}, {Value: "auto", Asks: &no, Allowed: &yes}, {Value: "yolo", Asks: &no, Allowed: &no},
			}},
			{ID: "fast", Name: "Fast", Type: protocol.ConfigBoolean, CurrentValue: protocol.BoolValue(true)},
		},
		Mode: "auto", Asking: &no, Changed: []string{"mode", "gone"}, By: "ann",
	}
	if tr.options.unasked() != "" || !strings.Contains(tr.options.describe(), "told no options") {
		t.Errorf("before there is a list: %q %q", tr.options.unasked(), tr.options.describe())
	}
	tr.event(protocol.Event{Type: protocol.EventConfigOptions, Data: protocol.Marshal(list)})
	if got := strings.Join(tr.take(), "\n"); !strings.Contains(got, "Mode is auto, set by you") || strings.Contains(got, "gone") {
		t.Errorf("the change is told as %q", got)
	}
	if got := tr.options.unasked(); !strings.Contains(got, "does not ask before it acts (mode auto)") {
		t.Errorf("the warning is %q", got)
	}
	got := tr.options.describe()
	for _, want := range []string{"mode: auto – of ask, auto (does not ask), yolo (not allowed)", "fast: true – of true, false", "/mode NAME"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	list.Asking = &yes
	tr.event(protocol.Event{Type: protocol.EventConfigOptions, Data: protocol.Marshal(list)})
	if tr.options.unasked() != "" {
		t.Error("it warns while the agent asks")
	}
}

// What is not about options goes to the agent.
func TestLinesForTheAgent(t *testing.T) {
	c := &conversation{transcript: newTranscript(painter{}, 80)}
	for line, ours := range map[string]bool{
		"/options": true, "/options x": true, "/mode": false, "/model": false, "//options": false, "/mode a b": false, "/modes x": false, "hello": false, "": false,
	} {
		if got := c.optionCommand(t.Context(), line); got != ours {
			t.Errorf("%q: %v", line, got)
		}
	}
}
