package demoagent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

// promptly is how fast a cancelled turn has to end, with -race on a busy machine.
const promptly = 2 * time.Second

func TestPlainTextIsAnsweredInPieces(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	r := p.say(session, "Hello there,\nfriend")
	if len(r.pieces) < 3 || !strings.Contains(r.text, "Hello there,\nfriend") || !strings.Contains(r.text, "/help") {
		t.Errorf("%d pieces: %q", len(r.pieces), r.text)
	}
	if r.stop != "end_turn" {
		t.Errorf("stop reason is %q", r.stop)
	}
	in, out, total := r.usage["inputTokens"], r.usage["outputTokens"], r.usage["totalTokens"]
	if in != 5.0 || out == 0.0 || total != in.(float64)+out.(float64) {
		t.Errorf("usage is %v", r.usage)
	}
	// What is quoted is bounded and cut between characters.
	if r := p.say(session, strings.Repeat("ü", 5000)); len(r.text) > maxQuoteBytes+200 || strings.Contains(r.text, "\uFFFD") {
		t.Errorf("a long text gives %q", r.text)
	}
	if r := p.say(session, " \n "); r.stop != "end_turn" || !strings.Contains(r.text, "no text") {
		t.Errorf("an empty text gives %+v", r)
	}
}

func TestBlocksAreJoinedAndOtherKindsIgnored(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	id := p.request("session/prompt", fmt.Sprintf(`{"sessionId":%q,"prompt":[{"type":"resource_link","name":"a","uri":"file:///a"},{"type":"text","text":"/think deep"},{"type":"text","text":"/fail never"}]}`, session))
	if r := p.turn(session, id, nil); r.stop != "end_turn" || !strings.Contains(r.thought, "deep") {
		t.Errorf("got %+v", r)
	}
	id = p.request("session/prompt", fmt.Sprintf(`{"sessionId":%q,"prompt":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}`, session))
	if r := p.turn(session, id, nil); !strings.Contains(r.text, "one\ntwo") {
		t.Errorf("got %q", r.text)
	}
}

func TestHelpNamesEveryCommandAndUnknownOnesNameHelp(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	help := p.say(session, "/help").text
	for _, c := range commands() {
		if !strings.Contains(help, "`"+c.name) {
			t.Errorf("help lacks %s", c.name)
		}
	}
	for _, text := range []string{"/nonsense", "/streams 5", "/", "/Help"} {
		if r := p.say(session, text); r.stop != "end_turn" || !strings.Contains(r.text, "/help") {
			t.Errorf("%s gives %+v", text, r)
		}
	}
}

func TestStreamSendsExactlyItsPieces(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	for _, c := range []struct{ n, size int }{{1, 20}, {7, 5}, {12, 1}, {2, 4096}, {5000, 20}} {
		r := p.say(session, fmt.Sprintf("/stream %d %d", c.n, c.size))
		if len(r.pieces) != c.n || len(r.updates) != c.n || r.stop != "end_turn" {
			t.Fatalf("%d pieces, %d updates, %s, want %d", len(r.pieces), len(r.updates), r.stop, c.n)
		}
		for i, piece := range r.pieces {
			number, fill, _ := strings.Cut(strings.TrimSuffix(piece, "\n"), " ")
			if number != strconv.Itoa(i+1) || strings.Trim(fill, "x") != "" {
				t.Fatalf("piece %d is %q", i+1, piece)
			}
			if want := max(c.size, len(number)+2); len(piece) != want {
				t.Fatalf("piece %d has %d bytes, want %d", i+1, len(piece), want)
			}
		}
	}
	if r := p.say(session, "/stream 3"); len(r.text) != 3*defaultBytes {
		t.Errorf("default pieces are %q", r.text)
	}
}

func TestStreamKeepsItsRate(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	began := time.Now()
	r := p.say(session, "/stream 11 10 50")
	// Ten pauses of 20 ms; how much longer depends on the machine.
	if took := time.Since(began); len(r.pieces) != 11 || took < 200*time.Millisecond {
		t.Errorf("%d pieces in %v", len(r.pieces), took)
	}
}

