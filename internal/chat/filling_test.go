package chat

import (
	"errors"
	"strings"
	"testing"

	"sessionhub/protocol"
)

const orderForm = `{"type":"object","properties":{` +
	`"size":{"type":"string","title":"Size","oneOf":[{"const":"s","title":"Small"},{"const":"l","title":"Large"}],"default":"s"},` +
	`"extras":{"type":"array","title":"Extras","items":{"anyOf":[{"const":"m","title":"Oat milk"},{"const":"i","title":"Ice"},{"const":"x","title":"2"}]},"maxItems":2},` +
	`"cups":{"type":"integer","minimum":1,"maximum":9},"name":{"type":"string","minLength":2},"out":{"type":"boolean"}},"required":["name","cups"]}`

func order() *filling {
	return newFilling(protocol.ElicitationData{InteractionID: "q", Mode: protocol.ElicitForm, Message: "What?", RequestedSchema: []byte(orderForm)})
}

// A person answers field by field: by numbers, names, words and defaults, and looks at the
// whole before it goes out.
func TestFormIsFilledFieldByField(t *testing.T) {
	f := order()
	for _, typed := range []string{"", "1 3", "3", "Ada", "no"} {
		if action, problem := f.answer(typed); action != "" || problem != "" {
			t.Fatalf("%q: %q %q", typed, action, problem)
		}
	}
	if got := lines(f.stepLines()); got != "Your answers:\nSize: Small\nExtras: Oat milk, 2\ncups: 3\nname: Ada\nout: no" {
		t.Errorf("the whole reads\n%s", got)
	}
	if _, problem := f.answer("Ada again"); !strings.Contains(problem, "Enter sends") {
		t.Errorf("a word at the end: %q", problem)
	}
	if action, _ := f.answer(""); action != protocol.ActionAccept || string(f.content()) != `{"cups":3,"extras":["m","x"],"name":"Ada","out":false,"size":"s"}` {
		t.Errorf("%s %s", action, f.content())
	}
	form, err := protocol.ParseForm(f.q.RequestedSchema)
	if err == nil {
		err = form.Check(f.content())
	}
	if err != nil {
		t.Error(err)
	}
}

func TestFormTakesWhatItWants(t *testing.T) {
	for _, test := range []struct {
		step        int
		typed, want string // the value; or with a question mark a part of the problem
	}{
		{0, "2", `"l"`}, {0, "large", `"l"`}, {0, "l", `"l"`}, {0, "/skip", ""}, {0, "7", "?none of the choices"}, {0, "medium\x1b[2J", "?none of the choices"},
		{1, "", ""}, {1, "none", "[]"}, {1, "Oat milk", `["m"]`}, {1, "oat milk, ice", `["m","i"]`}, {1, "2,2", `["i"]`}, {1, "1,2,3", "?at most 2"}, {1, "9", "?none of the choices"},
		{2, "1", "1"}, {2, "", "?this is needed"}, {2, "/skip", "?this is needed"}, {2, "10", "?from 1 to 9"}, {2, "1.5", "?whole number"}, {2, "two", "?whole number"}, {2, "1 1", "?whole number"},
		{3, "/tmp/x", `"/tmp/x"`}, {3, "x", "?at least 2"}, {3, "a\nb", `"a\nb"`}, {3, " two ", `" two "`},
		{4, "y", "true"}, {4, "FALSE", "false"}, {4, "perhaps", "?yes or no"}, {4, "", ""},
	} {
		f := order()
		f.goTo(test.step)
		_, problem := f.answer(test.typed)
		want, bad := strings.CutPrefix(test.want, "?")
		if bad {
			if !strings.Contains(problem, want) || f.step != test.step || strings.Contains(problem, "\x1b") {
				t.Errorf("%q of step %d: %q", test.typed, test.step, problem)
			}
			continue
		}
		if got := string(f.values[f.fields[test.step].Name]); problem != "" || got != want || f.step != test.step+1 {
			t.Errorf("%q of step %d: %s %q", test.typed, test.step, got, problem)
		}
	}
}

func TestFormIsLeft(t *testing.T) {
	f := order()
	_, _ = f.answer("2")
	if _, problem := f.answer("/back"); problem != "" || f.step != 0 {
		t.Errorf("back: %q, step %d", problem, f.step)
	}
	if _, _ = f.answer("/back"); f.step != 0 {
		t.Errorf("back from the first: step %d", f.step)
	}
	for typed, want := range map[string]string{"/decline": protocol.ActionDecline, " /CLOSE ": protocol.ActionCancel} {
		if action, _ := order().answer(typed); action != want {
			t.Errorf("%s: %q", typed, action)
		}
	}
}

// A page is shown whole, and what is typed says that it was opened.
func TestPageIsAnswered(t *testing.T) {
	const url = "https://login.example.org/a?b=c"
	page := func() *filling {
		return newFilling(protocol.ElicitationData{MessageID: "m", InteractionID: "q", Mode: protocol.ElicitURL, Message: "Log in\u202e", URL: url})
	}
	if got := lines(page().head()); got != "? Log in\u202e\n"+url {
		t.Errorf("it reads %q", got)
	}
	for typed, want := range map[string]string{"yes": protocol.ActionAccept, "opened": protocol.ActionAccept, "n": protocol.ActionDecline, "": "", "what?": ""} {
		f := page()
		action, problem := f.answer(typed)
		if action != want || (problem == "") != (want != "") || f.content() != nil {
			t.Errorf("%q: %q %q", typed, action, problem)
		}
	}
}

// Nothing of an agent's question acts on the terminal, or looks like something else.
func TestQuestionIsShownExactly(t *testing.T) {
	f := newFilling(protocol.ElicitationData{Mode: protocol.ElicitForm, Message: "a\x1b[2Jb", RequestedSchema: []byte(
		`{"properties":{"a":{"type":"string","title":"gо\u202e","description":"\u001b]0;x\u0007","enum":["x\u001b[1m"]}}}`)})
	tr := newTranscript(painter{}, 80)
	tr.exactLines(f.head())
	tr.exactLines(f.stepLines())
	if got := ours.ReplaceAllString(strings.Join(tr.take(), "|"), ""); strings.Contains(got, "\x1b") || !strings.Contains(got, "␛[2J") || !strings.Contains(got, "gоU+043EU+202E") {
		t.Errorf("it shows %q", got)
	}
}

// A private question is read before it is shown. If it cannot be read, it is shown as the log
// has it, and people are told.
func TestPrivateQuestionIsReadFirst(t *testing.T) {
	whole := protocol.ElicitationData{InteractionID: "q", Mode: protocol.ElicitForm, Message: "The code is ABCD", RequestedSchema: []byte(orderForm), Private: true}
	for _, test := range []struct {
		err  error
		want string
	}{{nil, "The code is ABCD"}, {errors.New("no"), protocol.PrivateMessage}} {
		c := &conversation{transcript: newTranscript(painter{}, 80), caughtUp: true, private: private{interaction: "q"}}
		c.transcript.elicitations = []protocol.ElicitationData{whole.Public()}
		c.presentForm(t.Context())
		if c.filling != nil {
			t.Error("it is shown before it was read")
		}
		answer := protocol.ElicitationData{InteractionID: "q"}
		if test.err == nil {
			answer = whole
		}
		c.readPrivate(outcome{private: &answer, err: test.err})
		c.presentForm(t.Context())
		if c.filling == nil || c.filling.q.Message != test.want {
			t.Errorf("shown is %+v, want %q", c.filling, test.want)
		}
	}
}
