package bench

import (
	"fmt"

	"sessionhub/protocol"
)

// script is all that an agent says in a session of ModeHistory: pieces of text, and a
// tool call behind each so many of them. It follows from these numbers, so the benchmark
// knows what the log must say.
type script struct{ pieces, tools, bytes, toolBytes int }

// message asks the worker of this package for the tool calls from one to another, each
// with the pieces in front of it.
func (s script) message(from, to int) string {
	return fmt.Sprintf("/work %d %d %d %d %d %d", from, to, s.pieces, s.tools, s.bytes, s.toolBytes)
}

// parseScript reads a message. ok is false for another one.
func parseScript(text string) (s script, from, to int, ok bool) {
	n, err := fmt.Sscanf(text, "/work %d %d %d %d %d %d", &from, &to, &s.pieces, &s.tools, &s.bytes, &s.toolBytes)
	return s, from, to, n == 6 && err == nil && s.check() == nil && from >= 0 && from <= to && to <= s.tools
}

// check names what is wrong with the numbers.
func (s script) check() error {
	switch {
	case s.tools < 1 || s.tools > 1_000_000:
		return fmt.Errorf("--tools %d: want 1 to 1000000", s.tools)
	case s.pieces < s.tools || s.pieces > 10_000_000:
		return fmt.Errorf("--pieces %d: want 10000000 at most, and one for each tool call at least", s.pieces)
	case s.bytes < 1 || s.bytes > maxText:
		return fmt.Errorf("--bytes %d: want 1 to %d", s.bytes, maxText)
	case s.toolBytes < 4 || s.toolBytes > maxText:
		return fmt.Errorf("--tool-bytes %d: want 4 to %d", s.toolBytes, maxText)
	}
	return nil
}

// say tells what the agent says of a message, in order.
func (s script) say(messageID string, from, to int, publish func(protocol.EventType, any) error) error {
	for call := from; call < to; call++ {
		for piece := s.pieces * call / s.tools; piece < s.pieces*(call+1)/s.tools; piece++ {
			text := protocol.OutputData{MessageID: messageID, Text: textAt(piece*s.bytes, s.bytes), Kind: protocol.OutputText}
			if err := publish(protocol.EventOutput, text); err != nil {
				return err
			}
		}
		for _, update := range s.call(messageID, call) {
			if err := publish(protocol.EventToolCall, update); err != nil {
				return err
			}
		}
	}
	return nil
}

// call is a tool call from its beginning to its end: a quarter of its bytes goes in.
func (s script) call(messageID string, call int) [2]protocol.ToolCallData {
	in, id := s.toolBytes/4, fmt.Sprintf("call-%d", call)
	at := call * s.toolBytes
	return [2]protocol.ToolCallData{
		{
			MessageID: messageID, ToolCallID: id, Title: fmt.Sprintf("Edit file %d", call), Kind: "edit", Status: "pending",
			Input: protocol.Marshal(struct {
				Text string `json:"text"`
			}{textAt(at, in)}),
		},
		{MessageID: messageID, ToolCallID: id, Status: "completed", Output: protocol.Marshal(textAt(at+in, s.toolBytes-in))},
	}
}
