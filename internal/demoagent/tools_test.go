package demoagent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

func TestWriteAsksThenWrites(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	r := p.turn(session, p.prompt(session, "/write sub/a.txt two  words "), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			if _, err := os.Stat(filepath.Join(dir, "sub")); err == nil {
				t.Error("it wrote before it was allowed to")
			}
			p.choose(f, "allow_once")
		}
	})
	if data, err := os.ReadFile(filepath.Join(dir, "sub", "a.txt")); err != nil || string(data) != "two  words " {
		t.Errorf("file has %q, %v", data, err)
	}
	if r.stop != "end_turn" || r.statuses() != "pending in_progress completed" {
		t.Errorf("%s, %s", r.stop, r.statuses())
	}
	ask := r.asked[0].Params.ToolCall
	input := ask["rawInput"].(map[string]any)
	if ask["kind"] != "edit" || input["path"] != "sub/a.txt" || input["content"] != "two  words " {
		t.Errorf("asked %v", ask)
	}
	diff := ask["content"].([]any)[0].(map[string]any)
	if diff["type"] != "diff" || diff["newText"] != "two  words " || diff["path"] != filepath.Join(dir, "sub", "a.txt") || diff["oldText"] != nil {
		t.Errorf("diff is %v", diff)
	}
	if out := r.last("rawOutput").(map[string]any); out["bytes"] != 11.0 {
		t.Errorf("output is %v", out)
	}
	// Over an existing file the diff has the old text, and an absolute path is fine.
	r = p.sayAnd(session, "/write "+filepath.Join(dir, "sub", "a.txt")+" new", "allow_once")
	diff = r.asked[0].Params.ToolCall["content"].([]any)[0].(map[string]any)
	if diff["oldText"] != "two  words " || diff["newText"] != "new" {
		t.Errorf("diff is %v", diff)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "sub", "a.txt")); err != nil || string(data) != "new" {
		t.Errorf("file has %q, %v", data, err)
	}
	// No text is an empty file.
	p.sayAnd(session, "/write empty", "allow_once")
	if data, err := os.ReadFile(filepath.Join(dir, "empty")); err != nil || len(data) != 0 {
		t.Errorf("file has %q, %v", data, err)
	}
}

func TestRejectedWriteWritesNothing(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	r := p.sayAnd(p.session(dir), "/write a.txt text", "reject_once")
	if r.stop != "end_turn" || r.statuses() != "pending failed" || !strings.Contains(r.text, "Not written: reject_once") {
		t.Errorf("%s, %s, %q", r.stop, r.statuses(), r.text)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.txt")); err == nil {
		t.Error("the file is there")
	}
}

