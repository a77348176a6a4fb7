package fakemodel

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/need"
)

// patience is how long an agent may take for one line. It is generous for a
// machine that is busy with other tests.
const patience = 60 * time.Second

// agent is a codex-acp process and the client's end of its stdio: newline-delimited
// JSON-RPC 2.0 (Agent Client Protocol, transports page). It is written without
// an ACP library on purpose, so that what is on the wire is what is tested. It
// has no goroutine: a call reads until its own answer comes.
type agent struct {
	t       *testing.T
	in      io.WriteCloser
	out     *os.File // of the agent; a file, so that reads can have a deadline
	lines   *bufio.Reader
	calls   int
	session string
	cwd     string

	// onUpdate and onPermission see what comes during a call. A nil answer
	// leaves a request for permission open.
	onUpdate     func(update)
	onPermission func(permission) any
}

type update struct {
	Kind    string          `json:"sessionUpdate"`
	Content json.RawMessage `json:"content"`
	Status  string          `json:"status"`
	Entries []struct {
		Content string `json:"content"`
		Status  string `json:"status"`
	} `json:"entries"`
}

// text is the text of a chunk.
func (u update) text() string {
	var content struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(u.Content, &content) // a tool call's content is a list and has no text here
	return content.Text
}

type permission struct {
	ToolCall struct {
		Kind  string `json:"kind"`
		Title string `json:"title"`
	} `json:"toolCall"`
	Options []struct {
		OptionID string `json:"optionId"`
		Kind     string `json:"kind"`
	} `json:"options"`
}

// choose answers with the option of a kind.
func (p permission) choose(kind string) any {
	for _, option := range p.Options {
		if option.Kind == kind {
			return outcome(map[string]any{"outcome": "selected", "optionId": option.OptionID})
		}
	}
	return outcome(map[string]any{"outcome": "cancelled"})
}

func outcome(o map[string]any) any { return map[string]any{"outcome": o} }

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("%d %s %s", e.Code, e.Message, e.Data) }

// startCodex starts a codex-acp that talks to the server, with a session in an
// empty directory. It is ended with the test.
func startCodex(t *testing.T, server *Server) *agent {
	t.Helper()
	path := need.Codex.Path(t)
	env, err := CodexHome(t.TempDir(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, cwd: t.TempDir()}
	command := exec.Command(path)
	command.Env = append(env, "PATH="+os.Getenv("PATH"))
	command.Dir = a.cwd
	command.Stderr = t.Output()
	command.WaitDelay = 5 * time.Second // should a child of the agent hold its stderr open
	if a.in, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.out = out.(*os.File)
	a.lines = bufio.NewReader(a.out)
	if err := command.Start(); err != nil {
		t.Fatalf("start codex-acp: %v", err)
	}
	t.Cleanup(func() {
		// It does not end on EOF; SIGTERM ends it at once.
		_ = command.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() {
			t.Error("codex-acp did not end on SIGTERM")
			_ = command.Process.Kill()
		})
		defer kill.Stop()
		_ = command.Wait() // an exit by signal is what is wanted
	})
	a.must("initialize", map[string]any{"protocolVersion": 1, "clientCapabilities": map[string]any{}}, nil)
	var made struct {
		SessionID string `json:"sessionId"`
	}
	a.must("session/new", map[string]any{"cwd": a.cwd, "mcpServers": []any{}}, &made)
	a.session = made.SessionID
	return a
}

func (a *agent) send(m map[string]any) {
	a.t.Helper()
	m["jsonrpc"] = "2.0"
	line, err := json.Marshal(m)
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.in.Write(append(line, '\n')); err != nil {
		a.t.Fatalf("write to the agent: %v", err)
	}
}

func (a *agent) receive() message {
	a.t.Helper()
	if err := a.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	line, err := a.lines.ReadBytes('\n')
	if err != nil {
		a.t.Fatalf("read from the agent: %v", err)
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		a.t.Fatalf("agent wrote %q: %v", line, err)
	}
	return m
}

// call sends a request and handles what comes until its answer.
func (a *agent) call(method string, params map[string]any, result any) error {
	a.t.Helper()
	a.calls++
	id := fmt.Sprint(a.calls)
	a.send(map[string]any{"id": a.calls, "method": method, "params": params})
	for {
		m := a.receive()
		switch {
		case m.Method == "session/update" && a.onUpdate != nil:
			var params struct {
				Update update `json:"update"`
			}
			a.decode(m.Params, &params)
			a.onUpdate(params.Update)
		case m.Method == "session/request_permission" && a.onPermission != nil:
			var asked permission
			a.decode(m.Params, &asked)
			if answer := a.onPermission(asked); answer != nil {
				a.send(map[string]any{"id": m.ID, "result": answer})
			}
		case m.Method == "" && string(m.ID) == id:
			if m.Error != nil {
				return m.Error
			}
			if result != nil {
				a.decode(m.Result, result)
			}
			return nil
		case m.Method != "" && m.ID != nil:
			a.t.Fatalf("unexpected request %s %s", m.Method, m.Params)
		}
	}
}

func (a *agent) must(method string, params map[string]any, result any) {
	a.t.Helper()
	if err := a.call(method, params, result); err != nil {
		a.t.Fatalf("%s: %v", method, err)
	}
}

// turn is what one prompt led to.
type turn struct {
	stopReason    string
	chunks        []string // of the answer
	thought       string
	toolStatuses  []string
	plan          string
	permissions   []permission
	internalError *rpcError
}

func (t turn) text() string { return strings.Join(t.chunks, "") }

// prompt plays one turn. decide answers requests for permission; react sees each
// chunk of the answer. Both may be nil.
func (a *agent) prompt(text string, decide func(permission) any, react func(chunk string)) turn {
	a.t.Helper()
	var seen turn
	a.onPermission = func(p permission) any {
		seen.permissions = append(seen.permissions, p)
		if decide == nil {
			a.t.Errorf("permission was asked for: %+v", p)
			return p.choose("reject_once")
		}
		return decide(p)
	}
	a.onUpdate = func(u update) {
		switch u.Kind {
		case "agent_message_chunk":
			seen.chunks = append(seen.chunks, u.text())
			if react != nil {
				react(u.text())
			}
		case "agent_thought_chunk":
			seen.thought += u.text()
		case "tool_call", "tool_call_update":
			seen.toolStatuses = append(seen.toolStatuses, u.Status)
		case "plan":
			for _, entry := range u.Entries {
				seen.plan += entry.Content + ": " + entry.Status + "\n"
			}
		}
	}
	var answer struct {
		StopReason string `json:"stopReason"`
	}
	err := a.call("session/prompt", map[string]any{
		"sessionId": a.session,
		"prompt":    []any{map[string]any{"type": "text", "text": text}},
	}, &answer)
	if err != nil && !errors.As(err, &seen.internalError) {
		a.t.Fatal(err)
	}
	seen.stopReason = answer.StopReason
	return seen
}

func (a *agent) cancel() {
	a.t.Helper()
	a.send(map[string]any{"method": "session/cancel", "params": map[string]any{"sessionId": a.session}})
}

func (a *agent) decode(raw json.RawMessage, into any) {
	a.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		a.t.Fatalf("decode %s: %v", raw, err)
	}
}
