package fakemodel

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Turn is what a script may look at: one request of an agent to its model,
// without the vendor's format.
type Turn struct {
	// Model is the model's name as the agent gave it.
	Model string
	// UserText is the last text the user wrote. Agents put context of their own
	// into the user's role ahead of it; that is not part of UserText.
	UserText string
	// ToolOutputs are the results of the tools that were called after UserText,
	// oldest first. Empty: the agent asks for the first reply to UserText.
	ToolOutputs []ToolOutput
	// Tools are the tools that the agent offers to the model.
	Tools []Tool
}

// ToolOutput is the result of a tool call as the agent reports it to the model.
type ToolOutput struct {
	CallID string
	Text   string
}

// Reply is what the model does. The fields apply in the order in which they
// stand here. The zero Reply is an empty answer that ends the turn.
type Reply struct {
	// Status, if not 0, is answered as an HTTP error instead of a stream.
	Status int
	// Silent: nothing is sent, not even the response's head, until the client
	// leaves or the server closes.
	Silent bool
	// Thought is streamed as the model's reasoning.
	Thought string
	// Deltas are the pieces of the answer's text.
	Deltas []string
	// Interval is the pause between two deltas.
	Interval time.Duration
	// Break cuts the connection in the middle of the stream, after the deltas.
	Break bool
	// Tool, if not nil, is called after the text.
	Tool *ToolCall
}

// ToolCall is a model's wish to run a tool.
type ToolCall struct {
	Name      string
	Namespace string // of the tool
	Arguments map[string]any
	// Input is what a tool with [Tool.Freeform] gets instead of Arguments.
	Input string
}

// Script decides a reply. It is called concurrently, once for each request.
type Script func(Turn) Reply

// slowDeltas is how many pieces "slow" streams, one each second: longer than
// any test wants to wait, so that only a cancel ends it early.
const slowDeltas = 60

// Directives is the script that obeys the first line of the user's text:
//
//	say TEXT       TEXT, streamed word by word
//	think TEXT     TEXT as reasoning, then a short answer
//	shell CMD      calls the agent's shell tool with CMD in a way that makes it
//	               ask for permission; then quotes the output's first line
//	background CMD the same, but the command goes on behind the turn's end, where
//	               the tool can do that
//	write PATH TEXT
//	               calls the agent's tool for editing files
//	enterplan      has the agent go into its plan mode
//	question       asks the user two questions, the second of which takes several answers
//	mcp TEXT       calls the tool "echo" of an MCP server with TEXT
//	plan           tells the agent's plan tool two steps, the first one done
//	slow [N]       N (default 60) pieces, one each second
//	error STATUS   an HTTP error, such as 429 or 500
//	break          half an answer, then the connection breaks
//	silent         no answer at all
//
// A claude that tells its model of the end of such a command has the model run
// another one, "echo behind > behind.txt".
//
// Any other text is answered with "You said: " and its first line. The answer
// after a tool call is "The output begins: " and the first line of its output.
func Directives(turn Turn) Reply {
	line, _, _ := strings.Cut(strings.TrimSpace(turn.UserText), "\n")
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if n := len(turn.ToolOutputs); n > 0 {
		return text("The output begins: " + firstLine(turn.ToolOutputs[n-1].Text))
	}
	switch verb {
	case "say":
		return text(rest)
	case "think":
		reply := text("I have thought about it.")
		reply.Thought = rest
		return reply
	case "shell":
		return call(shellCall(turn.Tools, rest, false))
	case "background":
		return call(shellCall(turn.Tools, rest, true))
	case taskNotification:
		return call(shellCall(turn.Tools, "echo behind > behind.txt", false))
	case "write":
		path, content, _ := strings.Cut(rest, " ")
		return call(writeCall(turn.Tools, path, content))
	case "enterplan":
		tool, err := pick(turn.Tools, "EnterPlanMode")
		return call(&ToolCall{Name: tool.Name, Arguments: map[string]any{}}, err)
	case "question":
		return call(questionCall(turn.Tools))
	case "mcp":
		return call(mcpCall(turn.Tools, rest))
	case "plan":
		return call(planCall(turn.Tools))
	case "slow":
		count := slowDeltas
		if n, err := strconv.Atoi(rest); err == nil && n > 0 {
			count = n
		}
		reply := Reply{Interval: time.Second}
		for i := range count {
			reply.Deltas = append(reply.Deltas, fmt.Sprintf("%d ", i+1))
		}
		return reply
	case "error":
		status, err := strconv.Atoi(rest)
		if err != nil || status < 400 || status > 599 {
			return text(fmt.Sprintf("%q is no HTTP error status", rest))
		}
		return Reply{Status: status}
	case "break":
		return Reply{Deltas: pieces("This answer breaks"), Break: true}
	case "silent":
		return Reply{Silent: true}
	}
	return text("You said: " + line)
}

// call announces a tool call and makes it, or says why it cannot be made.
func call(tool *ToolCall, err error) Reply {
	if err != nil {
		return text(err.Error())
	}
	reply := text("I will use " + tool.Name + ".")
	reply.Tool = tool
	return reply
}

func text(s string) Reply { return Reply{Deltas: pieces(s)} }

// pieces cuts a text after each space, so that joining the pieces gives it back.
func pieces(s string) []string {
	if s == "" {
		return nil
	}
	return strings.SplitAfter(s, " ")
}

// firstLine is the first line of what a command printed. Codex puts a head
// ("Exit code: 0", "Wall time: ...") in front of it that ends in "Output:".
func firstLine(s string) string {
	if _, after, found := strings.Cut(s, "\nOutput:\n"); found {
		s = after
	}
	line, _, _ := strings.Cut(strings.TrimLeft(s, "\n"), "\n")
	return line
}
