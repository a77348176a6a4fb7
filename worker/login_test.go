package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"sessionhub/protocol"
)

// showCode has people open a page with a code, and is logged in when they say so.
func (a *scripted) showCode(id json.RawMessage, method string) {
	answer := a.request("elicitation/create", `{"requestId":`+string(id)+`,"mode":"url","elicitationId":"e1","message":"Type ABCD","url":"https://login.example.org/"}`)
	if !strings.Contains(string(answer), "accept") {
		fmt.Fprintln(os.Stderr, "open https://login.example.org/s3cr3t")
		a.print("open https://login.example.org/s3cr3t")
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"Login was not completed at https://login.example.org/s3cr3t"}}`, id)
		return
	}
	a.login = method
	a.print(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
}

// asksPrivately waits for a question that is not logged.
func (s *scene) asksPrivately(message string) protocol.ElicitationData {
	s.h.t.Helper()
	return until(s, protocol.EventPrivateElicitation, message, func(q protocol.ElicitationData) bool { return strings.Contains(q.Message, message) })
}

func (s *scene) reply(q protocol.ElicitationData, action, content string) {
	s.h.t.Helper()
	c := protocol.ElicitationCommand{MessageID: q.MessageID, InteractionID: q.InteractionID, Action: action}
	if content != "" {
		c.Content = json.RawMessage(content)
	}
	s.command(protocol.WorkerElicitation, c)
}

// Where no way to log in fits by itself, people choose one, and the start goes on. What the
// agent shows meanwhile is private too.
func TestPeopleLogIn(t *testing.T) {
	h := start(t, nil, "logs-in+shows-code")
	s := h.assign("logs-in_shows-code")
	s.message("m1", "login")
	q := s.asksPrivately("The agent needs a login")
	form, err := protocol.ParseForm(q.RequestedSchema)
	if err != nil || len(form.Fields) != 1 || len(form.Fields[0].Choices) != 2 || form.Fields[0].Choices[0] != (protocol.Choice{Value: "browser", Title: "Use your subscription"}) || q.MessageID != "m1" {
		t.Fatalf("asked %+v, %v", q, err)
	}
	if want := "SCRIPTED_KEY, which is not set"; !strings.Contains(q.Message, want) {
		t.Errorf("%q is not in %q", want, q.Message)
	}
	s.reply(q, protocol.ActionAccept, `{"method":"browser"}`)
	page := s.asksPrivately("Type ABCD")
	if page.Mode != protocol.ElicitURL || page.URL != "https://login.example.org/" {
		t.Errorf("asked %+v", page)
	}
	s.reply(page, protocol.ActionAccept, "")
	s.complete("m1")
	if got := s.text("m1"); got != "browser" {
		t.Errorf("logged in by %q", got)
	}
	if n := s.count(protocol.EventElicitation); n != 0 {
		t.Errorf("%d questions are in the log", n)
	}
}

// Whoever does not log in is told what to do, and may try again. A cancelled message leaves no
// agent behind that waits for its login.
func TestPeopleDoNotLogIn(t *testing.T) {
	h := start(t, nil, "logs-in+shows-code")
	s := h.assign("logs-in_shows-code")
	for id, action := range map[string]string{"m1": protocol.ActionDecline, "m2": protocol.ActionCancel} {
		s.message(id, "login")
		q := until(s, protocol.EventPrivateElicitation, "a question of "+id, func(q protocol.ElicitationData) bool { return q.MessageID == id })
		s.reply(q, action, "")
		c := s.complete(id)
		for _, want := range []string{"session/new: nobody has chosen how to log in", "Send a message to be asked again", `"browser"`} {
			if c.Error == nil || c.Error.Code != protocol.TurnAgentStart || !strings.Contains(c.Error.Message, want) {
				t.Errorf("%s: %q is not in %+v", id, want, c.Error)
			}
		}
	}
	for _, id := range []string{"m3", "m4"} {
		s.message(id, "login")
		q := until(s, protocol.EventPrivateElicitation, "a question of "+id, func(q protocol.ElicitationData) bool { return q.MessageID == id })
		if id == "m4" {
			s.reply(q, protocol.ActionAccept, `{"method":"browser"}`)
			s.asksPrivately("Type ABCD")
		}
		s.command(protocol.WorkerCancel, protocol.CancelCommand{MessageID: id})
		if c := s.complete(id); c.StopReason != protocol.StopCancelled {
			t.Errorf("%s: %+v", id, c)
		}
	}
	s.message("m5", "login")
	q := until(s, protocol.EventPrivateElicitation, "a question of m5", func(q protocol.ElicitationData) bool { return q.MessageID == "m5" })
	s.reply(q, protocol.ActionAccept, `{"method":"browser"}`)
	page := until(s, protocol.EventPrivateElicitation, "the page of m5", func(q protocol.ElicitationData) bool { return q.MessageID == "m5" && q.URL != "" })
	s.reply(page, protocol.ActionDecline, "")
	if c := s.complete("m5"); c.Error == nil || c.Error.Message != `authenticate "browser": Login was not completed at [address]` {
		t.Errorf("m5: %+v", c.Error)
	}
	for _, e := range s.events() {
		if strings.Contains(string(e.Data), "s3cr3t") {
			t.Errorf("a secret is in %s", e.Data)
		}
	}
}

// A question that waits when the link goes to an older hub does not reach that hub's log.
func TestPrivateQuestionIsNotForAnOlderHub(t *testing.T) {
	o := newOutbox("s1", 1, 0, 1<<20)
	o.meet(protocol.Welcome{Events: protocol.WorkerEvents()})
	o.pushEvent(protocol.EventPrivateElicitation, protocol.ElicitationData{InteractionID: "q1", Message: "s3cr3t"})
	if frame := string(o.items[0].frame); !strings.Contains(frame, "s3cr3t") || !strings.Contains(frame, string(protocol.EventPrivateElicitation)) {
		t.Errorf("sent %s", frame)
	}
	o.meet(protocol.Welcome{})
	if frame := string(o.items[0].frame); strings.Contains(frame, "s3cr3t") || !strings.Contains(frame, string(protocol.EventAgentUpdate)) {
		t.Errorf("sent %s", frame)
	}
}

// scriptedTerminal is the login of a scripted agent in a terminal. It writes as a program of
// the kind does that draws its lines again.
func scriptedTerminal() int {
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	fmt.Printf("\x1b[2J\x1b[1mWelcome\x1b[0m\r\nwaiting .\r\x1b[2Kwaiting ..\r\n\x1b[1A\x1b[2K\x1b]8;;https://x\x07a terminal: %v\x1b]8;;\x07\n", err == nil)
	fmt.Printf("Go to https://login.example.org/?code=%s and paste the code\n> ", strings.Repeat("x", 300))
	var code string
	_, _ = fmt.Scanln(&code)
	switch code {
	case "good":
		if os.WriteFile("logged-in", []byte(os.Getenv("LOGIN_KIND")), 0o600) != nil {
			return 4
		}
	case "again":
		fmt.Printf("Now go to https://login.example.org/2\n> ")
		_, _ = fmt.Scanln(&code)
		select {} // the page would end it
	default:
		fmt.Println("s3cr3t: no such code")
		return 3
	}
	return 0
}

// People log in by the agent's own program in a terminal. Then the agent is started again,
// and the message runs.
func TestPeopleLogInByATerminal(t *testing.T) {
	h := start(t, nil, "logs-in+in-a-terminal")
	s := h.assign("logs-in_in-a-terminal")
	var seen []string
	next := func(what string) protocol.ElicitationData {
		t.Helper()
		q := until(s, protocol.EventPrivateElicitation, what, func(q protocol.ElicitationData) bool { return !slices.Contains(seen, q.InteractionID) })
		seen = append(seen, q.InteractionID)
		return q
	}
	choose := func(id string) protocol.ElicitationData {
		t.Helper()
		s.message(id, "login")
		s.reply(next("the choice of "+id), protocol.ActionAccept, `{"method":"cli"}`)
		return next("the terminal of " + id)
	}
	q := choose("m1")
	page := "https://login.example.org/?code=" + strings.Repeat("x", 300)
	if want := "Open this page: " + page + "\n\nWelcome\na terminal: true\nGo to " + page + " and paste the code\n>"; q.Message != want {
		t.Errorf("shown %q, want %q", q.Message, want)
	}
	s.reply(q, protocol.ActionAccept, `{"input":"bad"}`)
	if c := s.complete("m1"); c.Error == nil || !strings.Contains(c.Error.Message, "the login in a terminal did not succeed: exit status 3. Send a message to try again") || strings.Contains(c.Error.Message, "s3cr3t") {
		t.Errorf("m1: %+v", c.Error)
	}
	s.reply(choose("m2"), protocol.ActionDecline, "")
	if c := s.complete("m2"); c.Error == nil || !strings.Contains(c.Error.Message, "nobody has finished the login") {
		t.Errorf("m2: %+v", c.Error)
	}
	s.reply(choose("m3"), protocol.ActionAccept, `{"input":"again"}`)
	if q := next("the second page"); !strings.HasPrefix(q.Message, "Open this page: https://login.example.org/2\n") {
		t.Errorf("shown %q", q.Message)
	}
	s.command(protocol.WorkerCancel, protocol.CancelCommand{MessageID: "m3"})
	s.complete("m3")
	s.reply(choose("m4"), protocol.ActionAccept, `{"input":"good"}`)
	if c := s.complete("m4"); c.Error != nil || s.text("m4") != "a file of the kind terminal" {
		t.Errorf("m4: %+v, %q", c.Error, s.text("m4"))
	}
	s.message("m5", "cwd") // it stays logged in
	s.complete("m5")
}

func TestScreen(t *testing.T) {
	for in, want := range map[string]string{
		"one\r\ntwo":                              "one\ntwo",
		"50%\r100%\n\n":                           "100%",
		"a\x1b[31mb\x1b[0mc \x1b[3Cd":             "abc    d",
		"x\ny\nz\x1b[2K\x1b[1A\x1b[2Knew":         "x\nnew",
		"old\x1b[2J\x1b[Hnew\x1b]0;title\x07 end": "new end",
		"ab\bc\x00\x07\x7f\u0085é":                "acé",
		"\x1b(Bplain\x1b=":                        "plain",
		strings.Repeat("l\n", 100) + "end":        strings.Repeat("l\n", screenLines-1) + "end",
	} {
		for _, size := range []int{1, 3, len(in)} { // cut anywhere
			var s screen
			for rest := []byte(in); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				s.write(rest[:min(size, len(rest))])
			}
			if got := s.text(); got != want {
				t.Errorf("%q in pieces of %d is %q, want %q", in, size, got, want)
			}
		}
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("a\x1b[2Kb\r\n\x1b]8;;x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s screen
		s.write(data)
		if text := s.text(); len(text) > screenText || !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\x00\r") || len(s.held) > screenLineBytes {
			t.Errorf("%q is %q", data, text)
		}
	})
}

// An agent may refuse only the prompt (claude does). It gets the prompt again when people have
// logged in, by any way. It keeps its login then.
func TestPeopleLogInForAPrompt(t *testing.T) {
	h := start(t, nil, "logs-in+late+shows-code", "logs-in+late+in-a-terminal")
	for i, test := range []struct{ provider, method, answer, want string }{
		{"logs-in_late_shows-code", "browser", "", "browser"}, {"logs-in_late_in-a-terminal", "cli", `{"input":"good"}`, "a file of the kind terminal"},
	} {
		s := h.assign(test.provider, func(a *protocol.Assign) { a.SessionID = fmt.Sprint("s", i) })
		s.message("m1", "login")
		q := s.asksPrivately("The agent needs a login")
		s.reply(q, protocol.ActionDecline, "")
		if c := s.complete("m1"); c.Error == nil || !strings.Contains(c.Error.Message, "session/prompt: nobody has chosen how to log in") {
			t.Errorf("%s: m1: %+v", test.provider, c.Error)
		}
		s.message("m2", "login")
		q = until(s, protocol.EventPrivateElicitation, "the choice", func(q protocol.ElicitationData) bool { return q.MessageID == "m2" })
		s.reply(q, protocol.ActionAccept, `{"method":"`+test.method+`"}`)
		page := until(s, protocol.EventPrivateElicitation, "the page", func(p protocol.ElicitationData) bool {
			return p.MessageID == "m2" && p.InteractionID != q.InteractionID
		})
		s.reply(page, protocol.ActionAccept, test.answer)
		if c := s.complete("m2"); c.Error != nil || s.text("m2") != test.want {
			t.Errorf("%s: m2: %+v, %q", test.provider, c.Error, s.text("m2"))
		}
		s.message("m3", "login")
		s.complete("m3")
		if got := s.text("m3"); got != test.want {
			t.Errorf("%s: m3: %q", test.provider, got)
		}
	}
}
