package worker

import (
	"encoding/json"
	"os"
	"time"
)

// steering is what a scripted agent with the trait "steers" does with messages in the
// middle of its turn. The turn of "listen N" ends when it has taken N in. A message says
// what becomes of it: "refuse", "idle", "odd", "silent", "die", "end-first" (the prompt is
// answered first, and then the message is not taken), or anything else to be taken in.
type steering struct {
	a    *scripted
	took chan string
}

func (s *steering) request(id json.RawMessage, prompt []struct {
	Text string `json:"text"`
}, meta string) {
	a, text := s.a, prompt[0].Text
	ok := func(outcome string) { a.print(`{"jsonrpc":"2.0","id":%s,"result":{"outcome":%q}}`, id, outcome) }
	switch {
	case meta != "promptRequired":
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"no idleBehavior"}}`, id)
	case text == "refuse":
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"not now"}}`, id)
	case text == "idle":
		ok("promptRequired")
	case text == "odd":
		ok("perhaps")
	case text == "new":
		ok("startedNewTurn")
		s.took <- text
	case text == "silent":
		s.took <- text
	case text == "die":
		os.Exit(5)
	case text == "end-first":
		s.took <- text
		time.Sleep(100 * time.Millisecond) // the prompt's answer goes first
		ok("promptRequired")
	default:
		ok("injected")
		s.took <- text
	}
}

// listen is a turn that takes messages in.
func (s *steering) listen(n int, cancel <-chan struct{}) string {
	s.a.say("listening ")
	for range n {
		select {
		case text := <-s.took:
			s.a.say("took " + text + " ")
		case <-cancel:
			return "cancelled"
		}
	}
	return "end_turn"
}
