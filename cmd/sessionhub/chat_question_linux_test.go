package main

import (
	"strings"
	"testing"
)

// A question of the agent is answered in the line, field by field.
func TestChatAnswersAQuestion(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("/ask Tea or coffee?\r")
	p.expect("? Tea or coffee?")
	p.expect("1 of 7: Cups (optional)")
	p.expect("Enter takes 1")
	p.press("13\r")
	p.expect("it wants a whole number from 1 to 12")
	p.press("\x15" + "2\r")
	p.expect("2 of 7: Email")
	p.press("ada@example.org\r")
	p.expect("3 of 7: Extras")
	p.expect("1) Milk")
	p.press("3, milk\r")
	p.expect("4 of 7: Name")
	p.press("/back\r")
	p.expect("3 of 7: Extras")
	p.press("ice\r")
	p.expect("4 of 7: Name")
	p.press("Ada\r")
	p.expect("5 of 7: Size")
	p.press("2\r")
	p.expect("6 of 7: To take out")
	p.press("no\r")
	p.expect("7 of 7: Tip")
	p.press("/skip\r")
	p.expect("Your answers:")
	p.expect("Enter sends the answers")
	p.press("send\r")
	p.expect("Enter sends the answers; /back changes the last one")
	p.press("\x15yes\r")
	p.expect("→ accepted: Tea or coffee?")
	p.expect("Size: Large")
	p.expect(`You answered: {"cups":2,"email":"ada@example.org","extras":["ice"],"name":"Ada","size":"l","takeOut":false}`)
	p.expect("idle · websocket")

	p.press("/page https://example.org/login?a=b\r")
	p.expect("https://example.org/login?a=b")
	p.expect("open the page in a browser, then type yes")
	p.press("yes\r")
	p.expect("You opened the page.")
	p.expect("idle · websocket")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
}

// A line that was begun before the question came is a message, and what was typed for a
// question is none.
func TestChatKeepsMessagesAndAnswersApart(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	id := sessionID.FindStringSubmatch(p.everything())[1]
	p.press("half a mess")
	p.expect("› half a mess")
	s.post(t, "/api/sessions/"+id+"/messages", `{"content":"/ask Now?"}`)
	p.expect("? Now?")
	p.expect("the line is a message")
	p.press("age\r")
	p.expect("› half a message")
	p.expect("Enter takes 1")
	p.press("12")
	p.expect("› 12")
	s.post(t, "/api/sessions/"+id+"/cancel", `{}`)
	p.expect("→ cancelled: Now?")
	p.expect("what was typed for it is not sent")
	p.expect("You said: half a message")
	p.expect("idle · websocket")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("it left with %d", code)
	}
	if strings.Contains(p.everything(), "You said: 12") {
		t.Error("an answer went out as a message")
	}
}

// Where nobody can be asked, the answer is no, and the agent goes on.
func TestChatInAPipeDeclinesQuestions(t *testing.T) {
	s := startServer(t)
	code, out, errs := piped(t, nil, "/ask Which\u202e one?", "--hub", s.URL, "--approve", "allow")
	if code != exitOK || !strings.Contains(out, "You declined to answer.") || !strings.Contains(errs, "declined a question, since nobody can be asked here: Which") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
