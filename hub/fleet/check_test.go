package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

func goodHello() protocol.Hello {
	return protocol.Hello{
		Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"},
		Sessions: []protocol.HelloSession{{SessionID: "s_1", Assignment: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}},
	}
}

// Everything in a hello has a bound, and a refusal names the field and the bound.
func TestHelloHasBounds(t *testing.T) {
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("p", i))
		}
		return names
	}
	sessions := func(n int) (all []protocol.HelloSession) {
		for i := range n {
			all = append(all, protocol.HelloSession{SessionID: fmt.Sprint("s", i), Assignment: 1})
		}
		return all
	}
	long := strings.Repeat("x", 257)
	for want, change := range map[string]func(*protocol.Hello){
		"":                                      func(*protocol.Hello) {},
		"worker is missing":                     func(h *protocol.Hello) { h.Worker = "" },
		"worker is 257 bytes long: at most 256": func(h *protocol.Hello) { h.Worker = long },
		"worker holds a control character at byte 2":       func(h *protocol.Hello) { h.Worker = "w1\nlevel=ERROR" },
		"version is 257 bytes long: at most 256":           func(h *protocol.Hello) { h.Version = long },
		"version holds a control character at byte 0":      func(h *protocol.Hello) { h.Version = "\x1b[2J" },
		"workspace is missing":                             func(h *protocol.Hello) { h.Workspace = "" },
		"workspace is 4097 bytes long: at most 4096":       func(h *protocol.Hello) { h.Workspace = strings.Repeat("x", 4097) },
		"workspace holds a control character at byte 1":    func(h *protocol.Hello) { h.Workspace = "a\x00" },
		"capacity is -5: 1 to 1000000":                     func(h *protocol.Hello) { h.Capacity = -5 },
		"capacity is 0: 1 to 1000000":                      func(h *protocol.Hello) { h.Capacity = 0 },
		"capacity is 1000001: 1 to 1000000":                func(h *protocol.Hello) { h.Capacity = 1_000_001 },
		"providers are 30000: at most 256":                 func(h *protocol.Hello) { h.Providers = many(30_000) },
		"providers[0] is missing":                          func(h *protocol.Hello) { h.Providers = []string{""} },
		"providers[1] repeats one before it":               func(h *protocol.Hello) { h.Providers = []string{"a", "a"} },
		"providers[1] holds a control character at byte 1": func(h *protocol.Hello) { h.Providers = []string{"a", "b\nc"} },
		"providers[0] is 257 bytes long: at most 256":      func(h *protocol.Hello) { h.Providers = []string{long} },
		"sessions are 10001: at most 10000":                func(h *protocol.Hello) { h.Sessions = sessions(10_001) },
		"sessions[0]: sessionId is missing":                func(h *protocol.Hello) { h.Sessions = sessions(1); h.Sessions[0].SessionID = "" },
		"sessions[1] repeats one before it":                func(h *protocol.Hello) { h.Sessions = append(sessions(1), sessions(1)...) },
		"sessions[0]: turn.messageId is 129 bytes long: at most 128": func(h *protocol.Hello) {
			h.Sessions[0].Turn = &protocol.HelloTurn{Seq: 1, MessageID: strings.Repeat("m", 129)}
		},
	} {
		h := goodHello()
		change(&h)
		got := ""
		if err := checkHello(h); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	h := goodHello()
	h.Providers, h.Sessions, h.Capacity = many(protocol.MaxProviders), sessions(protocol.MaxHelloSessions), protocol.MaxCapacity
	if err := checkHello(h); err != nil {
		t.Errorf("a hello at its bounds: %v", err)
	}
}

