package worker

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"sessionhub/protocol"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct {
		line string
		want rpcMessage
	}{
		{`{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}`, rpcMessage{kind: lineRequest, id: raw(`1`), method: "m", params: raw(`{"a":1}`)}},
		{`{"id":"x","method":"m"}`, rpcMessage{kind: lineRequest, id: raw(`"x"`), method: "m"}},
		{`{"method":"m"}`, rpcMessage{kind: lineNotification, method: "m"}},
		{`{"id":null,"method":"m"}`, rpcMessage{kind: lineNotification, method: "m"}},
		{`{"id":1,"result":{}}`, rpcMessage{kind: lineResponse, id: raw(`1`), result: raw(`{}`)}},
		{`{"id":1,"error":{"code":-1,"message":"x"}}`, rpcMessage{kind: lineResponse, id: raw(`1`), err: &rpcError{Code: -1, Message: "x"}}},
		{`{"id":1,"error":"boom"}`, rpcMessage{kind: lineResponse, id: raw(`1`), err: &rpcError{}}},
		{`{"id":1,"error":[7]}`, rpcMessage{kind: lineResponse, id: raw(`1`), err: &rpcError{}}},
		{`{"id":1,"error":{"code":"E1","message":7}}`, rpcMessage{kind: lineResponse, id: raw(`1`), err: &rpcError{}}},
		{`{}`, rpcMessage{kind: lineGarbage, text: `{}`}},
		{`[{"method":"m"}]`, rpcMessage{kind: lineGarbage, text: `[{"method":"m"}]`}},
		{`{"method":7}`, rpcMessage{kind: lineGarbage, text: `{"method":7}`}},
		{`{"method":"m"} x`, rpcMessage{kind: lineGarbage, text: `{"method":"m"} x`}},
		{"\x1b[31mred\x1b[0m", rpcMessage{kind: lineGarbage, text: "red"}},
		{`{"id":"` + strings.Repeat("i", 300) + `","method":"m"}`, rpcMessage{kind: lineGarbage, text: `{"id":"` + strings.Repeat("i", garbageHead-7) + "…"}},
	} {
		got := parseLine([]byte(test.line))
		if got.kind != test.want.kind || got.method != test.want.method || got.text != test.want.text ||
			string(got.id) != string(test.want.id) || string(got.params) != string(test.want.params) ||
			string(got.result) != string(test.want.result) || (got.err == nil) != (test.want.err == nil) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.line, got, test.want)
		}
	}
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestErrorTextShowsTheCause(t *testing.T) {
	for _, test := range []struct {
		err  rpcError
		want string
	}{
		{rpcError{Code: -1, Message: "bad"}, "bad"},
		{rpcError{Code: -1}, "error -1"},
		{rpcError{Message: "bad", Data: raw(`null`)}, "bad"},
		{rpcError{Message: "bad", Data: raw(`"why"`)}, "bad: why"},
		{rpcError{Message: "bad", Data: raw(`{"details":"why"}`)}, "bad: why"},
		{rpcError{Message: "bad", Data: raw(`{"message":"why"}`)}, "bad: why"},
		{rpcError{Message: "bad", Data: raw(`{"code":7}`)}, `bad: {"code":7}`},
		{rpcError{Message: "b\x00\x1b[31mad\x1b[0m"}, "b␀ad"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%+v: %q", test.err, got)
		}
	}
}