func TestWrongArgumentsGetAnAnswer(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	for _, text := range []string{
		"/stream", "/stream 0", "/stream -1", "/stream many", "/stream 1000001", "/stream 5 0", "/stream 5 65537",
		"/stream 5 5 -1", "/stream 5 5 1000001", "/stream 1 2 3 4", "/stream 99999999999999999999",
		"/slow", "/slow soon", "/slow -1", "/slow NaN", "/slow Inf", "/slow 86401",
		"/approve", "/approve  ", "/write", "/run", "/run  ", "/think",
	} {
		r := p.say(session, text)
		if name, _, _ := strings.Cut(text, " "); r.stop != "end_turn" || len(r.pieces) != 1 || !strings.Contains(r.text, name) {
			t.Errorf("%s gives %+v", text, r)
		}
	}
}

func TestApproveSaysWhichOptionCame(t *testing.T) {
	p := connect(t)
	for _, c := range []struct{ option, status, text string }{
		{"allow_once", "pending completed", "Approved: allow_once"},
		{"allow_always", "pending completed", "Approved: allow_always"},
		{"reject_once", "pending failed", "Not approved: reject_once"},
		{"reject_always", "pending failed", "Not approved: reject_always"},
		{"never_offered", "pending failed", "Not approved: an option that I did not offer"},
	} {
		t.Run(c.option, func(t *testing.T) {
			session := p.session(t.TempDir())
			r := p.sayAnd(session, "/approve paint it red", c.option)
			if r.stop != "end_turn" || !strings.Contains(r.text, c.text) || r.statuses() != c.status {
				t.Errorf("%s, %q, %q", r.stop, r.text, r.statuses())
			}
			if len(r.asked) != 1 {
				t.Fatalf("asked %d times", len(r.asked))
			}
			ask := r.asked[0].Params
			if ask.SessionID != session || ask.ToolCall["title"] != "paint it red" || ask.ToolCall["kind"] != "other" ||
				ask.ToolCall["toolCallId"] != r.last("toolCallId") {
				t.Errorf("asked %+v", ask)
			}
			var kinds []string
			for _, o := range ask.Options {
				kinds = append(kinds, o.Kind)
			}
			if got := strings.Join(kinds, " "); got != "allow_once allow_always reject_once reject_always" {
				t.Errorf("options are %s", got)
			}
			// The tool call is announced before it is asked for.
			if r.updates[0]["sessionUpdate"] != "tool_call" {
				t.Errorf("updates are %s", r.kinds())
			}
		})
	}
}

func TestAlwaysIsRememberedForTheSameThingInTheSameSession(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	p.sayAnd(session, "/approve one", "allow_always")
	p.sayAnd(session, "/approve two", "reject_always")
	if r := p.say(session, "/approve one"); !strings.Contains(r.text, "Approved: allow_always") || r.statuses() != "pending completed" {
		t.Errorf("got %q", r.text)
	}
	if r := p.say(session, "/approve two"); !strings.Contains(r.text, "Not approved: reject_always") {
		t.Errorf("got %q", r.text)
	}
	if r := p.sayAnd(session, "/approve three", "allow_once"); len(r.asked) != 1 {
		t.Error("another thing was not asked")
	}
	if r := p.sayAnd(session, "/approve three", "allow_once"); len(r.asked) != 1 {
		t.Error("allow_once was remembered")
	}
	if r := p.sayAnd(p.session(t.TempDir()), "/approve one", "allow_once"); len(r.asked) != 1 {
		t.Error("another session was not asked")
	}
}

func TestAutoModeAsksNothing(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	p.request("session/set_mode", fmt.Sprintf(`{"sessionId":%q,"modeId":"auto"}`, session))
	p.result()
	if r := p.say(session, "/approve it"); !strings.Contains(r.text, "not asked") {
		t.Errorf("got %q", r.text)
	}
	p.say(session, "/write a.txt hi")
	if data, err := os.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(data) != "hi" {
		t.Errorf("file has %q, %v", data, err)
	}
}

// TestCancelledOutcomeEndsTheTurn: a client that cancels answers so, and its
// session/cancel can come behind.
func TestCancelledOutcomeEndsTheTurn(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	r := p.turn(session, p.prompt(session, "/approve it"), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"outcome":{"outcome":"cancelled"}}}`, *f.ID))
		}
	})
	if r.stop != "cancelled" || r.statuses() != "pending failed" {
		t.Errorf("%s, %s", r.stop, r.statuses())
	}
}

func TestFailedRequestForPermissionFailsThePrompt(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	r := p.turn(session, p.prompt(session, "/approve it"), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"no"}}`, *f.ID))
		}
	})
	if r.errCode == 0 || r.statuses() != "pending failed" {
		t.Errorf("%+v", r)
	}
}

