package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestTitleOfSession(t *testing.T) {
	r := newStepper(t)
	titled := func(in Input, want, event string) {
		t.Helper()
		change, err := Step(r.s, in, r.policy, r.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range change.Events {
			if e.Type == protocol.EventSessionInfo {
				got += string(e.Data)
			}
		}
		if change.State.Title() != want || got != event {
			t.Errorf("%+v: title %q, event %s; want %q, %s", in, change.State.Title(), got, want, event)
		}
		r.s = change.State
	}
	if r.s.Title() != "" {
		t.Errorf("title %q", r.s.Title())
	}
	titled(say("m1"), "hi", "") // the message says it
	titled(say("m2"), "hi", "")
	titled(InAgentTitle{"The agent's"}, "The agent's", `{"title":"The agent's"}`)
	titled(InRename{"Anna's", "anna"}, "Anna's", `{"title":"Anna's","by":"anna"}`)
	titled(InRename{"Anna's", "ben"}, "Anna's", "")
	titled(InAgentTitle{"Another"}, "Anna's", "")
	titled(InRename{"", "anna"}, "Another", `{"title":"Another","by":"anna"}`)
	titled(InAgentTitle{""}, "hi", `{"title":"hi"}`)
	titled(InClose{Reason: protocol.ClosedExpired}, "hi", "")
	titled(InAgentTitle{"late"}, "hi", "")
	if _, err := Step(r.s, InRename{"late", "anna"}, r.policy, r.now); !errors.Is(err, ErrSessionEnded) {
		t.Errorf("rename of a closed session: %v", err)
	}
	// A title that came with the session is a person's.
	r = newStepper(t)
	r.s.Info.Title = "given"
	titled(InAgentTitle{"The agent's"}, "given", "")
	titled(InRename{"", "anna"}, "The agent's", `{"title":"The agent's","by":"anna"}`)
}

func TestFirstLine(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for content, want := range map[string]string{
		`"hello"`:                                "hello",
		`"\n  \t\n  fix   the bug \r\nand more"`: "fix the bug",
		`[{"type":"image","data":"x"},{"type":"text","text":" \n"},{"type":"text","text":"look\nhere"}]`: "look",
		`[{"type":"image","data":"x"}]`:     "",
		`"` + long + `"`:                    strings.TrimSpace(strings.Repeat("word ", 15)) + " word…",
		`"` + strings.Repeat("é", 80) + `"`: strings.Repeat("é", 80),
		`"` + strings.Repeat("漢", 81) + `"`: strings.Repeat("漢", 79) + "…",
	} {
		if got := firstLine([]byte(content)); got != want {
			t.Errorf("%s: %q, want %q", content, got, want)
		}
	}
	if got := firstLine(json.RawMessage(`"\u001b[31mred\u202E"`)); strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("control codes in %q", got)
	}
}