// What workers of earlier versions say still passes.
func TestGoldenFramesPass(t *testing.T) {
	read := func(name string, v any) {
		raw, err := os.ReadFile("../../protocol/testdata/" + name)
		var f protocol.Frame
		if err == nil {
			err = protocol.Decode(raw, &f)
		}
		if err == nil {
			err = protocol.Decode(f.Data, v)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var h protocol.Hello
	read("worker_hello.json", &h)
	if err := checkHello(h); err != nil {
		t.Errorf("worker_hello.json: %v", err)
	}
	for _, kind := range []string{"output", "tool_call", "plan", "agent_update", "notice", "tool_approval"} {
		raw, err := os.ReadFile("../../protocol/testdata/event_" + kind + ".json")
		var e protocol.Event
		if err == nil {
			err = protocol.Decode(raw, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := dataOf(protocol.WorkerEvent{Type: e.Type, Data: e.Data})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if kind == "tool_approval" {
			var a protocol.ToolApprovalData
			if err := protocol.Decode(data, &a); err != nil || checkQuestion(a) != nil {
				t.Errorf("%s: %v, %v", kind, err, checkQuestion(a))
			}
		}
	}
}

func TestDataOfEventsIsChecked(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		t          protocol.EventType
		data, want string
	}{
		{"output", `{"messageId":"m","text":"","kind":"text"}`, ""},
		{"output", `{"text":"\"","kind":"thought"}`, ""},
		{"output", `{"kind":"text","new":{"a":[1]},"messageId":"m","text":"x"}`, ""},
		{"output", `{"messageId":"m","kind":"text"}`, "text is missing"},
		{"output", `{"messageId":"m","text":null,"kind":"text"}`, "text is missing"},
		{"output", `{"messageId":"m","text":"x"}`, "kind is neither"},
		{"output", `{"messageId":"m","text":"x","kind":"shout"}`, "kind is neither"},
		{"output", `{"messageId":"m","text":["x"],"kind":"text"}`, "cannot unmarshal"},
		{"output", `{"messageId":"m\u0000","text":"x","kind":"text"}`, "not printable ASCII"},
		{"output", `{"messageId":"` + strings.Repeat("m", 129) + `","text":"x","kind":"text"}`, "messageId is 129 bytes long: at most 128"},
		{"tool_call", `{"toolCallId":"t","content":[{"a":1}],"locations":[]}`, ""},
		{"tool_call", `{"messageId":"m"}`, "toolCallId is missing"},
		{"tool_call", `{"toolCallId":5}`, "cannot unmarshal"},
		{"tool_call", `{"toolCallId":"` + strings.Repeat("t", 1025) + `"}`, "toolCallId is 1025 bytes long: at most 1024"},
		{"tool_call", `{"toolCallId":"t","kind":"` + strings.Repeat("k", 257) + `"}`, "kind is 257 bytes long: at most 256"},
		{"tool_call", `{"toolCallId":"t","content":{}}`, "cannot unmarshal"},
		{"plan", `{"entries":[]}`, ""},
		{"plan", `{"messageId":"m"}`, "entries are missing"},
		{"plan", `{"entries":[5]}`, "cannot unmarshal"},
		{"agent_update", `{"kind":"k","raw":null}`, ""},
		{"agent_update", `{"kind":"k"}`, "kind or raw is missing"},
		{"agent_update", `{"kind":"k","raw":` + deep(protocol.MaxDataDepth-1) + `}`, ""},
		{"agent_update", `{"kind":"k","raw":` + deep(protocol.MaxDataDepth) + `}`, "nested more than 190 deep"},
		{"notice", `{"kind":"k","severity":"info","title":"t","description":"d","data":{"a":1},"new":1}`, ""},
		{"notice", `{"kind":"k","severity":"info"}`, "title is missing"},
		{"notice", `{"severity":"info","title":"t"}`, "kind is missing"},
		{"notice", `{"kind":"k","title":"t"}`, "severity is none of"},
		{"notice", `{"kind":"k","severity":"fatal","title":"t"}`, "severity is none of"},
		{"notice", `{"kind":"k\u0007","severity":"info","title":"t"}`, "control character"},
		{"notice", `{"kind":"k","severity":"info","title":"` + strings.Repeat("t", 1025) + `"}`, "title is 1025 bytes long: at most 1024"},
		{"notice", `{"kind":"k","severity":"info","title":"t","description":"` + strings.Repeat("d", 16385) + `"}`, "description is 16385 bytes long"},
		{"notice", `{"kind":"k","severity":"info","title":"t","data":"` + strings.Repeat("d", 16385) + `"}`, "data has 16387 bytes: at most 16384"},
	} {
		_, err := dataOf(protocol.WorkerEvent{Type: c.t, Data: json.RawMessage(c.data)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %.100s: %v, want %q", c.t, c.data, err, c.want)
		}
	}
}

func TestSteeringOfAWorkerIsChecked(t *testing.T) {
	for _, c := range []struct {
		t          protocol.EventType
		data, want string
	}{
		{"agent_started", `{"history":"new","steering":true,"reasons":false,"more":[1]}`, ""},
		{"agent_started", `{"history":"resumed"}`, ""},
		{"agent_started", `{"steering":true}`, "history is none of new, loaded and resumed"},
		{"agent_started", `{"history":"old"}`, "history is none of"},
		{"agent_started", `{"history":"new","steering":"yes"}`, "cannot unmarshal"},
		{"agent_started", `{"history":"new","agentInfo":"` + strings.Repeat("x", 2000) + `"}`, "over 1024"},
		{"steered", `{"messageId":"s","into":"m","outcome":"injected"}`, ""},
		{"steered", `{"messageId":"s","into":"m","outcome":"queued","detail":"why"}`, ""},
		{"steered", `{"messageId":"s","into":"m"}`, "outcome is neither"},
		{"steered", `{"messageId":"s","into":"m","outcome":"perhaps"}`, "outcome is neither"},
		{"steered", `{"messageId":"s\u0000","into":"m","outcome":"queued"}`, "messageId holds a character"},
		{"steered", `{"messageId":"s","into":"` + strings.Repeat("m", 129) + `","outcome":"queued"}`, "into is 129 bytes long: at most 128"},
		{"steered", `{"messageId":5}`, "cannot unmarshal"},
	} {
		in, err := queueInput(c.t, []byte(c.data), 1024)
		if c.want == "" && (err != nil || in == nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %.100s: %v, want %q", c.t, c.data, err, c.want)
		}
	}
	long, err := queueInput("steered", []byte(`{"messageId":"s","into":"m","outcome":"queued","detail":"`+strings.Repeat("x", 10_000)+`"}`), 1<<20)
	if err != nil || len(long.(session.InSteered).Data.Detail) > protocol.MaxReasonBytes {
		t.Errorf("a long detail: %v", err)
	}
}

// FuzzHello: whatever a hello holds, one that is let in is within its bounds, and the
// refusal of another says little of what was sent.
func FuzzHello(f *testing.F) {
	good := string(protocol.Marshal(goodHello()))
	for _, s := range []string{
		good, `{}`, strings.Replace(good, "8", "-5", 1), strings.Replace(good, "demo", `a\n`, 1), strings.Replace(good, `"demo"`, `"demo","demo"`, 1), strings.Replace(good, "m1", `\u20ac`, 1),
		strings.Replace(good, `"capacity"`, `"details":{"demo":{"title":"D","icon":"data:image/png,x","capabilities":{"askingModes":["a"]}}},"capacity"`, 1),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h protocol.Hello
		if protocol.Decode(raw, &h) != nil {
			return
		}
		if err := checkHello(h); err != nil {
			if len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Errorf("the refusal is %q", err)
			}
			return
		}
		// It is let in: it goes into logs, keys of the store and JSON for all nodes.
		for _, name := range append([]string{h.Worker, h.Workspace}, h.Providers...) {
			if name == "" || len(name) > protocol.MaxWorkspaceBytes || strings.ContainsAny(name, "\r\n\x00\x1b\x7f") {
				t.Errorf("%q was let in", name)
			}
		}
		for _, d := range h.Details {
			if len(d.Title) > protocol.MaxProviderTitle || strings.ContainsAny(d.Title+d.Description+d.Icon, "\r\n\x00\x1b\x7f") || d.Icon != "" && protocol.CheckIcon(d.Icon) != nil {
				t.Errorf("%+v was let in", d)
			}
		}
		if n := len(protocol.Marshal(h.Details)); len(h.Details) > 0 && n > protocol.MaxDetailsBytes {
			t.Errorf("details of %d bytes were let in", n)
		}
		if h.Capacity < 1 || len(h.Providers) > protocol.MaxProviders || len(h.Sessions) > protocol.MaxHelloSessions {
			t.Errorf("let in: %d places, %d providers, %d sessions", h.Capacity, len(h.Providers), len(h.Sessions))
		}
	})
}

// FuzzPlainOutput holds the short look at an output to the long one.
func FuzzPlainOutput(f *testing.F) {
	for _, s := range []string{
		`{"messageId":"m","text":"x","kind":"text"}`, `{"messageId":"m","text":"\\\"","kind":"thought"}`, `{"messageId":"m","text":"a","kind":"text","kind":5}`,
		`{"messageId":"m","text":"a\",\"kind\":\"text\"}","kind":"x"}`, `{"messageId":"","text":"\`, `{"messageId":"m","text":null,"kind":"text"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, err := protocol.Compact(raw)
		if err != nil {
			isPlainOutput(raw) // no panic
			return
		}
		var d protocol.OutputData
		if isPlainOutput(data) && (json.Unmarshal(data, &d) != nil || d.Kind != protocol.OutputText && d.Kind != protocol.OutputThought || checkTurnID("", d.MessageID) != nil) {
			t.Errorf("%s is no plain output", data)
		}
	})
}
