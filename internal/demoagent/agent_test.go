package demoagent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	acp "github.com/coder/acp-go-sdk"

	"sessionhub/internal/testkit/judge"
)

func TestInitializeSaysWhatItCan(t *testing.T) {
	p := connect(t)
	p.request("initialize", `{"protocolVersion":1,"clientCapabilities":{}}`)
	r := p.result()
	if r["protocolVersion"] != 1.0 {
		t.Errorf("protocol version is %v", r["protocolVersion"])
	}
	if info := r["agentInfo"].(map[string]any); info["name"] != "sessionhub-demo-agent" || info["version"] == "" {
		t.Errorf("agent is %v", info)
	}
	if can := r["agentCapabilities"].(map[string]any); can["loadSession"] == true {
		t.Error("it cannot load sessions")
	}
	p.request("session/load", fmt.Sprintf(`{"sessionId":"x","cwd":%q,"mcpServers":[]}`, t.TempDir()))
	if f := p.next(); f.Error == nil || f.Error.Code != -32601 {
		t.Errorf("session/load gives %+v", f)
	}
}

func TestNewSessionOffersModesAndModels(t *testing.T) {
	p := connect(t)
	p.request("session/new", fmt.Sprintf(`{"cwd":%q,"mcpServers":[]}`, t.TempDir()))
	r := p.result()
	if got := fmt.Sprint(r["modes"].(map[string]any)["currentModeId"]); got != "ask" {
		t.Errorf("mode is %q", got)
	}
	option := r["configOptions"].([]any)[0].(map[string]any)
	if option["category"] != "model" || option["currentValue"] != "demo-small" || !strings.Contains(fmt.Sprint(option["options"]), "demo-large") {
		t.Errorf("model option is %v", option)
	}
	session := r["sessionId"].(string)
	set := func(method, params string) frame {
		p.request(method, fmt.Sprintf(params, session))
		return p.next()
	}
	for _, c := range []struct {
		method, params string
		ok             bool
	}{
		{"session/set_mode", `{"sessionId":%q,"modeId":"auto"}`, true},
		{"session/set_mode", `{"sessionId":%q,"modeId":"reckless"}`, false},
		{"session/set_config_option", `{"sessionId":%q,"configId":"model","value":"demo-large"}`, true},
		{"session/set_config_option", `{"sessionId":%q,"configId":"model","value":"demo-huge"}`, false},
		{"session/set_config_option", `{"sessionId":%q,"configId":"colour","value":"red"}`, false},
	} {
		if f := set(c.method, c.params); (f.Error == nil) != c.ok {
			t.Errorf("%s %s gives %+v", c.method, c.params, f)
		}
	}
	if r := p.say(session, "/option mode ask"); !strings.Contains(r.text, "I have set mode to ask") {
		t.Errorf("its own change: %+v", r)
	}
	if r := p.say(session, "/option tone loud"); !strings.Contains(r.text, "I have set tone to loud") {
		t.Errorf("its own change: %+v", r)
	}
	if r := p.say(session, "quiet"); !strings.Contains(r.text, "QUIET") {
		t.Errorf("the tone: %+v", r)
	}
	for _, wrong := range []string{"/option mode", "/option mode reckless", "/option colour red", "/option tone green"} {
		if r := p.say(session, wrong); strings.Contains(r.text, "I have set") {
			t.Errorf("%s: %+v", wrong, r)
		}
	}
	p.say(session, "/option mode auto")
	if r := p.say(session, "/help"); !strings.Contains(r.text, "mode is auto") || !strings.Contains(r.text, "model is demo-large") {
		t.Errorf("help says %q", r.text)
	}
}

func TestNewSessionRefusesWhatIsNoDirectory(t *testing.T) {
	p := connect(t)
	for _, cwd := range []string{"relative", filepath.Join(t.TempDir(), "gone"), os.DevNull} {
		p.request("session/new", fmt.Sprintf(`{"cwd":%q,"mcpServers":[]}`, cwd))
		if f := p.next(); f.Error == nil || f.Error.Code != -32602 {
			t.Errorf("%q gives %+v", cwd, f)
		}
	}
}

