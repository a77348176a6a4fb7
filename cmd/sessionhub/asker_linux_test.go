package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// asker makes this program an ACP agent that asks several things at once.
const asker = "ASKING_TEST_AGENT"

func init() {
	if os.Getenv(asker) != "" {
		ask()
		os.Exit(0)
	}
}

// ask obeys the first word of a message: `many A B` asks for the commands A and
// B at once, `edit N` for a file of N lines, `command JSON` for a command,
// `long N` for one of N bytes that ends badly. Each answer is said when it comes.
func ask() {
	var prompt json.RawMessage
	open := 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	say := func(m map[string]any) {
		m["jsonrpc"] = "2.0"
		fmt.Println(string(protocol.Marshal(m)))
	}
	answer := func(id json.RawMessage, result any) { say(map[string]any{"id": id, "result": result}) }
	wonder := func(title string, call map[string]any) {
		open++
		call["toolCallId"], call["title"], call["kind"] = fmt.Sprintf("t%d", open), title, "execute"
		say(map[string]any{"id": title, "method": "session/request_permission", "params": map[string]any{
			"sessionId": "s", "toolCall": call,
			"options": []any{
				map[string]string{"optionId": "a", "name": "Allow", "kind": "allow_once"},
				map[string]string{"optionId": "r", "name": "Reject", "kind": "reject_once"},
			},
		}})
	}
	for in.Scan() {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ Prompt []struct{ Text string } }
			Result struct{ Outcome struct{ OptionID string } }
		}
		if json.Unmarshal(in.Bytes(), &m) != nil {
			continue
		}
		switch m.Method {
		case "initialize":
			answer(m.ID, map[string]any{"protocolVersion": 1})
		case "session/new":
			answer(m.ID, map[string]any{"sessionId": "s"})
		case "session/prompt":
			prompt, open = m.ID, 0
			word, rest, _ := strings.Cut(m.Params.Prompt[0].Text, " ")
			switch word {
			case "many":
				for _, command := range strings.Fields(rest) {
					wonder(command, map[string]any{"rawInput": map[string]string{"command": "run " + command}})
				}
			case "edit":
				var n int
				_, _ = fmt.Sscan(rest, &n)
				var text strings.Builder
				for i := range n {
					fmt.Fprintf(&text, "line %d of it\n", i+1)
				}
				wonder("edit", map[string]any{"content": []any{map[string]any{"type": "diff", "path": "/w/file", "newText": text.String()}}})
			case "long":
				var n int
				_, _ = fmt.Sscan(rest, &n)
				wonder("long", map[string]any{"rawInput": map[string]string{"command": "echo " + strings.Repeat("x", n) + "; rm -r /"}})
			case "command":
				var command string
				_ = json.Unmarshal([]byte(rest), &command)
				wonder("a command", map[string]any{"rawInput": map[string]string{"command": command}})
			}
		case "":
			say(map[string]any{"method": "session/update", "params": map[string]any{"sessionId": "s", "update": map[string]any{
				"sessionUpdate": "agent_message_chunk",
				"content":       map[string]string{"type": "text", "text": fmt.Sprintf("Answer to %s is %s.\n\n", m.ID, m.Result.Outcome.OptionID)},
			}}})
			if open--; open == 0 {
				answer(prompt, map[string]string{"stopReason": "end_turn"})
			}
		}
	}
}

// converse begins a chat with the asker.
func converseWithAsker(t *testing.T, flags ...string) *person {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/providers.yaml" // JSON is YAML
	providers := map[string]any{"asker": map[string]any{"command": self, "env": map[string]string{asker: "1"}}}
	if err := os.WriteFile(file, protocol.Marshal(providers), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, append(flags, "--providers-file", file, "--default-provider", "asker")...)
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	return p
}

// Of several questions one is answered at a time, by a key that was pressed when
// it could be read: the second press of a key does not answer the next one.
func TestChatSaysWhichQuestionAKeyAnswers(t *testing.T) {
	// A chat that stands still for a second between two presses is right to take them for
	// two: that a key is held is known by time. It is not so again and again.
	for attempt := 1; !secondPressIsHeld(t); attempt++ {
		if attempt == 5 || judge.Load() {
			t.Fatal("the second press of a key answered the next question")
		}
		t.Log("the second press of a key came late")
	}
}

