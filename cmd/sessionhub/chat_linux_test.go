package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"time"

	"sessionhub/internal/testkit/faultproxy"

	"sessionhub/internal/testkit/judge"
)

var sessionID = regexp.MustCompile(`session (s_[a-z0-9]+)`)

// A working day in the terminal: type, watch, approve by a key, stop, leave, come
// back, leave by a second Ctrl-C.
func TestChatInATerminal(t *testing.T) {
	s := startServer(t)
	state := "XDG_STATE_HOME=" + t.TempDir()
	p := sit(t, []string{state}, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("hello **there**\r")
	p.expect("› hello **there**")
	p.expect("You said: hello")
	p.expect("real. Try /help.")
	p.expect("idle · websocket")

	p.press("/approve the plan\r")
	p.expect("? the plan")
	p.expect("[y/1] Allow once")
	p.press("y")
	p.expect("→ Allow once")
	p.expect("✓ the plan")
	p.expect("Approved: allow_once.")
	p.expect("idle · websocket")

	p.press("/slow 100\r")
	p.expect("Working for")
	p.expect("running")
	p.press("\x03")
	p.expect("■ stopped")
	p.expect("idle · websocket")
	p.press("/plan\r")
	p.expect("● Tell about it")
	p.expect("idle · websocket")
	p.press("\x04")
	p.expect("To come back: sessionhub chat --session")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
	id := sessionID.FindStringSubmatch(p.everything())[1]

	// The history knows the lines; the session goes on where it was.
	p = sit(t, []string{state}, "chat", "--hub", s.URL, "--session", id, "--transport", "sse")
	p.expect("Approved: allow_once.")
	p.expect("■ stopped")
	p.expect("idle · sse")
	p.press("\x1b[A\x1b[A")
	p.expect("› /slow 100")
	p.press("\r")
	p.expect("Working for")
	p.press("\x03")
	p.expect("stopping; Ctrl-C again leaves")
	p.press("\x03")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-C left with %d", code)
	}
	if all := p.everything(); !strings.HasSuffix(strings.TrimSpace(all), "--session "+id) || !strings.Contains(all, "\x1b[?2004l") {
		t.Errorf("it left the terminal with %q", all[max(0, len(all)-200):])
	}
	info, err := os.Stat(filepath.Join(strings.TrimPrefix(state, "XDG_STATE_HOME="), "sessionhub", "chat_history"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the history: %v, %v", info, err)
	}
}

// A text that becomes one event while the connection is away, a part of it shown, is
// shown once.
func TestChatInATerminalOverACompactedRun(t *testing.T) {
	s := startServer(t, "--compact-after", "100ms")
	for _, transport := range []string{"websocket", "sse"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			for n := 150; !shownOverARun(t, s, transport, n); n *= 4 {
			}
		})
	}
}

// shownOverARun reports whether n lines were cut in their middle.
func shownOverARun(t *testing.T, s *server, transport string, n int) bool {
	t.Helper()
	proxy, err := faultproxy.New(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	p := sit(t, nil, "chat", "--hub", "http://"+proxy.Addr(), "--transport", transport)
	p.expect("idle · " + transport)
	p.press(fmt.Sprintf("/stream %d 8 60\r", n))
	p.expect("20 xxxx")
	proxy.Refuse(true)
	s.awaitRun(t, sessionID.FindStringSubmatch(p.everything())[1])
	last := lines(n)[n-1]
	within := !strings.Contains(p.everything(), last)
	proxy.Refuse(false)
	judge.Within(t, 30*time.Second, "the whole text", func() bool { return strings.Contains(p.everything(), last) })
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("it left with %d", code)
	}
	all := p.everything()
	for _, line := range lines(n) {
		if shown := len(regexp.MustCompile(`(^|[^0-9])`+line+`\b`).FindAllString(all, -1)); shown != 1 {
			t.Errorf("%q is shown %d times", line, shown)
		}
	}
	return within
}

// A key that was meant for the line does not answer a question.
func TestChatDoesNotTakeTypingForAnAnswer(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("/approve first\r")
	p.expect("[y/1] Allow once")
	p.press("\x1b[200~yes\x1b[201~")
	p.expect("a key answers when the line is empty")
	p.press("y\x15") // into the line, and away with it
	p.expect("a key answers ·")
	p.press("3")
	p.expect("→ Reject")
	p.expect("Not approved: reject_once.")
	if strings.Contains(p.everything(), "→ Allow") {
		t.Error("typing allowed it")
	}
}

func TestChatGetsNoEscapesFromTheAgent(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	id := sessionID.FindStringSubmatch(p.everything())[1]
	content, err := json.Marshal(map[string]string{"content": "evil \x1b]52;c;aGk=\x07 \x1b[2Jtext \u009b31m"})
	if err != nil {
		t.Fatal(err)
	}
	s.post(t, "/api/sessions/"+id+"/messages", string(content))
	p.expect("You said: evil")
	p.expect("idle · websocket")
	if all := p.everything(); strings.Contains(all, "\x1b]52") || strings.Contains(all, "\x1b[2J") || strings.Contains(all, "\u009b") || !strings.Contains(all, "evil  text") {
		t.Errorf("the terminal got %q", all)
	}
}

// The hub goes away in the middle of it, and comes back on the same address
// without the session: the person is told both.
func TestChatTellsOfTheConnection(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	_ = s.Cmd.Process.Kill()
	p.expect("connection lost")
	address := strings.TrimPrefix(s.URL, "http://")
	again := startServer(t, "--listen", address)
	if again.URL != s.URL {
		t.Fatalf("the hub is at %s", again.URL)
	}
	p.expect("the hub does not know session")
	if code := p.left(); code != exitFailed {
		t.Errorf("it left with %d", code)
	}
}

// SIGTERM gives the terminal back, too.
func TestChatEndsWithSIGTERM(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.URL, "--remove")
	p.expect("idle · websocket")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.left(); code != exitOK || !strings.Contains(p.everything(), "\x1b[?2004l") {
		t.Errorf("it left with %d and %q", code, p.everything())
	}
	judge.Within(t, 5*time.Second, "its session is gone", func() bool {
		return len(s.get(t, "/api/sessions")["sessions"].([]any)) == 0
	})
}

// The queue in the terminal: steer the turn, stop it and keep what waits, change that, and
// send it.
func TestChatQueueInATerminal(t *testing.T) {
	s := startServer(t)
	p := sit(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("/slow 100\r")
	p.expect("Working for")
	p.press("/steer to the left\r")
	p.expect("You steered me: to the left")
	p.press("first\r")
	p.expect("1 queued")
	p.press("second\r")
	p.expect("2 queued")
	p.press("\x03")
	p.expect("■ stopped")
	p.expect("2 held")
	p.press("/queue edit 2 second, better\r")
	p.expect("edited: second, better")
	p.press("/queue up 2\r")
	p.expect("held: second, better · first")
	p.press("/queue\r")
	p.expect("1. held: second, better")
	p.expect("2. held: first")
	p.press("/queue remove 2\r")
	p.expect("1 held")
	p.press("/queue send\r")
	p.expect("You said: second, better")
	p.expect("idle · websocket")
	p.press("/approve the plan\r")
	p.expect("? the plan")
	p.press("/refuse not like this\r")
	p.expect("You said: not like this")
	p.press("/queue remove 7\r")
	p.expect("/queue edit N TEXT")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
}