func TestUnknownSessionIsAnError(t *testing.T) {
	p := connect(t)
	for method, params := range map[string]string{
		"session/prompt":            `{"sessionId":"nobody","prompt":[{"type":"text","text":"hello"}]}`,
		"session/set_mode":          `{"sessionId":"nobody","modeId":"ask"}`,
		"session/set_config_option": `{"sessionId":"nobody","configId":"model","value":"demo-small"}`,
		"session/close":             `{"sessionId":"nobody"}`,
	} {
		p.request(method, params)
		if f := p.next(); f.Error == nil || f.Error.Code != -32602 {
			t.Errorf("%s gives %+v", method, f)
		}
	}
}

func TestTwoSessionsAnswerAtTheSameTime(t *testing.T) {
	p := connect(t)
	one, two := p.session(t.TempDir()), p.session(t.TempDir())
	// The first one's turn is open, with an approval pending, while the second works.
	first := p.prompt(one, "/approve something")
	var ask frame
	for ask.Method != "session/request_permission" {
		ask = p.next()
	}
	if r := p.say(two, "hello"); r.stop != "end_turn" || !strings.Contains(r.text, "hello") {
		t.Errorf("second session: %+v", r)
	}
	// Cancelling one does not touch the other.
	p.cancel(two)
	p.choose(ask, "allow_once")
	if r := p.turn(one, first, nil); r.stop != "end_turn" || !strings.Contains(r.text, "allow_once") {
		t.Errorf("first session: %+v", r)
	}
}

// TestCancelRightBehindItsPrompt: the SDK gives each request a goroutine of its
// own, so the cancel could be handled before the turn exists, and be lost.
func TestCancelRightBehindItsPrompt(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	for i := range 200 {
		id := fmt.Sprint(1000 + i)
		p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"session/prompt","params":{"sessionId":%q,"prompt":[{"type":"text","text":"/slow 60"}]}}`+"\n"+
			`{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":%q}}`, id, session, session))
		if r := p.turn(session, id, nil); r.stop != "cancelled" {
			t.Fatalf("prompt %d: %+v", i, r)
		}
	}
	// And a cancel does not reach the prompt behind it.
	p.cancel(session)
	if r := p.say(session, "hello"); r.stop != "end_turn" {
		t.Errorf("the next prompt: %+v", r)
	}
}

func TestSecondPromptEndsTheFirst(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	first := p.prompt(session, "/slow 60")
	p.next() // its sign of life
	second := p.prompt(session, "hello")
	// The SDK writes the first answer when the second turn may have begun.
	one := p.turn(session, first, nil)
	two := p.turn(session, second, nil)
	if one.stop != "cancelled" {
		t.Errorf("first: %+v", one)
	}
	if two.stop != "end_turn" || !strings.Contains(one.text+two.text, "hello") {
		t.Errorf("second: %+v", two)
	}
}

func TestCloseSessionEndsItsTurn(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	prompt := p.prompt(session, "/slow 60")
	p.next()
	closing := p.request("session/close", fmt.Sprintf(`{"sessionId":%q}`, session))
	answered := map[string]bool{}
	for range 2 {
		answered[string(*p.next().ID)] = true
	}
	if !answered[prompt] || !answered[closing] {
		t.Errorf("answers are %v", answered)
	}
	p.prompt(session, "hello")
	if f := p.next(); f.Error == nil {
		t.Errorf("a closed session answers: %+v", f)
	}
}

func TestGarbageDoesNotEndIt(t *testing.T) {
	// The SDK would write what it cannot read to the default logger.
	var log safeBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	p := connect(t)
	session := p.session(t.TempDir())
	for _, line := range []string{
		"secret garbage", `{"secret":`, `[]`, `"secret"`, `null`, `{}`, `{"method":5}`, `{"id":null,"method":"session/prompt"}`, "", "\x00\xff",
		`{"jsonrpc":"2.0","id":99,"result":{}}`, // an answer to nothing
		`{"jsonrpc":"2.0","method":"session/cancel","params":"secret"}`,
		`{"jsonrpc":"2.0","method":"secret/unknown"}`,
	} {
		p.line(line)
	}
	if r := p.say(session, "hello"); r.stop != "end_turn" {
		t.Errorf("afterwards: %+v", r)
	}
	if got := log.String(); got != "" {
		t.Errorf("log has %q", got)
	}
	// A bad prompt is answered, and no turn waits for it.
	p.request("session/prompt", fmt.Sprintf(`{"sessionId":%q}`, session))
	if f := p.next(); f.Error == nil || f.Error.Code != -32602 {
		t.Errorf("bad prompt: %+v", f)
	}
	p.cancel(session)
	if r := p.say(session, "hello"); r.stop != "end_turn" {
		t.Errorf("after the bad prompt: %+v", r)
	}
	// The client's own _meta survives, and other spellings are read as the SDK does.
	id := p.request("session/prompt", fmt.Sprintf(`{"_meta":{"a":1},"sessionId":%q,"prompt":[{"type":"text","text":"hi"}]}`, session))
	if r := p.turn(session, id, nil); r.stop != "end_turn" {
		t.Errorf("with _meta: %+v", r)
	}
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":777,"method":"session/prompt","PARAMS":{"sessionId":%q,"prompt":[{"type":"text","text":"hi"}]}}`, session))
	if r := p.turn(session, "777", nil); r.stop != "end_turn" {
		t.Errorf("with PARAMS: %+v", r)
	}
}

