package app

import (
	"fmt"
	"os"
	"strings"
	"time"

	"sessionhub/protocol"
)

// soon is the start timeout of what is never ready.
const soon = 3 * time.Second

// hostileStarts are the ways that are over, or begin, before the first prompt.
func hostileStarts() []hostileWay {
	start := func(says string) outcome {
		return outcome{stop: protocol.StopError, code: protocol.TurnAgentStart, says: says}
	}
	late := start("not ready after 3s")
	return []hostileWay{
		{name: "never-answers", timeout: soon, want: late, agent: func(a *hostile) { a.rest() }},
		{name: "never-reads", timeout: soon, want: late, agent: func(a *hostile) { a.stay() }},
		{name: "other-id", timeout: soon, want: late, agent: func(a *hostile) {
			a.await("initialize")
			a.print(`{"jsonrpc":"2.0","id":4711,"result":%s}`, hostileHello)
			a.rest()
		}},
		{name: "batch-array", timeout: soon, want: late, agent: func(a *hostile) {
			a.print(`[{"jsonrpc":"2.0","id":%s,"result":%s}]`, a.await("initialize").ID, hostileHello)
			a.rest()
		}},
		{name: "header-framing", timeout: soon, want: late, agent: func(a *hostile) { // as the Language Server Protocol has it
			answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, a.await("initialize").ID, hostileHello)
			a.put("Content-Length: %d\r\n\r\n%s", len(answer), answer)
			_ = a.out.Flush()
			a.rest()
		}},
		{name: "pretty-printed", timeout: soon, want: late, agent: func(a *hostile) {
			a.print("{\n  \"jsonrpc\": \"2.0\",\n  \"id\": %s,\n  \"result\": {\n    \"protocolVersion\": 1\n  }\n}", a.await("initialize").ID)
			a.rest()
		}},
		{name: "exits-at-once", want: start("exit status 7: no licence"), agent: func(a *hostile) {
			fmt.Fprintln(os.Stderr, "no licence")
			a.exit(7)
		}},
		{name: "garbage-only", want: start("100 lines"), agent: func(a *hostile) {
			a.flood(endless, "Starting up, please wait ...\n")
		}},
		{name: "binary", want: start("100 lines"), agent: func(a *hostile) {
			for i := range 1 << 20 {
				_ = a.out.WriteByte(byte(i * i >> 7)) // NUL, line ends and all else
			}
			_ = a.out.Flush()
			a.rest()
		}},
		{name: "closes-stdout", want: start("closed its stdout"), agent: func(a *hostile) {
			_ = os.Stdout.Close()
			a.stay()
		}},
		{name: "initialize-error", want: start("initialize: not today: the licence is over"), agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"not today","data":{"details":"the licence is over"}}}`, a.await("initialize").ID)
			a.rest()
		}},
		{name: "error-is-a-text", want: start("initialize: not today"), agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":%s,"error":"not today"}`, a.await("initialize").ID)
			a.rest()
		}},
		{name: "initialize-array", want: start("initialize: the answer cannot be read"), agent: func(a *hostile) {
			a.result(a.await("initialize"), `[1,2,3]`)
			a.rest()
		}},
		{name: "no-result", want: start("initialize: the answer cannot be read"), agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":%s}`, a.await("initialize").ID)
			a.rest()
		}},
		{name: "version-2", want: start(`ACP version "2"`), agent: func(a *hostile) {
			a.result(a.await("initialize"), `{"protocolVersion":2}`)
			a.rest()
		}},
		{name: "version-of-a-megabyte", want: start("ACP version"), agent: func(a *hostile) {
			a.result(a.await("initialize"), `{"protocolVersion":`+strings.Repeat("1", 1<<20)+`}`)
			a.rest()
		}},
		{name: "session-without-id", want: start("no session is named"), agent: func(a *hostile) {
			a.initialized()
			a.result(a.await("session/new"), `{"modes":null}`)
			a.rest()
		}},
		{name: "session-id-number", want: start("no session is named"), agent: func(a *hostile) {
			a.initialized()
			a.result(a.await("session/new"), `{"sessionId":12}`)
			a.rest()
		}},
		{name: "session-id-of-2-megabytes", want: start("session id"), agent: func(a *hostile) {
			a.initialized()
			a.result(a.await("session/new"), `{"sessionId":"`+strings.Repeat("s", 2<<20)+`"}`)
			a.rest()
		}},
		{name: "closes-stdin", want: outcome{stop: protocol.StopError, code: protocol.TurnAgentCrashed, says: "closed its stdin"}, agent: func(a *hostile) {
			a.initialized()
			m := a.await("session/new")
			_ = os.Stdin.Close()
			a.result(m, `{"sessionId":"acp"}`)
			a.stay()
		}},

		// What is wrong but clear is taken.
		{name: "string-id", want: outcome{says: "hello"}, agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":"%s","result":%s}`, a.await("initialize").ID, hostileHello)
			a.result(a.await("session/new"), `{"sessionId":"acp"}`)
			m := a.await("session/prompt")
			a.say("hello")
			a.end(m)
		}},
		{name: "initialize-twice", want: outcome{says: "hello"}, agent: func(a *hostile) {
			m := a.await("initialize")
			a.result(m, hostileHello)
			a.result(m, `{"protocolVersion":2}`)
			a.result(a.await("session/new"), `{"sessionId":"acp"}`)
			m = a.await("session/prompt")
			a.say("hello")
			a.end(m)
		}},
		{name: "answers-foretold", want: outcome{}, agent: func(a *hostile) { // it reads nothing
			a.print(`{"jsonrpc":"2.0","id":1,"result":%s}`, hostileHello)
			a.print(`{"jsonrpc":"2.0","id":2,"result":{"sessionId":"acp"}}`)
			a.print(`{"jsonrpc":"2.0","id":3,"result":%s}`, endTurn)
			a.stay()
		}},
		{name: "updates-before-initialize", want: outcome{says: "hello", kinds: []string{"agent_message_chunk"}}, agent: func(a *hostile) {
			a.flood(500, updateLine("acp", chunk("too early"))+"\n")
			m := a.prompted()
			a.say("hello")
			a.end(m)
		}},
		{name: "permission-before-session", want: outcome{says: "unknown session"}, agent: func(a *hostile) {
			a.initialized()
			m := a.await("session/new")
			a.ask("1", "acp", `{"toolCallId":"t"}`, yesNo)
			answer := a.answerTo("1")
			a.result(m, `{"sessionId":"acp"}`)
			m = a.await("session/prompt")
			a.quote(answer)
			a.end(m)
		}},
	}
}