// secondPressIsHeld has three questions asked and answered. It reports whether a key that
// was pressed again answered nothing.
func secondPressIsHeld(t *testing.T) bool {
	t.Helper()
	p := converseWithAsker(t)
	p.press("many first second third\r")
	p.expect("? first (1 of 3)")
	p.expect("[y/1] Allow")
	p.expect("a key answers question 1 of 3")
	p.press("yy") // a key that is pressed twice, or held
	p.expect("→ Allow: first")
	shown := func(text string) bool { return loose(text).MatchString(p.everything()) }
	answered := func() bool { return shown("→ Allow: second") }
	judge.Within(t, 20*time.Second, "the second question", func() bool {
		return answered() || shown("? second (1 of 2)")
	})
	p.press("y")
	judge.Within(t, 20*time.Second, "word of the held key", func() bool {
		return answered() || shown("held or pressed twice")
	})
	if answered() {
		return false
	}
	p.expect("[y/1] Allow")
	time.Sleep(heldKey)
	if answered() {
		return false
	}
	p.press("n")
	p.expect("→ Reject: second")
	p.expect("? third")
	p.expect("[y/1] Allow")
	p.press("1")
	p.expect("→ Allow: third")
	for _, said := range []string{`"first" is a`, `"second" is r`, `"third" is a`} {
		judge.Within(t, 20*time.Second, "the agent is told that "+said, func() bool { return loose(said).MatchString(p.everything()) })
	}
	return true
}

// heldKey is longer than the chat takes a key for held.
const heldKey = 1200 * time.Millisecond

// What an edit adds was cut at 40 lines: line 300 was allowed unseen.
func TestChatShowsAllOfAnEditBeforeItIsAllowed(t *testing.T) {
	p := converseWithAsker(t)
	p.press("edit 100\r")
	p.expect("+ line 1 of it")
	p.expect("Space shows more")
	p.expect("[n/2] Reject")
	if all := p.everything(); strings.Contains(all, "[y/1]") || strings.Contains(all, "+ line 60 of it") {
		t.Error("it is offered before it was read")
	}
	p.press("y")
	p.expect("when all of it was shown")
	for _, line := range []string{"+ line 25 of it", "+ line 50 of it", "+ line 75 of it"} {
		time.Sleep(150 * time.Millisecond)
		p.press(" ")
		p.expect(line)
	}
	judge.Within(t, 20*time.Second, "the end of the edit", func() bool {
		time.Sleep(150 * time.Millisecond)
		p.press(" ")
		return loose("+ line 100 of it").MatchString(p.everything())
	})
	p.expect("[y/1] Allow")
	p.press("1")
	p.expect("→ Allow: edit")
	p.expect(`"edit" is a`)
}

// A command that is shown backwards, or hides a part of itself, is seen as what
// it is.
func TestChatShowsWhatACommandHides(t *testing.T) {
	p := converseWithAsker(t)
	p.press(`command "echo \u202egpj.exe\u200b \u001b[8mrm -r /\u001b[0m"` + "\r")
	p.expect("$ echo U+202E gpj.exe U+200B ␛ [8mrm -r / ␛ [0m")
	p.expect("[y/1] Allow")
	p.press("n")
	p.expect("→ Reject")
	if all := p.everything(); strings.ContainsAny(all, "\u202e\u200b") || strings.Contains(all, "\x1b[8m") {
		t.Errorf("the terminal got %q", all)
	}
}

// What does not fit into the log is fetched, and read to its end, before it can
// be allowed.
func TestChatFetchesWhatTheLogHasInPart(t *testing.T) {
	p := converseWithAsker(t, "--max-event-bytes", "16KiB")
	p.press("long 30000\r")
	p.readQuestion()
	p.expect("; rm -r /")
	p.expect("[y/1] Allow")
	if all := p.everything(); !strings.Contains(all, "Space fetches the whole of it") {
		t.Error("it did not say that a part is missing")
	}
	p.press("y")
	p.expect("→ Allow: long")
	p.expect(`"long" is a`)
}