func TestEndOfInputEndsRunAndItsCommands(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	// The shell holds the fifo open for as long as it lives: the end of reading is its death.
	p.prompt(session, "/run mkfifo pipe; exec 3<>pipe; echo started; sleep 60")
	for {
		f := p.next()
		if f.Method == "session/request_permission" {
			p.choose(f, "allow_once")
		}
		if strings.Contains(fmt.Sprint(f.Params.Update["content"]), "started") {
			break
		}
	}
	w, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p.in.Close()
	go func() { // let it say its last words
		for range p.frames {
		}
	}()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(limit):
		t.Fatal("Run goes on")
	}
	judge.Within(t, limit, "the command ends", func() bool {
		_, err := w.Write([]byte("x"))
		return err != nil // EPIPE: no reader is left
	})
}

func TestContextEndsRun(t *testing.T) {
	inR, inW := io.Pipe()
	defer inW.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, inR, io.Discard) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(limit):
		t.Fatal("Run goes on")
	}
}

// stuckClient takes whole lines until the first update, and then no more.
type stuckClient struct {
	lines   chan []byte
	stuck   chan struct{} // closed when a write waits
	release chan struct{}
	once    sync.Once
}

func (c *stuckClient) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("session/update")) {
		c.once.Do(func() { close(c.stuck) })
		<-c.release
		return 0, io.ErrClosedPipe
	}
	c.lines <- bytes.Clone(p)
	return len(p), nil
}

// A client that closes stdin, and does not read either, cannot hold Run.
func TestClientThatReadsNothingDoesNotHoldRun(t *testing.T) {
	c := &stuckClient{lines: make(chan []byte, 4), stuck: make(chan struct{}), release: make(chan struct{})}
	defer close(c.release)
	inR, inW := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Run(context.WithoutCancel(t.Context()), inR, c) }()
	p := &peer{t: t, in: inW}
	p.request("session/new", fmt.Sprintf(`{"cwd":%q,"mcpServers":[]}`, t.TempDir()))
	var f frame
	if err := json.Unmarshal(<-c.lines, &f); err != nil {
		t.Fatal(err)
	}
	p.prompt(f.Result["sessionId"].(string), "/slow 60")
	<-c.stuck
	inW.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("Run left a turn behind and did not say so")
		}
	case <-time.After(limit):
		t.Fatal("Run goes on")
	}
}

func TestLineThatIsTooLongIsAnError(t *testing.T) {
	in := io.MultiReader(strings.NewReader("{"), strings.NewReader(strings.Repeat(" ", maxLineBytes)))
	if err := Run(t.Context(), in, io.Discard); !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("Run: %v", err)
	}
}

// A client may also cancel the request (ACP, "Cancellation").
func TestCancelOfTheRequestEndsItsTurn(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	id := p.prompt(session, "/slow 60")
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":%s}}`, id))
	if r := p.turn(session, id, nil); r.stop != "cancelled" {
		t.Errorf("got %+v", r)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	a := newAgent(t.Context())
	open := acp.NewSessionRequest{Cwd: t.TempDir(), McpServers: []acp.McpServer{}}
	for range maxSessions {
		if _, err := a.NewSession(t.Context(), open); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.NewSession(t.Context(), open); err == nil {
		t.Error("one more was opened")
	}
}
