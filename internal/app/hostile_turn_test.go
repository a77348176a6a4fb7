package app

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"sessionhub/protocol"
)

// hostileTurns are the ways of a turn: its text, its updates, its end.
func hostileTurns() []hostileWay {
	fault := func(says string) outcome {
		return outcome{stop: protocol.StopError, code: protocol.TurnAgentProtocol, says: says}
	}
	// answers is an agent that only answers its prompt, with this.
	answers := func(result string) func(a *hostile) {
		return func(a *hostile) {
			a.result(a.prompted(), result)
			a.rest()
		}
	}
	// tellsAll is an agent that prints lines between two words, and then ends its
	// turn. The lines are made by the agent that needs them: they can be long.
	tellsAll := func(lines func() []string) func(a *hostile) {
		return func(a *hostile) {
			m := a.prompted()
			a.say("before ")
			for _, l := range lines() {
				a.print("%s", l)
			}
			a.say("behind")
			a.end(m)
		}
	}
	tells := func(lines ...string) func(a *hostile) { return tellsAll(func() []string { return lines }) }
	whole := outcome{says: "before behind"}
	with := func(kinds ...string) outcome { return outcome{says: whole.says, kinds: kinds} }
	return []hostileWay{
		// The end of the turn.
		{name: "hangs-and-ignores-cancel", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			a.prompted()
			a.say("working")
			a.rest()
		}},
		{name: "streams-on-after-cancel", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			a.prompted()
			a.flood(endless, updateLine("acp", chunk(strings.Repeat("more and more ", 500)))+"\n")
		}},
		{name: "streams-on-after-delete", users: deletes, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			signal.Ignore(syscall.SIGTERM)
			a.prompted()
			a.flood(endless, updateLine("acp", chunk(strings.Repeat("more and more ", 500)))+"\n")
		}},
		{name: "half-a-line", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			m := a.prompted()
			a.say("working")
			a.put(`{"jsonrpc":"2.0","id":%s,"result":{"stopRea`, m.ID)
			_ = a.out.Flush()
			a.stay()
		}},
		{name: "answers-after-eof", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			m := a.prompted()
			a.say("working")
			for {
				if _, err := a.in.ReadString('\n'); err != nil {
					a.result(m, endTurn)
					a.say("too late")
					a.exit(0)
				}
			}
		}},
		{name: "cancel-answered-with-error", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			m := a.prompted()
			a.say("working")
			a.await("session/cancel")
			a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32800,"message":"cancelled"}}`, m.ID)
			a.rest()
		}},
		{name: "never-ends-in-silence", want: outcome{stop: protocol.StopError, code: protocol.TurnTimedOut, says: "no sign of life"}, agent: func(a *hostile) {
			m := a.prompted()
			a.await("session/cancel") // the hub's own
			a.result(m, `{"stopReason":"cancelled"}`)
			a.rest()
		}},
		{name: "prompt-answered-twice", want: outcome{}, agent: func(a *hostile) {
			m := a.prompted()
			a.result(m, endTurn)
			a.result(m, `{"stopReason":"refusal"}`)
			a.rest()
		}},
		{name: "prompt-answered-before-its-updates", want: with(inBackground + "output"), agent: func(a *hostile) {
			m := a.prompted()
			a.say("before behind")
			a.result(m, endTurn)
			for range 100 {
				a.say("after the end")
			}
			a.rest()
		}},
		{name: "stop-reason-unknown", want: fault("unknown stop reason: bored"), agent: answers(`{"stopReason":"bored"}`)},
		{name: "stop-reason-error", want: fault("unknown stop reason: error"), agent: answers(`{"stopReason":"error"}`)},
		{name: "stop-reason-number", want: fault("cannot be read"), agent: answers(`{"stopReason":7}`)},
		{name: "stop-reason-null", want: fault("no stop reason"), agent: answers(`{"stopReason":null}`)},
		{name: "prompt-answered-with-null", want: fault("no stop reason"), agent: answers(`null`)},
		{name: "prompt-answered-with-array", want: fault("cannot be read"), agent: answers(`[` + endTurn + `]`)},
		{name: "error-is-a-number", want: outcome{stop: protocol.StopError, code: protocol.TurnAgentFailed, says: "42"}, agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":%s,"error":42}`, a.prompted().ID)
			a.rest()
		}},
		{name: "error-of-a-megabyte", want: outcome{stop: protocol.StopError, code: protocol.TurnAgentFailed, says: "eeee"}, agent: func(a *hostile) {
			a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-1,"message":"\u001b[2J%s","data":[%s0]}}`, a.prompted().ID, strings.Repeat("e", 1<<20), strings.Repeat("0,", 100_000))
			a.rest()
		}},

		{name: "takes-its-question-back", want: outcome{says: "-32800"}, agent: func(a *hostile) {
			m := a.prompted()
			a.ask("7", "acp", `{"toolCallId":"t1","title":"Deploy"}`, `[{"optionId":"y","name":"Yes","kind":"allow_once"}]`)
			for _, params := range []string{`{"requestId":"8"}`, `{}`, `7`, `{"requestId":7}`, `{"requestId":7}`} {
				a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":%s}`, params)
			}
			a.quote(a.answerTo("7"))
			a.end(m)
		}},

		// What is printed in it.
		{name: "garbage-among-messages", want: with("garbage"), agent: func(a *hostile) {
			a.print("Welcome!\n\n\r\n")
			a.initialized()
			a.print("warning: {\"jsonrpc\":\"2.0\"")
			a.result(a.await("session/new"), `{"sessionId":"acp"}`)
			m := a.await("session/prompt")
			a.say("before ")
			for range 50 {
				a.print("\x1b[31mdeprecated\x1b[0m")
			}
			a.print("%s\r", updateLine("acp", chunk("behind")))
			a.end(m)
		}},
		{name: "garbage-in-thousands", want: fault("100 lines"), agent: func(a *hostile) {
			a.prompted()
			a.flood(endless, "no message at all\n")
		}},
		{name: "nul-bytes", want: outcome{says: "before a\x00b behind", kinds: []string{"garbage"}}, agent: tells(
			updateLine("acp", chunk("raw\x00NUL")), "\x00\x00\x00", updateLine("acp", chunk(`a\u0000b `)))},
		{name: "invalid-utf8", want: outcome{says: "before a\uFFFDb behind"}, agent: tells(updateLine("acp", chunk("a\xff\xfeb ")))},
		{name: "lone-surrogates", want: outcome{says: "before \uFFFD\U0001F600 \uFFFD behind"}, agent: tells(updateLine("acp", chunk(`\ude00\ud83d\ude00 \ud83d `)))},
		// JavaScript agents cut between UTF-16 units.
		{name: "halves-of-surrogates", want: outcome{says: "before a\U0001F600b\U0001F680\uFFFDc\uFFFD behind"}, agent: tells(
			updateLine("acp", chunk(`a\ud83d`)), updateLine("acp", chunk(`\ude00b\uD83D`)), updateLine("acp", chunk(``)), updateLine("acp", chunk(`\uDE80\ud83d`)),
			updateLine("acp", chunk(`c\ud83d`)), `{"jsonrpc":"2.0","method":"$/progress"}`, updateLine("acp", chunk(` `)))},
		{name: "deep-nesting", want: with("garbage", "deep"), agent: tellsAll(func() []string {
			return []string{
				updateLine("acp", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)),
				updateLine("acp", `{"sessionUpdate":"deep","x":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`}`),
			}
		})},
		{name: "unknown-updates", want: with("unknown", "unreadable", "later_invention"), agent: tells(
			updateLine("acp", `{}`), updateLine("acp", `"text"`), updateLine("acp", `null`), updateLine("acp", `{"sessionUpdate":7}`),
			updateLine("acp", `{"sessionUpdate":"later_invention","x":[1]}`),
			`{"jsonrpc":"2.0","method":"session/update"}`, `{"jsonrpc":"2.0","method":"session/update","params":"x"}`,
			updateLine("acp", `{"sessionUpdate":"agent_message_chunk"}`), updateLine("acp", `{"sessionUpdate":"plan","entries":{}}`))},
		{name: "foreign-session-updates", want: with("other_session"), agent: tells(updateLine("another", chunk("not yours ")), updateLine("", chunk("nobody's ")))},
		{name: "null-ids-and-dollar-methods", want: whole, agent: tells(
			`{"jsonrpc":"2.0","id":null,"method":"session/request_permission","params":{}}`,
			`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"id":3}}`, `{"jsonrpc":"2.0","method":"$/progress"}`,
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}`,
			`{"jsonrpc":"2.0","id":"3 ","result":{}}`, `{"jsonrpc":"2.0","id":[3],"result":{}}`, `{"jsonrpc":"2.0","id":-3,"result":{}}`)},
		{name: "batch-arrays-in-turn", want: with("garbage"), agent: tells(`[`+updateLine("acp", chunk("batched "))+`,`+updateLine("acp", chunk("too "))+`]`, `[]`)},
		{name: "unknown-methods", want: outcome{says: "method not found: fs/read_text_file"}, agent: func(a *hostile) {
			m := a.prompted()
			a.print(`{"jsonrpc":"2.0","id":"r","method":"fs/read_text_file","params":{"path":"/etc/passwd"}}`)
			a.quote(a.answerTo(`"r"`))
			a.end(m)
		}},

		// Too much of it.
		{name: "line-of-20-megabytes", want: outcome{}, agent: tellsAll(func() []string {
			return []string{updateLine("acp", chunk(strings.Repeat("y", fewer(20<<20))))}
		})},
		{name: "tool-call-of-4-megabytes", want: whole, agent: tellsAll(func() []string {
			return []string{updateLine("acp", `{"sessionUpdate":"tool_call","toolCallId":"t","rawInput":"`+strings.Repeat("i", 2<<20)+`","rawOutput":"`+strings.Repeat("o", 2<<20)+`"}`)}
		})},
		{name: "line-of-33-megabytes", want: fault("32 MiB"), agent: tellsAll(func() []string {
			return []string{updateLine("acp", chunk(strings.Repeat("y", 33<<20)))}
		})},
		{name: "line-without-an-end", want: fault("32 MiB"), agent: func(a *hostile) {
			a.prompted()
			a.flood(endless, strings.Repeat("z", 64<<10))
		}},
		{name: "flood-of-200000-updates", want: outcome{}, agent: func(a *hostile) {
			m := a.prompted()
			for i := range fewer(200_000) {
				a.put("%s\n", updateLine("acp", chunk(strconv.Itoa(i)+" ")))
			}
			a.end(m)
		}},
		{name: "plan-of-20000-entries", want: whole, agent: tellsAll(func() []string {
			return []string{updateLine("acp", `{"sessionUpdate":"plan","entries":[`+strings.Repeat(`{"content":"x","priority":"low","status":"pending"},`, 20_000)+`{"content":"y"}]}`)}
		})},
		{name: "tool-calls-by-thousands", want: outcome{}, agent: func(a *hostile) {
			m := a.prompted()
			for i := range fewer(12_000) {
				a.put("%s\n", updateLine("acp", `{"sessionUpdate":"tool_call","toolCallId":"t`+strconv.Itoa(i)+`","title":"never ends"}`))
			}
			a.end(m)
		}},
		{name: "tool-updates-for-unknown-ids", want: whole, agent: tells(
			updateLine("acp", `{"sessionUpdate":"tool_call_update","toolCallId":"never announced","status":"in_progress"}`),
			updateLine("acp", `{"sessionUpdate":"tool_call_update","toolCallId":"nor this","status":"completed","content":"no list"}`))},
		{name: "tool-id-of-a-megabyte", want: with("tool_call"), agent: tellsAll(func() []string {
			return []string{
				updateLine("acp", `{"sessionUpdate":"tool_call","toolCallId":"`+strings.Repeat("i", 1<<20)+`"}`),
				updateLine("acp", `{"sessionUpdate":"tool_call","toolCallId":7}`), updateLine("acp", `{"sessionUpdate":"tool_call"}`),
			}
		})},
		{name: "updates-outside-of-turns", want: with(inBackground+"output", inBackground+"tool_call", "usage"), agent: func(a *hostile) {
			m := a.prompted()
			a.say("before behind")
			a.result(m, endTurn)
			a.flood(1000, updateLine("acp", chunk("nobody asked"))+"\n")
			a.update(`{"sessionUpdate":"tool_call","toolCallId":"t","title":"on my own"}`)
			a.update(`{"sessionUpdate":"usage_update","used":1}`)
			a.rest()
		}},
		{name: "tells-too-much", want: with("commands", "usage", "session_info", "notice"), agent: func(a *hostile) {
			m := a.prompted()
			a.say("before ")
			long := func(n int) string { return strings.Repeat(`\u001b[31mlong\u202e \n`, n) }
			var list []string
			for i := range 100 {
				list = append(list, fmt.Sprintf(`{"name":"c%d","description":"%s","input":{"hint":"%s"}}`, i, long(2000), long(2000)))
			}
			a.update(`{"sessionUpdate":"available_commands_update","availableCommands":[` + strings.Join(list, ",") + `]}`)
			for i := range 200 {
				a.update(fmt.Sprintf(`{"sessionUpdate":"session_info_update","title":"%d %s"}`, i, long(500)))
				a.update(fmt.Sprintf(`{"sessionUpdate":"usage_update","used":%d,"size":-1,"cost":{"amount":%de300,"currency":"USD"}}`, i, i))
				a.update(fmt.Sprintf(`{"sessionUpdate":"usage_update","cost":{"amount":%d,"currency":"%s"}}`, 200-i, long(500)))
			}
			a.update(`{"sessionUpdate":"notice","severity":"` + long(500) + `","title":"` + long(5000) + `","description":"` + long(40_000) + `","_meta":{"a":"` + long(40_000) + `"}}`)
			a.say("behind")
			a.result(m, endTurn)
			a.rest()
		}},
		{name: "asks-and-never-reads", want: fault("does not read its stdin"), agent: func(a *hostile) {
			a.prompted()
			for i := range 100_000 {
				a.put(`{"jsonrpc":"2.0","id":%d,"method":"terminal/create","params":{"command":"sh"}}`+"\n", i)
			}
			a.stay()
		}},
		{name: "stderr-of-50-megabytes", want: whole, agent: func(a *hostile) {
			m := a.prompted()
			a.say("before ")
			for range 50 << 4 {
				_, _ = os.Stderr.WriteString(strings.Repeat("debug: all is well\x00\xff\n", 64<<10/20))
			}
			a.say("behind")
			a.end(m)
		}},
	}
}
