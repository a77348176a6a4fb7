package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var sessionID = regexp.MustCompile(`session (s_[a-z0-9]+)`)

// A working day in the terminal: type, watch, approve by a key, stop, leave, come
// back, leave by a second Ctrl-C.
func TestChatInATerminal(t *testing.T) {
	s := startServer(t)
	state := "XDG_STATE_HOME=" + t.TempDir()
	p := sit(t, []string{state}, "chat", "--hub", s.url)
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
	p = sit(t, []string{state}, "chat", "--hub", s.url, "--session", id, "--transport", "sse")
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

// A key that was meant for the line does not answer a question.
func TestChatDoesNotTakeTypingForAnAnswer(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.url)
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
	p := sit(t, nil, "chat", "--hub", s.url)
	p.expect("idle · websocket")
	id := sessionID.FindStringSubmatch(p.everything())[1]
	content, err := json.Marshal(map[string]string{"content": "evil \x1b]52;c;aGk=\x07 \x1b[2Jtext \u009b31m"})
	if err != nil {
		t.Fatal(err)
	}
	s.post(t, "/api/sessions/"+id+"/messages", string(content))
	p.expect("You said: evil")
	p.expect("idle · websocket")
	if all := p.everything(); strings.Contains(all, "\x1b]52") || strings.Contains(all, "\x1b[2J") || strings.Contains(all, "\u009b") || !strings.Contains(all, "␛[2Jtext") {
		t.Errorf("the terminal got %q", all)
	}
}

// The hub goes away in the middle of it, and comes back on the same address
// without the session: the person is told both.
func TestChatTellsOfTheConnection(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.url)
	p.expect("idle · websocket")
	_ = s.cmd.Process.Kill()
	p.expect("connection lost")
	address := strings.TrimPrefix(s.url, "http://")
	again := startServer(t, "--listen", address)
	if again.url != s.url {
		t.Fatalf("the hub is at %s", again.url)
	}
	p.expect("the hub does not know session")
	if code := p.left(); code != exitFailed {
		t.Errorf("it left with %d", code)
	}
}

// SIGTERM gives the terminal back, too.
func TestChatEndsWithSIGTERM(t *testing.T) {
	s := startServer(t)
	p := sit(t, nil, "chat", "--hub", s.url, "--remove")
	p.expect("idle · websocket")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.left(); code != exitOK || !strings.Contains(p.everything(), "\x1b[?2004l") {
		t.Errorf("it left with %d and %q", code, p.everything())
	}
	within(t, 5*time.Second, "its session is gone", func() bool {
		return len(s.get(t, "/api/sessions")["sessions"].([]any)) == 0
	})
}
