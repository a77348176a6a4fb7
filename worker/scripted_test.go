package worker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// scripted is an ACP agent written by hand, on nothing that the worker uses. Its
// arguments say how it starts, and the first word of a prompt what it does.
type scripted struct {
	traits []string

	mu      sync.Mutex // guards stdout and the maps
	nextID  int
	answers map[string]chan json.RawMessage
	cancel  chan struct{} // closed by session/cancel
	mode    string
	model   string
	client  string         // what it has announced
	login   string         // the method that authenticate named
	set     map[string]any // the values of a rich agent's options; nil: it is none
	steer   steering
	line    string // the last prompt, as it came
	first   string // the answer to what it asked before it was ready
	servers string // the MCP servers that it was given, behind the method
}

func scriptedAgent(args []string) int {
	a := &scripted{traits: args, answers: make(map[string]chan json.RawMessage), mode: "auto", model: "small"}
	a.steer = steering{a, make(chan string, 16)}
	if a.is("--login") {
		return scriptedTerminal()
	}
	if kind, err := os.ReadFile("logged-in"); err == nil && a.is("in-a-terminal") {
		a.login = "a file of the kind " + string(kind)
	}
	if a.is("exit-at-once") {
		fmt.Fprintln(os.Stderr, "no licence found")
		return 7
	}
	if a.is("ignore-term") {
		signal.Ignore(syscall.SIGTERM)
	}
	if a.is("note-term") {
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		go func() {
			<-terms
			_ = os.WriteFile("term", nil, 0o600) // and lives on
		}()
	}
	if a.is("banner") {
		fmt.Println("Welcome to the agent! \xff\xfe")
	}
	if a.is("helper") { // as claude-agent-acp has one
		if err := exec.Command("sleep", "300").Start(); err != nil {
			return 8
		}
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if a.is("ignore-eof") {
				select {} // like codex-acp, which only SIGTERM ends
			}
			return 0
		}
		a.handle(line)
	}
}

func (a *scripted) is(trait string) bool { return slices.Contains(a.traits, trait) }

func (a *scripted) print(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", args...)
}

func (a *scripted) update(update string) {
	a.print(`{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"acp-1","update":%s}}`, update)
}

func (a *scripted) say(text string) {
	quoted, _ := json.Marshal(text)
	a.update(`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":` + string(quoted) + `}}`)
}

