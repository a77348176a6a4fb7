package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// hostile is a program that speaks ACP (Agent Client Protocol) wrongly. It stands
// on nothing that the worker uses, and writes by hand, since no library lets one
// be this rude. It has one goroutine.
type hostile struct {
	args []string // way and mark
	in   *bufio.Reader
	out  *bufio.Writer
}

// hostileAgent is the program: its first argument is the way. The second marks
// this run's processes, so that a test finds what is left of them.
func hostileAgent(args []string) {
	a := &hostile{args: args, in: bufio.NewReaderSize(os.Stdin, 64<<10), out: bufio.NewWriterSize(os.Stdout, 64<<10)}
	if args[0] == "daemon" { // what an agent of some ways has started
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
		a.stay()
	}
	for _, w := range hostileWays() {
		if w.name == args[0] {
			w.agent(a)
			a.exit(0)
		}
	}
	a.exit(2)
}

// exit leaves at once: os.Exit would sleep a second first, in which the race
// detector looks for races of the last moment.
func (a *hostile) exit(code int) {
	_ = a.out.Flush()
	syscall.Exit(code)
}

// heard is a line of the hub's.
type heard struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	line   string
}

// hear reads a line. A program that is told to end by the end of its stdin ends.
func (a *hostile) hear() heard {
	line, err := a.in.ReadString('\n')
	if err != nil {
		a.exit(0)
	}
	m := heard{line: strings.TrimSpace(line)}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		a.complain("the hub sent a line that is no JSON")
	}
	return m
}

// complain ends the program with words that its turn's complete will have.
func (a *hostile) complain(text string) {
	fmt.Fprintln(os.Stderr, text)
	a.exit(9)
}

// await reads up to a request or notification of the hub's.
func (a *hostile) await(method string) heard {
	for {
		if m := a.hear(); m.Method == method {
			return m
		}
	}
}

// answerTo reads up to the answer to a request of this program's.
func (a *hostile) answerTo(id string) string {
	for {
		if m := a.hear(); m.Method == "" && string(m.ID) == id {
			return m.line
		}
	}
}

// put prints without a flush, for floods.
func (a *hostile) put(format string, args ...any) {
	if _, err := fmt.Fprintf(a.out, format, args...); err != nil {
		a.exit(1)
	}
}

// flood prints a text many times.
func (a *hostile) flood(n int, text string) {
	for range n {
		if _, err := a.out.WriteString(text); err != nil {
			a.exit(1)
		}
	}
	if err := a.out.Flush(); err != nil {
		a.exit(1)
	}
}

// endless is a number of times that no agent gets to.
const endless = 1 << 40

// fewer is how many times something is done while the race detector watches.
func fewer(n int) int {
	if raced {
		return n / 20
	}
	return n
}

// print writes a line.
func (a *hostile) print(format string, args ...any) {
	a.put(format+"\n", args...)
	if err := a.out.Flush(); err != nil {
		a.exit(1)
	}
}

func (a *hostile) result(m heard, result string) {
	a.print(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

const (
	hostileHello = `{"protocolVersion":1,"agentCapabilities":{},"agentInfo":{"name":"hostile","version":"1"}}`
	endTurn      = `{"stopReason":"end_turn"}`
	yesNo        = `[{"optionId":"yes","name":"Yes","kind":"allow_once"},{"optionId":"no","name":"No","kind":"reject_once"}]`
)

func (a *hostile) initialized() { a.result(a.await("initialize"), hostileHello) }

// opened is the handshake as it should be.
func (a *hostile) opened() {
	a.initialized()
	a.result(a.await("session/new"), `{"sessionId":"acp"}`)
}

// prompted is the handshake and the first prompt.
func (a *hostile) prompted() heard {
	a.opened()
	return a.await("session/prompt")
}

// end answers a prompt as it should be, and waits for the end.
func (a *hostile) end(prompt heard) {
	a.result(prompt, endTurn)
	a.rest()
}

// rest does nothing until the hub closes stdin.
func (a *hostile) rest() {
	for {
		a.hear()
	}
}

// stay does nothing and reads nothing, for ever. (Go takes a select without
// cases for a deadlock.)
func (a *hostile) stay() {
	for {
		time.Sleep(time.Hour)
	}
}

func updateLine(session, update string) string {
	return `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"` + session + `","update":` + update + `}}`
}

func (a *hostile) update(update string) { a.print("%s", updateLine("acp", update)) }

// chunk is the update that says a text, which is put into JSON as it stands.
func chunk(text string) string {
	return `{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"` + text + `"}}`
}

func (a *hostile) say(text string) { a.update(chunk(text)) }

// quote says anything, such as what the hub has answered.
func (a *hostile) quote(text string) {
	quoted, err := json.Marshal(text)
	if err != nil {
		a.complain(err.Error())
	}
	a.say(string(quoted[1 : len(quoted)-1]))
}

// ask sends a permission request; answerTo has its answer.
func (a *hostile) ask(id, session, call, options string) {
	a.print(`{"jsonrpc":"2.0","id":%s,"method":"session/request_permission","params":{"sessionId":"%s","toolCall":%s,"options":%s}}`,
		id, session, call, options)
}

// start leaves a process behind that holds stdout and takes no notice of
// signals that can be ignored, in a session of its own.
func (a *hostile) start() {
	cmd := exec.Command("/proc/self/exe", append([]string{"hostile-agent", "daemon"}, a.args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		a.complain(err.Error())
	}
}
