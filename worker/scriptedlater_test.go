package worker

import (
	"os"
	"strings"
	"time"
)

// later does what the words say behind the end of the turn, one after the other.
func (a *scripted) later(words []string, cancel <-chan struct{}) {
	for _, word := range words {
		what, about, _ := strings.Cut(word, ":")
		id, status, _ := strings.Cut(about, ":")
		switch what {
		case "say":
			a.say(about)
		case "think":
			a.update(`{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"` + about + `"}}`)
		case "plan":
			a.update(`{"sessionUpdate":"plan","entries":[{"content":"` + about + `","priority":"high","status":"pending"}]}`)
		case "tool", "update":
			kind := map[string]string{"tool": "tool_call", "update": "tool_call_update"}[what]
			if status != "" {
				status = `,"status":"` + status + `"`
			}
			a.update(`{"sessionUpdate":"` + kind + `","toolCallId":"` + id + `","title":"Run ` + id + `","kind":"execute"` + status + `}`)
		case "ask":
			a.say("answer " + string(a.request("session/request_permission",
				`{"sessionId":"acp-1","toolCall":{"toolCallId":"`+id+`","title":"Push","kind":"execute","rawInput":{"command":"git push"}},"options":`+scriptedOptions+`}`)))
		case "withdraw": // asks, and takes it back when there is a file
			ask, answer := a.ask("session/request_permission",
				`{"sessionId":"acp-1","toolCall":{"toolCallId":"w1","title":"Push"},"options":`+scriptedOptions+`}`)
			waitForFile(about)
			a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":%s}}`, ask)
			a.say("answer " + string(<-answer))
		case "wait": // until there is a file
			waitForFile(about)
		case "cancelled":
			<-cancel
		case "die":
			os.Exit(5)
		}
	}
}

func waitForFile(name string) {
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