func (a *scripted) handle(line []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
		Params struct {
			Prompt []struct {
				Text string `json:"text"`
			} `json:"prompt"`
			Cwd       string `json:"cwd"`
			ModeID    string `json:"modeId"`
			ModelID   string `json:"modelId"`
			ConfigID  string `json:"configId"`
			Type      string `json:"type"`
			Value     any    `json:"value"`
			SessionID string `json:"sessionId"`
			MethodID  string `json:"methodId"`

			MCPServers json.RawMessage `json:"mcpServers"`
			Meta       struct {
				Steering struct {
					IdleBehavior string `json:"idleBehavior"`
				} `json:"steering"`
			} `json:"_meta"`

			Capabilities json.RawMessage `json:"clientCapabilities"`
		} `json:"params"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		fmt.Fprintln(os.Stderr, "bad line:", err)
		os.Exit(9)
	}
	ok := func(result string) { a.print(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result) }
	switch m.Method {
	case "":
		a.mu.Lock()
		answer := a.answers[string(m.ID)]
		a.mu.Unlock()
		if answer != nil {
			if m.Error != nil {
				answer <- m.Error
			} else {
				answer <- m.Result
			}
		}
	case "initialize":
		a.client = string(m.Params.Capabilities)
		switch {
		case a.is("asks-first"): // a login page before there is a session
			go func() {
				a.first = string(a.request("elicitation/create", `{"requestId":`+string(m.ID)+`,"mode":"url","elicitationId":"e1","message":"Log in","url":"https://login.example.org/"}`))
				ok(`{"protocolVersion":1,"agentCapabilities":{}}`)
			}()
		case a.is("never-ready"):
		case a.is("version-2"):
			ok(`{"protocolVersion":2}`)
		case a.is("text-version"):
			ok(`{"protocolVersion":"one"}`)
		case a.is("logs-in"):
			ok(`{"protocolVersion":1,"agentCapabilities":{"loadSession":true},"authMethods":` + scriptedLogins + `}`)
		case a.is("steers"):
			ok(`{"protocolVersion":1,"agentCapabilities":{},"_meta":{"steering":{"supported":true},"sessionhub/reason":{"supported":true}}}`)
		case a.is("sees"):
			ok(`{"protocolVersion":1,"agentCapabilities":{"promptCapabilities":{"image":true}}}`)
		case a.is("mcp"):
			ok(`{"protocolVersion":1,"agentCapabilities":{"loadSession":true,"mcpCapabilities":{"http":true}}}`)
		case a.is("mcp-resumes"):
			ok(`{"protocolVersion":1,"agentCapabilities":{"sessionCapabilities":{"resume":{}}}}`)
		case a.is("loads"):
			ok(`{"protocolVersion":1,"agentCapabilities":{"loadSession":true},"agentInfo":{"name":"scripted","version":"1"}}`)
		default:
			ok(`{"protocolVersion":1,"agentCapabilities":{},"agentInfo":{"name":"scripted","version":"1"}}`)
		}
	case "session/resume":
		a.meetServers(m.Method, m.ID, m.Params.MCPServers)
		ok(a.newSession())
	case "session/new":
		if a.meetServers(m.Method, m.ID, m.Params.MCPServers) {
			return
		}
		if a.is("needs-login") {
			a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"Authentication required"}}`, m.ID)
			return
		}
		if a.is("logs-in") && a.login == "" && !a.is("late") {
			a.print(needsLogin, m.ID)
			return
		}
		ok(a.newSession())
	case "authenticate":
		switch {
		case a.is("shows-code"):
			go a.showCode(m.ID, m.Params.MethodID)
		case a.is("refuses-login"):
			a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"Internal error","data":"status 401: no such key"}}`, m.ID)
		case !a.is("silent-login"):
			a.login = m.Params.MethodID
			ok(`{}`)
		}
	case "session/load":
		a.meetServers(m.Method, m.ID, m.Params.MCPServers)
		if a.is("loads-yolo") { // as it was when it ended
			a.set = map[string]any{"mode": "yolo", "model": "small", "effort": "low", "fast": false, "grants": "some"}
		}
		if a.is("logs-in") && a.login == "" {
			a.print(needsLogin, m.ID)
			return
		}
		a.update(`{"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"old question"}}`)
		a.say("old answer")
		ok(a.newSession())
		time.Sleep(20 * time.Millisecond) // gemini goes on replaying after its answer
		a.say("late old answer")
	case "session/set_mode":
		if a.set != nil && a.setOption(m.ID, "mode", "", m.Params.ModeID) {
			return
		}
		if a.is("mode-slips") {
			a.update(`{"sessionUpdate":"current_mode_update","currentModeId":"auto"}`)
		} else {
			a.mode = m.Params.ModeID
		}
		ok(`{}`)
	case "session/set_model":
		if a.is("model-needs-login") {
			a.print(needsLogin, m.ID)
			return
		}
		if a.set != nil && a.setOption(m.ID, "model", "", m.Params.ModelID) {
			return
		}
		a.model = m.Params.ModelID
		ok(`{}`)
	case "session/set_config_option":
		if a.set != nil && a.setOption(m.ID, m.Params.ConfigID, m.Params.Type, m.Params.Value) {
			return
		}
		if !a.is("option-slips") {
			a.mode = m.Params.Value.(string)
		}
		ok(`{"configOptions":` + a.configOptions() + `}`)
	case "session/cancel":
		a.mu.Lock()
		if a.cancel != nil && !a.is("ignore-cancel") {
			close(a.cancel)
			a.cancel = nil
		}
		a.mu.Unlock()
	case steeringMethod:
		go a.steer.request(m.ID, m.Params.Prompt, m.Params.Meta.Steering.IdleBehavior)
	case "session/prompt":
		if m.Params.Prompt[0].Text == "flood" { // asks for ever, and reads nothing
			for i := 5000; ; i++ {
				a.print(`{"jsonrpc":"2.0","id":%d,"method":"terminal/create","params":{}}`, i)
			}
		}
		if n, ok := strings.CutPrefix(m.Params.Prompt[0].Text, "burst "); ok { // asks much before it reads on
			a.burst(n)
		}
		cancel := make(chan struct{})
		a.mu.Lock()
		a.line = string(line)
		a.cancel = cancel
		a.mu.Unlock()
		go func() {
			result := a.prompt(strings.Fields(m.Params.Prompt[0].Text), cancel)
			if result == "logged-out" {
				a.print(needsLogin, m.ID)
				return
			}
			if message, failed := strings.CutPrefix(result, "error "); failed {
				a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"Internal error","data":{"details":%q}}}`, m.ID, message)
				return
			}
			ok(`{"stopReason":"` + result + `","usage":{"totalTokens":12}}`)
			if words := strings.Fields(m.Params.Prompt[0].Text); words[0] == "later" {
				a.later(words[1:], cancel)
			}
			if m.Params.Prompt[0].Text == "die-later" {
				time.Sleep(50 * time.Millisecond)
				os.Exit(4)
			}
		}()
	default:
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
	}
}

func (a *scripted) newSession() string {
	if a.is("rich") {
		return a.richSession()
	}
	if a.is("config-options") {
		return `{"sessionId":"acp-1","configOptions":` + a.configOptions() + `}`
	}
	if a.is("no-modes") {
		return `{"sessionId":"acp-1"}`
	}
	return `{"sessionId":"acp-1","modes":{"currentModeId":"auto","availableModes":[{"id":"auto","name":"Auto"},{"id":"ask","name":"Ask"}]},` +
		`"models":{"currentModelId":"small","availableModels":[{"modelId":"small","name":"S"},{"modelId":"large","name":"L"}]}}`
}

func (a *scripted) configOptions() string {
	return `[{"id":"approval","type":"select","category":"mode","currentValue":"` + a.mode + `","options":[{"group":"g","name":"G","options":[{"value":"auto"},{"value":"ask"}]}]}]`
}

// request asks the worker and waits for the answer.
func (a *scripted) request(method, params string) json.RawMessage {
	_, answer := a.ask(method, params)
	return <-answer
}

// ask asks the worker.
func (a *scripted) ask(method, params string) (id string, answer chan json.RawMessage) {
	answer = make(chan json.RawMessage, 1)
	a.mu.Lock()
	a.nextID++
	id = strconv.Itoa(1000 + a.nextID)
	a.answers[id] = answer
	a.mu.Unlock()
	a.print(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)
	return id, answer
}

const scriptedOptions = `[{"optionId":"yes","name":"Yes","kind":"allow_once"},{"optionId":"no","name":"No","kind":"reject_once"}]`

// prompt does what the words say and returns the stop reason.
func (a *scripted) prompt(words []string, cancel <-chan struct{}) string {
	number := func(i int) int {
		n, _ := strconv.Atoi(words[i])
		return n
	}
	switch words[0] {
	case "stream": // N pieces of B bytes
		pad := strings.Repeat("x", number(2))
		for i := range number(1) {
			select {
			case <-cancel:
				return "cancelled"
			default:
			}
			a.say(strconv.Itoa(i) + " " + pad)
		}
	case "blocks":
		a.say(a.line)
	case "client":
		a.say(a.client)
	case "tell":
		for _, update := range tellings[words[1]] {
			a.update(update)
		}
	case "listen": // until N messages were taken in
		return a.steer.listen(number(1), cancel)
	case "hang":
		a.say("hanging")
		<-cancel
		if a.is("end-turn-on-cancel") {
			return "end_turn"
		}
		return "cancelled"
	case "ask", "ask-short", "ask-bare", "ask-empty":
		call := `"toolCallId":"t1","title":"Write file","kind":"edit","rawInput":{"path":"a.txt"}`
		if words[0] != "ask-bare" && words[0] != "ask-empty" {
			a.update(`{"sessionUpdate":"tool_call","status":"pending",` + call + `}`)
		}
		if words[0] == "ask-short" {
			call = `"toolCallId":"t1"`
		}
		if words[0] == "ask-empty" {
			call = `"toolCallId":"t2"`
		}
		a.say(string(a.request("session/request_permission",
			`{"sessionId":"acp-1","toolCall":{`+call+`},"options":`+scriptedOptions+`}`)))
		select {
		case <-cancel:
			return "cancelled"
		default:
		}
	case "withdraw": // asks, and takes it back when the worker has a file to read
		id, answer := a.ask("session/request_permission",
			`{"sessionId":"acp-1","toolCall":{"toolCallId":"t1","title":"Write file","kind":"edit"},"options":`+scriptedOptions+`}`)
		waitForFile(words[1]) // when the test says so
		a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":%s}}`, id)
		a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":%s}}`, id) // again
		a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":"other"}}`)
		a.say(string(<-answer))
	case "elicit", "elicit-page", "elicit-later", "first": // see elicitation_test.go
		a.elicit(words)
	case "ask-nothing": // a request without options
		a.say(string(a.request("session/request_permission", `{"sessionId":"acp-1","toolCall":{"toolCallId":"t1"},"options":[]}`)))
	case "burst": // the answers to what was asked before this was read
		for i := range number(1) {
			a.mu.Lock()
			answer := a.answers[strconv.Itoa(100_000+i)]
			a.mu.Unlock()
			<-answer
		}
		a.say("all answered")
	case "pid":
		a.say(strconv.Itoa(os.Getpid()))
	case "method":
		a.say(string(a.request(words[1], `{}`)))
	case "crash":
		a.update(`{"sessionUpdate":"tool_call","toolCallId":"t9","title":"Build","status":"in_progress"}`)
		fmt.Fprintln(os.Stderr, "panic: out of luck")
		os.Exit(3)
	case "close-stdout":
		os.Stdout.Close()
		select {}
	case "garbage":
		for i := range number(1) {
			a.print("this is no JSON %d", i)
		}
	case "line": // one piece of N bytes
		a.update(`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"` + strings.Repeat("y", number(1)) + `"}}`)
	case "drip": // one line, or only white space, in N parts with a pause before each
		part := "y"
		if words[2] == "blank" {
			part = "\n"
		} else {
			fmt.Fprint(os.Stdout, `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"`)
		}
		for range number(1) {
			select {
			case <-cancel:
				return "cancelled"
			case <-time.After(100 * time.Millisecond):
			}
			fmt.Fprint(os.Stdout, part)
		}
		if words[2] != "blank" {
			fmt.Fprintln(os.Stdout, `"}}}}`)
		}
	case "big-tool":
		a.update(`{"sessionUpdate":"tool_call","toolCallId":"t5","title":"Read","status":"completed","rawInput":{"path":"p"},"rawOutput":"` + strings.Repeat("z", number(1)) + `"}`)
	case "raw": // an update as it stands
		a.update(strings.Join(words[1:], " "))
	case "line-raw": // a line as it stands
		a.print("%s", strings.Join(words[1:], " "))
	case "env":
		env := os.Environ()
		slices.Sort(env)
		a.say(strings.Join(env, "\n"))
	case "cwd":
		dir, _ := os.Getwd()
		a.say(dir)
	case "mcp":
		a.say(a.servers)
	case "login":
		if a.is("late") && a.login == "" {
			return "logged-out"
		}
		a.say(a.login)
	case "logged-out":
		return words[0]
	case "become", "values": // of a rich agent
		a.richPrompt(words)
	case "settings":
		a.say(a.mode + " " + a.model)
	case "child": // a child that outlives a careless stop
		cmd := exec.Command("sh", "-c", "trap '' TERM; setsid sleep 300 & wait")
		if err := cmd.Start(); err != nil {
			return "error " + err.Error()
		}
		a.say(strconv.Itoa(cmd.Process.Pid))
		<-cancel
	case "orphan", "orphan-hang": // two that have left the agent's tree and session
		for _, script := range []string{"exec sleep " + words[1], "(sleep " + words[1] + " &)"} {
			cmd := exec.Command("sh", "-c", script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				return "error " + err.Error()
			}
			go func() { _ = cmd.Wait() }()
		}
		if words[0] == "orphan-hang" {
			a.say("hanging")
			<-cancel
			return "cancelled"
		}
	case "die-later", "later": // when it has answered
	case "fail":
		return "error " + strings.Join(words[1:], " ")
	case "stop":
		return words[1]
	default:
		a.say("hello")
	}
	return "end_turn"
}
