package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

var shortScript = script{pieces: 43, tools: 4, bytes: 24, toolBytes: 100}

// told is what the worker says of a message, as events in the form in which it says them.
func told(t *testing.T, s script) (events []protocol.Entry) {
	t.Helper()
	err := s.say("m", 0, s.tools, func(kind protocol.EventType, data any) error {
		e := protocol.Entry{Seq: uint64(len(events) + 1), Type: kind}
		e.Tail = protocol.AppendEventTail(nil, kind, time.Now(), protocol.Marshal(data))
		events = append(events, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func decode(t *testing.T, e protocol.Entry) (out protocol.Event) {
	t.Helper()
	if err := json.Unmarshal(e.AppendJSON(nil), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func sumOf(t *testing.T, events []protocol.Entry) string {
	t.Helper()
	r := newReading()
	for _, e := range events {
		if err := r.event(e.Type, decode(t, e).Data); err != nil {
			t.Fatal(err)
		}
	}
	return r.sum()
}

// smaller joins the texts that stand side by side, and merges the two events of each tool
// call.
func smaller(t *testing.T, events []protocol.Entry) (out []protocol.Entry) {
	t.Helper()
	for _, e := range events {
		n := len(out) - 1
		if n < 0 || out[n].Type != e.Type {
			out = append(out, e)
			continue
		}
		before, data := decode(t, out[n]).Data, decode(t, e).Data
		var merged any
		if e.Type == protocol.EventOutput {
			var a, b protocol.OutputData
			if json.Unmarshal(before, &a) != nil || json.Unmarshal(data, &b) != nil {
				t.Fatal("no outputs")
			}
			a.Text += b.Text
			merged = a
		} else {
			fields := make(map[string]json.RawMessage)
			if json.Unmarshal(before, &fields) != nil || json.Unmarshal(data, &fields) != nil {
				t.Fatal("no tool calls")
			}
			merged = fields
		}
		joined := protocol.Entry{Seq: e.Seq, From: out[n].First(), Type: e.Type}
		joined.Tail = protocol.AppendEventTail(nil, e.Type, time.Now(), protocol.Marshal(merged))
		out[n] = joined
	}
	return out
}

// Both forms of a log say the same, and a log that lacks a letter does not.
func TestReadingIsThatOfEitherForm(t *testing.T) {
	events := told(t, shortScript)
	small := smaller(t, events)
	if len(events) != 43+8 || len(small) != 8 {
		t.Fatalf("%d events, %d when they are small", len(events), len(small))
	}
	said := sumOf(t, events)
	if got := sumOf(t, small); got != said {
		t.Errorf("the small form says %s, the other one %s", got, said)
	}
	for i, e := range small {
		other := append([]protocol.Entry(nil), small...)
		more := strings.NewReplacer(`"text":"`, `"text":"~`, `"output":"`, `"output":"~`)
		if other[i].Tail = []byte(more.Replace(string(e.Tail))); sumOf(t, other) == said {
			t.Errorf("a letter more in event %d was not noticed", i+1)
		}
	}
	if got := sumOf(t, events[:len(events)-1]); got == said {
		t.Error("an end that is missing was not noticed")
	}
}

// A reader in whose midst the log is compacted gets a run again that it has a part of.
func TestReadingReplacesWhatAnEventReachesBackOver(t *testing.T) {
	events := told(t, shortScript)
	small := smaller(t, events)
	var raw [][]byte
	for _, e := range append(events[:5:5], small...) { // of the first run, five pieces came before
		raw = append(raw, e.AppendJSON(nil))
	}
	got, err := readAll(raw)
	if said := sumOf(t, events); got != said || err != nil {
		t.Errorf("it says %s, not %s: %v", got, said, err)
	}
	j := &joiner{}
	frames := []protocol.Entry{events[0], events[1], small[0], small[1]}
	for i, e := range frames {
		if i%2 == 0 {
			if err := j.frame(notice{kind: []byte(protocol.ControlConnected)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.frame(notice{first: e.First(), seq: e.Seq, kind: []byte(e.Type)}); err != nil {
			t.Fatal(err)
		}
	}
	if j.end = small[1].Seq; j.loss() != (Loss{}) {
		t.Errorf("%+v", j.loss())
	}
	if err := j.frame(notice{first: 1, seq: small[0].Seq}); err != nil || j.loss() != (Loss{Repeated: 1}) {
		t.Errorf("without another connected: %+v, %v", j.loss(), err)
	}
}

func TestScriptIsReadBack(t *testing.T) {
	got, from, to, ok := parseScript(shortScript.message(1, 3))
	if !ok || got != shortScript || from != 1 || to != 3 {
		t.Errorf("%+v, %d to %d, %v", got, from, to, ok)
	}
	for _, text := range []string{"hello", "/work 0 1", "/work 0 9 43 4 24 100", "/work 3 1 43 4 24 100", "/work 0 1 3 4 24 100", "/work 0 1 43 4 0 100"} {
		if _, _, _, ok := parseScript(text); ok {
			t.Errorf("%q is taken", text)
		}
	}
}

// A joiner has every event with its bytes, over either transport, and misses none in
// silence.
func TestJoinerReadsAWholeLog(t *testing.T) {
	small := smaller(t, told(t, shortScript))
	for _, tc := range []struct {
		name string
		log  []protocol.Entry
		want Loss
	}{
		{"whole", small, Loss{}},
		{"hole", append(append([]protocol.Entry(nil), small[:2]...), small[3:]...), Loss{Lost: small[2].Seq - small[2].First() + 1}},
		{"end", small[:len(small)-1], Loss{Lost: 2}},
	} {
		for _, ws := range []bool{false, true} {
			enc := protocol.SSE
			if ws {
				enc = protocol.WebSocket
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				out := []byte("HTTP/1.1 200 OK\r\n\r\n")
				if ws {
					out = []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")
				}
				control := func(kind protocol.ControlType, data any) {
					frame := protocol.AppendControl(nil, kind, time.Now(), data)
					if ws {
						out = protocol.AppendFrame(out, frame)
					} else {
						out = protocol.AppendControlSSE(out, kind, frame)
					}
				}
				control(protocol.ControlConnected, protocol.Connected{})
				for _, e := range tc.log {
					out = enc.Append(out, "s1", "e1", e)
				}
				control(protocol.ControlCaughtUp, protocol.CaughtUp{Seq: small[len(small)-1].Seq})
				for len(out) > 0 { // in pieces that end anywhere
					n := min(100, len(out))
					_, _ = conn.Write(out[:n])
					out = out[n:]
				}
			}))
			j := &joiner{ws: ws}
			err := j.join(t.Context(), strings.TrimPrefix(server.URL, "http://"), "s", "t")
			server.Close()
			if err != nil {
				t.Fatal(err)
			}
			if got := j.loss(); got != tc.want || j.connected.IsZero() {
				t.Errorf("%s, WebSocket %v: %+v, want %+v", tc.name, ws, got, tc.want)
			}
			i := 0
			err = j.events(func(raw []byte) error {
				if string(raw) != string(tc.log[i].AppendJSON(nil)) {
					t.Errorf("%s, WebSocket %v: event %d is %s", tc.name, ws, i, raw)
				}
				i++
				return nil
			})
			if err != nil || i != len(tc.log) {
				t.Errorf("%s, WebSocket %v: %d events of %d: %v", tc.name, ws, i, len(tc.log), err)
			}
		}
	}
}

// The numbers of the modes with a place for sessions are checked.
func TestPlacesAreChecked(t *testing.T) {
	preset := func(mode string) Options {
		o, err := Preset(mode)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	history, restart, sessions := preset(ModeHistory), preset(ModeRestart), preset(ModeSessions)
	restart.DataDir, sessions.DataDir, sessions.Compare = t.TempDir(), t.TempDir(), 3
	for _, good := range []Options{history, restart, sessions} {
		if err := good.Check(); err != nil {
			t.Errorf("%s: %v", good.Mode, err)
		}
	}
	for name, change := range map[string]func() Options{
		"pieces":        func() Options { o := history; o.Pieces = o.Tools - 1; return o },
		"tools":         func() Options { o := history; o.Tools = 0; return o },
		"tool-bytes":    func() Options { o := history; o.ToolBytes = 3; return o },
		"rounds":        func() Options { o := history; o.Rounds = 0; return o },
		"compact-after": func() Options { o := history; o.CompactAfter = 0; return o },
		"hub":           func() Options { o := history; o.Hub = "http://127.0.0.1:1"; return o },
		"sessions":      func() Options { o := history; o.Events = 1; return o },
		"mode history":  func() Options { o := sessions; o.Pieces = 1; return o },
		"mode restart":  func() Options { o := restart; o.DataDir = ""; return o },
		"compare":       func() Options { o := sessions; o.DataDir = ""; return o },
		"data-dir":      func() Options { o := sessions; o.DataDir = "/nowhere/at/all"; return o },
		"valkey":        func() Options { o := sessions; o.DataDir, o.Compare, o.Server = "", 0, "valkey-server"; return o },
	} {
		if err := change().Check(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("--%s is not named in: %v", name, err)
		}
	}
}