func TestLineReader(t *testing.T) {
	huge := strings.Repeat("h", 200_000)
	input := "one\n\r\n  \ntwo\r\n" + huge + "\n" + strings.Repeat("x", 300_000) + "\nthree\n" + huge + "\nlast"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(input), "halves": iotest.HalfReader(strings.NewReader(input)),
		"with the error": iotest.DataErrReader(strings.NewReader(input)),
	} {
		lines := newLineReader(r, 250_000)
		var got []string
		for {
			line, err := lines.next()
			if errors.Is(err, errLineTooLong) {
				got = append(got, "TOO LONG")
				continue
			}
			if err != nil {
				if err != io.EOF {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			got = append(got, strings.ReplaceAll(string(line), huge, "HUGE"))
		}
		if s := strings.Join(got, " "); s != "one two HUGE TOO LONG three HUGE last" {
			t.Errorf("%s: %.300s", name, s)
		}
	}
}

// A line without an end is over the limit at once: who waits for its end reads
// for ever.
func TestEndlessLineIsTooLong(t *testing.T) {
	lines := newLineReader(io.MultiReader(strings.NewReader("one\n"), endless{}), 1<<20)
	if line, err := lines.next(); string(line) != "one" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := lines.next(); !errors.Is(err, errLineTooLong) {
		t.Errorf("%v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'z'
	}
	return len(p), nil
}

// Whatever an agent's "error" is, it answers the request.
func TestErrorOfAnyFormIsToldToTheUser(t *testing.T) {
	for line, want := range map[string]string{
		`{"id":1,"error":"boom"}`:                         "boom",
		`{"id":1,"error":42}`:                             "error -32603: 42",
		`{"id":1,"error":{"code":"E1","message":"boom"}}`: `error -32603: boom`,
		`{"id":1,"error":{"code":1,"message":["boom"]}}`:  `error -32603: {"code":1,"message":["boom"]}`,
	} {
		if m := parseLine([]byte(line)); m.err == nil || m.err.Error() != want {
			t.Errorf("%s: %v, want %q", line, m.err, want)
		}
	}
}

func TestFixSurrogates(t *testing.T) {
	for line, want := range map[string]string{
		`"\ud83d\ude00"`:             `"\ud83d\ude00"`,
		`"\uD83D\uDE00 \ud83d"`:      `"\uD83D\uDE00 \ufffd"`,
		`"\ude00\ud83d"`:             `"\ufffd\ufffd"`,
		`"\ud83d\ud83d\ude00"`:       `"\ufffd\ud83d\ude00"`,
		`"\\ud83d"`:                  `"\\ud83d"`,
		`"\\\ud83d"`:                 `"\\\ufffd"`,
		`"\ud7ff\ue000"`:             `"\ud7ff\ue000"`,
		`"\ud8`:                      `"\ud8`,
		`"\ud83`:                     `"\ud83`,
		`"\ud83z"`:                   `"\ud83z"`,
		`"\ud83d\`:                   `"\ufffd\`,
		"\"\xff\xfe \\ud83d\"":       "\"\uFFFD \\ufffd\"",
		"\"\xed\xa0\xbd (encoded)\"": "\"\uFFFD (encoded)\"",
	} {
		if got := string(cleanLine([]byte(line))); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestCleanRaw(t *testing.T) {
	if got := cleanRaw(raw(` { "a" : [ 1 , "\n" ] } `), 100); string(got) != `{"a":[1,"\n"]}` {
		t.Errorf("compact: %s", got)
	}
	for _, absent := range []string{"", "null"} {
		if got := cleanRaw(raw(absent), 100); got != nil {
			t.Errorf("%q: %s", absent, got)
		}
	}
	long := raw(`"` + strings.Repeat(`ä\n`, 5000) + `"`)
	for _, limit := range []int{400, 1000, 5000} {
		got := cleanRaw(long, limit)
		var text string
		if err := json.Unmarshal(got, &text); err != nil || len(got) > limit || len(got) < limit-200 ||
			!strings.HasPrefix(text, "ä\n") || !strings.HasSuffix(text, "ä\n") || !strings.Contains(text, " bytes left out …") {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
	}
	// What is nested too deeply for JSON's readers is there as a text, all of it.
	deep := strings.Repeat("[", 2*rawDepth) + strings.Repeat("]", 2*rawDepth)
	if got := wholeRaw(raw(deep)); string(got) != `"`+deep+`"` {
		t.Errorf("deep: %.100s", got)
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		s     string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"aää", 4, "aä…"}, {"ä", 1, "…"}, {"\xff", 9, "\uFFFD"}} {
		if got := clip(test.s, test.limit); got != test.want {
			t.Errorf("%q to %d: %q", test.s, test.limit, got)
		}
	}
}

func TestLastWordsAreTheEnd(t *testing.T) {
	words := lastWords{limit: 20}
	for range 100 {
		io.WriteString(&words, "some line\n")
	}
	io.WriteString(&words, "the \x1b[1mend")
	if got := words.String(); got != "the end" && got != "some line\nthe end" {
		t.Errorf("%q", got)
	}
	io.WriteString(&words, strings.Repeat("z", 100))
	if got := words.String(); got != strings.Repeat("z", 20) {
		t.Errorf("%q", got)
	}
}

// FuzzAgentLine takes a line of an agent through everything that a session does
// with it, without a process: nothing panics, and every event that comes out is
// one that the hub can read.
func FuzzAgentLine(f *testing.F) {
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}`,
		`{"method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"\ud800\u0000"}}}}`,
		`{"method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":"tool_call","toolCallId":"t","title":"x","rawInput":[1],"content":[{"type":"diff"}],"locations":[null,{}]}}}`,
		`{"method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":"plan","entries":[{"content":"x"}]}}}`,
		`{"id":2,"method":"session/request_permission","params":{"sessionId":"acp-1","toolCall":{"toolCallId":"t"},"options":[{"optionId":"a","kind":"allow_once"}]}}`,
		`{"id":{"a":[1]},"method":"x"}`,
		`{"id":2,"result":{"stopReason":"end_turn","usage":{"a":null}}}`,
		"\xff{", `{"method":"session/update","params":null}`, `null`,
	} {
		f.Add([]byte(line))
	}
	w, err := New(Config{Root: f.TempDir(), Name: "w", Environ: []string{}, Providers: map[string]Provider{"x": {Command: "x"}}, Log: discard})
	if err != nil {
		f.Fatal(err)
	}
	defer w.Close()
	f.Fuzz(func(t *testing.T, line []byte) {
		s := newSession(w, protocol.Assign{SessionID: "s", Assignment: 1, Provider: "x"}, w.cfg.Providers["x"], nil)
		s.agent = newAgent(processSpec, discard)
		s.agent.sessionID, s.agent.ready = "acp-1", true
		s.turn = newTurn(1, protocol.MessageData{MessageID: "m", Content: raw(`"hi"`)})
		s.prompt()
		for range 2 {
			if s.agent != nil && !s.agent.stopped {
				s.onLine(parseLine(line))
			}
		}
		if s.turn != nil {
			s.finishError(protocol.TurnAgentFailed, "the end", true)
		}
		completes := 0
		for i, item := range s.out.items {
			var frame protocol.Frame
			if err := protocol.Decode(item.frame, &frame); err != nil {
				t.Fatalf("frame %d %q: %v", i, item.frame, err)
			}
			if !item.event {
				continue
			}
			var e protocol.WorkerEvent
			if err := protocol.Decode(frame.Data, &e); err != nil || !e.Type.WorkerMaySend() || !utf8.Valid(e.Data) {
				t.Fatalf("event %q: %v", frame.Data, err)
			}
			if compact, err := protocol.Compact(e.Data); err != nil || string(compact) != string(e.Data) || e.Data[0] != '{' {
				t.Fatalf("data %q: %v", e.Data, err)
			}
			if e.Type == protocol.EventComplete {
				completes++
			}
		}
		if completes != 1 {
			t.Fatalf("%d completes", completes)
		}
		for answer := s.agent.stdin.take(); answer != nil; answer = s.agent.stdin.take() {
			if !json.Valid(answer) || answer[len(answer)-1] != '\n' || strings.Count(string(answer), "\n") != 1 {
				t.Fatalf("answer %q", answer)
			}
		}
	})
}
