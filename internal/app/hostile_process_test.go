package app

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sessionhub/protocol"
)

// hostileProcesses are the ways of permission requests and of the process itself.
func hostileProcesses() []hostileWay {
	crash := func(says string) outcome {
		return outcome{stop: protocol.StopError, code: protocol.TurnAgentCrashed, says: says}
	}
	// asksAbout is an agent that asks once and tells what it was answered. The tool
	// call is made by the agent that needs it: it can be long.
	asksAbout := func(session, options string, call func() string) func(a *hostile) {
		return func(a *hostile) {
			m := a.prompted()
			a.ask("1", session, call(), options)
			a.quote(a.answerTo("1"))
			a.end(m)
		}
	}
	asks := func(session, call, options string) func(a *hostile) {
		return asksAbout(session, options, func() string { return call })
	}
	return []hostileWay{
		{name: "permission-without-options", want: outcome{says: "1 to 64 options"}, agent: asks("acp", `{"toolCallId":"t"}`, `[]`)},
		{name: "permission-options-no-list", want: outcome{says: "cannot be read"}, agent: asks("acp", `{"toolCallId":"t"}`, `"yes"`)},
		{name: "permission-with-equal-options", want: outcome{says: "optionId twice"}, agent: asks("acp", `{"toolCallId":"t"}`,
			`[{"optionId":"x","name":"Yes","kind":"allow_once"},{"optionId":"x","name":"No","kind":"reject_once"}]`)},
		{name: "permission-of-another-session", want: outcome{says: "unknown session"}, agent: asks("another", `{"toolCallId":"t"}`, yesNo)},
		{name: "permission-without-a-tool-call", users: rejects, want: outcome{says: `"optionId":"no"`}, agent: asks("acp", `[]`, yesNo)},
		{name: "permission-with-a-title-of-a-megabyte", users: rejects, want: outcome{says: `"optionId":"no"`}, agent: asksAbout("acp", yesNo, func() string {
			return `{"toolCallId":"t","title":"` + strings.Repeat("t", 1<<20) + `","kind":"` + strings.Repeat("k", 1<<20) + `"}`
		})},
		{name: "permission-with-an-id-of-a-megabyte", users: rejects, want: outcome{says: `"optionId":"no"`}, agent: asksAbout("acp", yesNo, func() string {
			return `{"toolCallId":"` + strings.Repeat("i", 1<<20) + `"}`
		})},
		{name: "permission-with-an-input-of-2-megabytes", users: rejects, want: outcome{says: `"optionId":"no"`}, agent: asksAbout("acp", yesNo, func() string {
			return `{"toolCallId":"t","rawInput":{"text":"` + strings.Repeat("i", 2<<20) + `"},"content":[` + strings.Repeat(`{"type":"content"},`, 10_000) + `1]}`
		})},
		{name: "permission-id-twice", users: rejects, want: outcome{says: `"optionId":"no"`}, agent: func(a *hostile) {
			m := a.prompted()
			a.ask("1", "acp", `{"toolCallId":"t"}`, yesNo)
			a.ask("1", "acp", `{"toolCallId":"t"}`, yesNo)
			a.quote(a.answerTo("1") + a.answerTo("1"))
			a.end(m)
		}},
		{name: "flood-of-1000-permissions", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			m := a.prompted()
			for i := range 1000 { // nobody answers 64 of them, and the rest are refused
				a.put(`{"jsonrpc":"2.0","id":%d,"method":"session/request_permission","params":{"sessionId":"acp","toolCall":{"toolCallId":"t","rawInput":%d},"options":%s}}`+"\n", i, i, yesNo)
				if i%100 == 99 {
					_ = a.out.Flush()
					for refused := max(64, i-99); refused <= i; refused++ {
						a.answerTo(fmt.Sprint(refused))
					}
				}
			}
			a.say("I asked")
			a.await("session/cancel")
			for range 64 { // in no order
				a.hear()
			}
			a.result(m, `{"stopReason":"cancelled"}`)
			a.rest()
		}},
		{name: "permissions-of-megabytes", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			m := a.prompted()
			for i := range 64 {
				a.ask(fmt.Sprint(i), "acp", `{"toolCallId":"t`+fmt.Sprint(i)+`","rawInput":"`+strings.Repeat("i", fewer(400<<10))+`"}`, yesNo)
			}
			a.say("I asked")
			a.await("session/cancel")
			a.result(m, `{"stopReason":"cancelled"}`)
			a.rest()
		}},
		{name: "permission-after-the-turn", users: rejects, want: outcome{kinds: []string{inBackground + "tool_approval", inBackground + "output"}}, agent: func(a *hostile) {
			a.result(a.prompted(), endTurn)
			a.ask("1", "acp", `{"toolCallId":"t"}`, yesNo)
			a.quote(a.answerTo("1"))
			a.rest()
		}},
		{name: "crashes-in-mid-approval", want: crash("exit status 5: out of luck"), agent: func(a *hostile) {
			a.prompted()
			a.ask("1", "acp", `{"toolCallId":"t"}`, yesNo)
			fmt.Fprintln(os.Stderr, "out of luck")
			a.exit(5)
		}},
		{name: "killed", want: crash("signal: killed"), agent: func(a *hostile) {
			a.prompted()
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			a.stay()
		}},
		{name: "dies-with-2-megabytes-unread", want: crash("exit status 6"), agent: func(a *hostile) {
			a.prompted()
			a.flood(2000, updateLine("acp", chunk(strings.Repeat("last words ", 90)))+"\n")
			a.exit(6)
		}},
		{name: "closes-stdout-in-turn", want: crash("closed its stdout"), agent: func(a *hostile) {
			a.prompted()
			_ = os.Stdout.Close()
			a.stay()
		}},
		{name: "closes-stdin-in-turn", want: outcome{says: "before behind"}, agent: func(a *hostile) {
			m := a.prompted()
			_ = os.Stdin.Close()
			a.say("before behind")
			a.result(m, endTurn)
			a.stay()
		}},
		{name: "daemon-holds-stdout", want: crash("exit status 8"), agent: func(a *hostile) {
			a.prompted()
			a.start()
			a.exit(8)
		}},
		{name: "daemons-by-the-dozen", want: outcome{says: "started"}, agent: func(a *hostile) {
			m := a.prompted()
			for range 12 {
				a.start()
			}
			a.say("started")
			a.end(m)
		}},
		{name: "traps-sigterm", want: outcome{says: "hello"}, agent: func(a *hostile) {
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			m := a.prompted()
			a.say("hello")
			a.result(m, endTurn)
			a.stay()
		}},
		{name: "kills-its-process-group", want: crash("signal: terminated"), agent: func(a *hostile) {
			a.prompted()
			_ = syscall.Kill(0, syscall.SIGTERM)
			a.stay()
		}},
		{name: "stops-itself", users: cancels, want: outcome{stop: protocol.StopCancelled}, agent: func(a *hostile) {
			a.prompted()
			a.say("good night")
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			a.stay()
		}},
		{name: "kills-its-supervisor", want: crash("supervisor was killed"), agent: func(a *hostile) {
			a.prompted()
			a.start()
			_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
			a.stay()
		}},
	}
}