func TestPlanProgresses(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	r := p.say(session, "/plan")
	var seen []string
	for _, u := range r.updates {
		if u["sessionUpdate"] != "plan" {
			continue
		}
		var states string
		for _, e := range u["entries"].([]any) {
			states += e.(map[string]any)["status"].(string)[:1]
		}
		seen = append(seen, states)
	}
	if got := strings.Join(seen, " "); got != "ipp cip cci ccc" {
		t.Errorf("plan went %s", got)
	}
	if r.kinds() != "plan agent_message_chunk" || r.stop != "end_turn" {
		t.Errorf("updates are %s, %s", r.kinds(), r.stop)
	}
}

func TestThinkSendsThoughtsThenAnAnswer(t *testing.T) {
	p := connect(t)
	r := p.say(p.session(t.TempDir()), "/think about fish")
	if !strings.Contains(r.thought, "about fish") || r.text == "" ||
		r.kinds() != "agent_thought_chunk agent_message_chunk" {
		t.Errorf("thought %q, said %q, %s", r.thought, r.text, r.kinds())
	}
}

func TestSlowTakesItsTime(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	began := time.Now()
	r := p.say(session, "/slow 0.2")
	if took := time.Since(began); took < 200*time.Millisecond || r.stop != "end_turn" || len(r.pieces) != 2 {
		t.Errorf("%v: %+v", took, r)
	}
}

func TestFailCarriesTheMessage(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	if r := p.say(session, "/fail out of cheese"); r.errCode != -32603 || r.errMessage != "out of cheese" {
		t.Errorf("got %+v", r)
	}
	if r := p.say(session, "/fail"); r.errMessage == "" {
		t.Errorf("got %+v", r)
	}
	if r := p.say(session, "hello"); r.stop != "end_turn" {
		t.Errorf("afterwards: %+v", r)
	}
}

func TestCrashEndsTheProcessWithoutAnAnswer(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "demo-agent")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, in: in, frames: make(chan frame)}
	go p.read(out)
	p.prompt(p.session(t.TempDir()), "/crash")
	for f := range p.frames {
		t.Errorf("it said %+v", f)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != crashCode {
		t.Errorf("ended with %v", err)
	}
}

func TestCancelEndsEveryKindOfTurn(t *testing.T) {
	p := connect(t)
	asked := func(_ *reply, f frame) bool { return f.Method == "session/request_permission" }
	some := func(r *reply, _ frame) bool { return len(r.pieces) >= 1 }
	for _, c := range []struct {
		text     string
		when     func(*reply, frame) bool
		statuses string
	}{
		{"hello", some, ""},
		{"/stream 1000000", some, ""},
		{"/stream 1000 10 1", some, ""},
		{"/slow 60", some, ""},
		{"/plan", func(r *reply, _ frame) bool { return len(r.updates) > 0 }, "*"},
		{"/think about it", func(r *reply, _ frame) bool { return r.thought != "" }, ""},
		{"/approve it", asked, "pending failed"},
		{"/write a.txt text", asked, "pending failed"},
		{"/run echo hi", asked, "pending failed"},
	} {
		t.Run(c.text, func(t *testing.T) {
			dir := t.TempDir()
			session := p.session(dir)
			r, took := p.sayAndCancel(session, c.text, c.when)
			if r.stop != "cancelled" || took > promptly {
				t.Errorf("%q (%d %s) after %v", r.stop, r.errCode, r.errMessage, took)
			}
			if got := r.statuses(); c.statuses != "*" && got != c.statuses {
				t.Errorf("tool call went %q", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "a.txt")); err == nil {
				t.Error("the file was written")
			}
			if r := p.say(session, "hello"); r.stop != "end_turn" {
				t.Errorf("the next turn: %+v", r)
			}
		})
	}
}

// A text for a model alone is none of the user's words.
func TestPromptTextLeavesOutWhatIsForAModel(t *testing.T) {
	note := acp.TextBlock("\n\n<attached_files>")
	note.Text.Annotations = &acp.Annotations{Audience: []acp.Role{acp.RoleAssistant}}
	if got := promptText([]acp.ContentBlock{acp.TextBlock("hello"), acp.ResourceLinkBlock("a", "file:///a"), note}); got != "hello\n[a](file:///a)" {
		t.Errorf("the text is %q", got)
	}
}