func TestWriteStaysInTheWorkingDirectory(t *testing.T) {
	p := connect(t)
	outside, dir := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{
		"out":      outside,
		"dangling": filepath.Join(outside, "new"),
		"up":       "../",
		"in":       "real",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	session := p.session(dir)
	for _, path := range []string{
		"../a", "sub/../../a", filepath.Join(outside, "a"), dir + "-more/a", "out/a", "dangling", "up/a", ".", "real", "fifo", "/",
	} {
		// say fails the test when it is asked: what is refused is refused before.
		if r := p.say(session, "/write "+path+" text"); r.stop != "end_turn" || !strings.Contains(r.text, "I may not write") {
			t.Errorf("%s gives %q", path, r.text)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	if r := p.sayAnd(session, "/write in/a text", "allow_once"); r.statuses() != "pending in_progress completed" {
		t.Errorf("through an inner link: %q", r.text)
	}
	// A directory by its other name.
	link := filepath.Join(outside, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if r := p.sayAnd(p.session(link), "/write "+filepath.Join(dir, "b")+" text", "allow_once"); r.statuses() != "pending in_progress completed" {
		t.Errorf("by the resolved name: %q", r.text)
	}
}

// TestWriteChecksAgainAfterTheAnswer: the tree can change while the user thinks.
func TestWriteChecksAgainAfterTheAnswer(t *testing.T) {
	p := connect(t)
	outside, dir := t.TempDir(), t.TempDir()
	session := p.session(dir)
	r := p.turn(session, p.prompt(session, "/write sub/a text"), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
				t.Error(err)
			}
			p.choose(f, "allow_once")
		}
	})
	if r.stop != "end_turn" || r.statuses() != "pending in_progress failed" || !strings.Contains(r.text, "Not written") {
		t.Errorf("%s, %s, %q", r.stop, r.statuses(), r.text)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside there is %v, %v", left, err)
	}
}

func TestRunShowsOutputAndExitCode(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	for _, c := range []struct {
		line, status, output string
		code                 float64
	}{
		{"echo out; echo err >&2", "completed", "out\nerr\n", 0},
		{"basename \"$PWD\"", "completed", filepath.Base(dir) + "\n", 0},
		{"echo before; exit 7", "failed", "before\n", 7},
		{"no-such-command 2>/dev/null", "failed", "", 127},
		{"cat; echo no input", "completed", "no input\n", 0},
		{`printf 'a\377b'`, "completed", "a\uFFFDb", 0},
	} {
		r := p.sayAnd(session, "/run "+c.line, "allow_once")
		out, _ := r.last("rawOutput").(map[string]any)
		if r.statuses() != "pending in_progress "+c.status || out["output"] != c.output || out["exitCode"] != c.code {
			t.Errorf("%s: %s, %v", c.line, r.statuses(), out)
		}
		if !strings.Contains(r.text, fmt.Sprintf("exit code %v", c.code)) {
			t.Errorf("%s: said %q", c.line, r.text)
		}
		ask := r.asked[0].Params.ToolCall
		if ask["kind"] != "execute" || ask["rawInput"].(map[string]any)["command"] != c.line {
			t.Errorf("asked %v", ask)
		}
	}
}

func TestRunNamesTheSignal(t *testing.T) {
	p := connect(t)
	r := p.sayAnd(p.session(t.TempDir()), "/run kill -9 $$", "allow_once")
	out, _ := r.last("rawOutput").(map[string]any)
	if r.statuses() != "pending in_progress failed" || out["signal"] != "killed" || out["exitCode"] != nil {
		t.Errorf("%s, %v", r.statuses(), out)
	}
}

func TestRejectedCommandDoesNotRun(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	r := p.sayAnd(p.session(dir), "/run touch ran", "reject_once")
	if r.statuses() != "pending failed" || !strings.Contains(r.text, "Not run: reject_once") {
		t.Errorf("%s, %q", r.statuses(), r.text)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("it ran")
	}
}

// TestRunStreams: the output of a command that still runs is shown.
func TestRunStreams(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	seen := false
	r := p.turn(session, p.prompt(session, "/run echo first; until [ -e go ]; do sleep 0.02; done; echo second"), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			p.choose(f, "allow_once")
		}
		if content := fmt.Sprint(f.Params.Update["content"]); !seen && strings.Contains(content, "first") && !strings.Contains(content, "second") {
			seen = true
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	if out, _ := r.last("rawOutput").(map[string]any); !seen || out["output"] != "first\nsecond\n" {
		t.Errorf("seen early: %v, output %v", seen, out)
	}
}

func TestRunBoundsWhatItShows(t *testing.T) {
	p := connect(t)
	r := p.sayAnd(p.session(t.TempDir()), "/run yes | head -c 5000000; echo end >&2", "allow_once")
	out, _ := r.last("rawOutput").(map[string]any)
	text, _ := out["output"].(string)
	if len(text) > maxOutputBytes+100 || !strings.Contains(text, strconv.Itoa(5_000_004-maxOutputBytes)+" bytes before this were cut") || out["exitCode"] != 0.0 {
		t.Errorf("%d bytes, ends %q", len(text), text[max(0, len(text)-60):])
	}
}

// recorded waits for a file with a process id.
func recorded(t *testing.T, name string) int {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if data, err := os.ReadFile(name); err == nil && strings.HasSuffix(string(data), "\n") {
			pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s", name)
		}
	}
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(limit); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// zombie is a dead process whose parent, here often a container's init, does not
// wait for it. Where there is no /proc nothing is known to be one.
func zombie(pid int) bool {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(data), ") Z ")
}

func TestCancelKillsTheCommandAndWhatItStarted(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	session := p.session(dir)
	var pids []int
	r, took := p.sayAndCancel(session, `/run trap "" TERM; sleep 60 & echo $! >child; echo $$ >shell; echo started; wait`, func(_ *reply, f frame) bool {
		if f.Method == "session/request_permission" {
			p.choose(f, "allow_once")
		}
		if !strings.Contains(fmt.Sprint(f.Params.Update["content"]), "started") {
			return false
		}
		pids = append(pids, recorded(t, filepath.Join(dir, "child")), recorded(t, filepath.Join(dir, "shell")))
		return true
	})
	judge.AtMost(t, "the cancel", took, promptly)
	if r.stop != "cancelled" || r.statuses() != "pending in_progress failed" {
		t.Errorf("%s after %v, %s", r.stop, took, r.statuses())
	}
	for _, pid := range pids {
		gone(t, pid)
	}
}

// TestCommandLeavesNothingInTheBackground, and what it left does not hold its end.
func TestCommandLeavesNothingInTheBackground(t *testing.T) {
	p := connect(t)
	dir := t.TempDir()
	began := time.Now()
	r := p.sayAnd(p.session(dir), `/run sleep 60 & echo $! >child; echo done`, "allow_once")
	if out, _ := r.last("rawOutput").(map[string]any); out["output"] != "done\n" || out["exitCode"] != 0.0 {
		t.Errorf("output is %v", out)
	}
	judge.AtMost(t, "the command", time.Since(began), promptly)
	gone(t, recorded(t, filepath.Join(dir, "child")))
}
