package demoagent

import (
	"fmt"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

// behindTurn is how long the work in the background waits for the end of its turn, so that
// what it sends comes behind the prompt's answer.
const behindTurn = 200 * time.Millisecond

// maxBackground bounds what one session runs in the background at once.
const maxBackground = 16

// goOn answers at once and goes on behind the end of its turn, as the sub-agents of other
// agents do: a tool that works for so long, a question, and a word at the end.
func (t *turn) goOn(args string) error {
	d, err := seconds("/background", args)
	if err != nil {
		return t.say(err.Error())
	}
	work := t.s.behind(t)
	if work == nil {
		return t.say(fmt.Sprintf("I do %d things in the background already.", maxBackground))
	}
	go func() {
		defer t.agent.turns.Done()
		defer t.s.done(work)
		if err := work.background(d); err != nil {
			_ = work.settle(acp.UpdateAgentMessageText("The work in the background was stopped.")) // nobody reads it: the connection is gone
		}
	}()
	return t.say(fmt.Sprintf("I go on in the background for %v.", d))
}

// background is the work itself.
func (t *turn) background(d time.Duration) error {
	if err := t.wait(behindTurn); err != nil {
		return err
	}
	c := t.tool(acp.ToolKindOther, "Work in the background", map[string]any{"seconds": d.Seconds()})
	failed := func(err error) error {
		_ = c.end(acp.ToolCallStatusFailed, nil, nil) // the same connection reports err
		return err
	}
	if err := t.send(acp.SessionUpdate{ToolCall: &acp.SessionUpdateToolCall{
		ToolCallId: c.id, Title: c.title, Kind: c.kind, Status: acp.ToolCallStatusInProgress, RawInput: c.input,
	}}); err != nil {
		return err
	}
	if err := t.wait(d); err != nil {
		return failed(err)
	}
	_, how, err := c.ask()
	if err != nil {
		return failed(err)
	}
	if err := c.end(acp.ToolCallStatusCompleted, nil, map[string]any{"option": how}); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("The work in the background is done: %s.", how))
}

// behind makes the turn of work in the background; nil: there is too much of it, or the
// agent is ending. done ends it.
func (s *session) behind(t *turn) *turn {
	if !t.agent.begin() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.background) >= maxBackground {
		t.agent.turns.Done()
		return nil
	}
	work := newTurn(t.agent.life, s)
	work.conn, work.agent = t.conn, t.agent
	s.background = append(s.background, work)
	return work
}
