package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// askingAgent is an ACP agent whose questions and outputs are too long for an
// event. The first word of a message says what it does.
func askingAgent() {
	a := &hostile{args: []string{"", ""}, in: bufio.NewReaderSize(os.Stdin, 64<<10), out: bufio.NewWriterSize(os.Stdout, 64<<10)}
	a.opened()
	for n := 0; ; n++ {
		prompt := a.await("session/prompt")
		var p struct {
			Params struct {
				Prompt []struct {
					Text string `json:"text"`
				} `json:"prompt"`
			} `json:"params"`
		}
		if json.Unmarshal([]byte(prompt.line), &p) != nil || len(p.Params.Prompt) == 0 {
			a.complain("no prompt")
		}
		word, rest, _ := strings.Cut(p.Params.Prompt[0].Text, " ")
		call := map[string]any{"toolCallId": fmt.Sprint("t", n), "title": "Edit", "kind": "edit"}
		switch word {
		case "biglog":
			text := buildLog()
			call["sessionUpdate"], call["status"] = "tool_call", "failed"
			call["content"] = []any{map[string]any{"type": "content", "content": map[string]string{"type": "text", "text": text}}}
			call["rawOutput"] = map[string]any{"stdout": text, "exitCode": 2}
			a.update(string(protocol.Marshal(call)))
			a.result(prompt, endTurn)
			continue
		case "bigdiff": // one line of a lock file
			oldText, newText := lockFile("1.0.0"), lockFile("6.6.6-evil")
			call["content"] = []any{map[string]string{"type": "diff", "path": "/x/package-lock.json", "oldText": oldText, "newText": newText}}
		case "bigwrite": // a command at the end of a long script
			call["rawInput"] = map[string]string{"path": "run.sh", "text": script(scriptBytes(), rest)}
		case "bigannounced": // what is asked about was told before, and the question names it only
			announced := map[string]any{"sessionUpdate": "tool_call", "status": "pending", "rawInput": map[string]string{"text": script(scriptBytes(), rest)}}
			for k, v := range call {
				announced[k] = v
			}
			a.update(string(protocol.Marshal(announced)))
			call = map[string]any{"toolCallId": call["toolCallId"]}
		case "huge":
			call["rawInput"] = map[string]string{"text": script(9<<20, rest)}
		}
		a.ask("7", "acp", string(protocol.Marshal(call)), `[{"optionId":"yes","name":"Yes","kind":"allow_once"},`+
			`{"optionId":"always","name":"Always","kind":"allow_always"},{"optionId":"no","name":"No","kind":"reject_once"}]`)
		a.quote(a.answerTo("7"))
		a.result(prompt, endTurn)
	}
}

func buildLog() string {
	var b strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&b, "log line %d of the build, with some text\n", i)
	}
	return b.String() + "ERROR: the build failed because of X"
}

func lockFile(version string) string {
	var b strings.Builder
	for i := range 9000 {
		v := "1.0.0"
		if i == 8000 {
			v = version
		}
		fmt.Fprintf(&b, "    \"node_modules/pkg-%d\": { \"version\": \"%s\", \"resolved\": \"https://r/%d\" },\n", i, v, i)
	}
	return b.String()
}

// script has a line in its middle that nobody would allow.
func script(n int, line string) string {
	half := strings.Repeat("echo \"a line\" # é\n", n/2/18)
	return half + line + "\n" + half
}

// askingProviders is a providers file with askingAgent.
func askingProviders(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(file, protocol.Marshal(map[string]any{"asking": map[string]any{"command": self, "args": []string{"asking-agent"}}}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
