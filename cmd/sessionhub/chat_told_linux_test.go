package main

import "testing"

// What an agent tells of its session, and the chat's own commands, in the terminal.
func TestChatTellsOfTheSession(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("/commands\r")
	p.expect("The agent has told of no commands.")
	p.press("//commands\r") // the agent's own
	p.expect("I take")
	p.expect("idle · websocket")
	p.press("/commands\r")
	p.expect("/title [TEXT]  names the session")
	p.press("/title Fix the login bug\r")
	p.expect("This session is called Fix the login bug")
	p.expect("websocket · Fix the login bug")
	p.press("//usage\r")
	p.expect("of 200000 tokens")
	p.expect("% of context")
	p.press("/usage\r")
	p.expect("of 200,000 tokens")
	p.expect("USD")
	p.expect("The agent has such a command too: //usage")
	p.press("/rename Anna's\r")
	p.expect("This session is called Anna's")
	p.press("/rename\r")
	p.expect("This session is called Fix the login bug")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("it left with %d", code)
	}
}
