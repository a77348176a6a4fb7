package protocol

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// sseEvent is what an EventSource dispatches.
type sseEvent struct{ kind, data, lastID string }

// eventSource reads a stream by the letter of WHATWG HTML, section 9.2.6. It
// shares nothing with the encoders.
type eventSource struct {
	lastID   string
	retry    string
	comments int
	events   []sseEvent
}

func (r *eventSource) read(stream string) {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	// A line ends with CRLF, LF or CR; what follows the last one is discarded.
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	lines := strings.Split(stream, "\n")
	var data strings.Builder
	kind, id := "", r.lastID
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			r.lastID = id
			if data.Len() > 0 {
				if kind == "" {
					kind = "message"
				}
				r.events = append(r.events, sseEvent{kind, strings.TrimSuffix(data.String(), "\n"), r.lastID})
			}
			data.Reset()
			kind = ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			r.comments++
		case "event":
			kind = value
		case "data":
			data.WriteString(value + "\n")
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			if strings.Trim(value, "0123456789") == "" {
				r.retry = value
			}
		}
	}
}

func TestSSEIsReadBack(t *testing.T) {
	nasty := "a\nb\r\nc\rd\u2028e\x00f: g\n\nid: 7\ndata: no"
	data := Marshal(OutputData{MessageID: "m1", Text: nasty, Kind: OutputText})
	first := Entry{Seq: 7, Type: EventOutput, Tail: AppendEventTail(nil, EventOutput, moment, data)}
	second := Entry{Seq: 57, From: 8, Type: EventOutput, Tail: first.Tail}
	caughtUp := AppendControl(nil, ControlCaughtUp, moment, CaughtUp{Seq: 7})

	var b []byte
	b = AppendSSERetry(b, 1500*time.Millisecond)
	b = AppendEventSSE(b, "e1", first)
	b = append(b, SSEComment...)
	b = AppendControlSSE(b, ControlCaughtUp, caughtUp)
	b = AppendEventSSE(b, "e1", second)

	var r eventSource
	r.read(string(b))
	if r.retry != "1500" || r.comments != 1 || len(r.events) != 3 {
		t.Fatalf("retry %q, %d comments, events %+v", r.retry, r.comments, r.events)
	}
	want := []sseEvent{
		{"output", string(first.AppendJSON(nil)), "e1-7"},
		{"caught_up", string(caughtUp), "e1-7"}, // a control frame moves no cursor
		{"output", string(second.AppendJSON(nil)), "e1-57"},
	}
	for i, e := range r.events {
		if e != want[i] {
			t.Errorf("event %d: %+v, want %+v", i, e, want[i])
		}
	}
	var out OutputData
	var ev Event
	if err := Decode([]byte(r.events[0].data), &ev); err != nil {
		t.Fatal(err)
	}
	if err := Decode(ev.Data, &out); err != nil || out.Text != nasty {
		t.Errorf("text %q, %v; want %q", out.Text, err, nasty)
	}
}

// Every golden message survives the SSE stream as it is: one data line.
func TestEveryMessageFitsAnSSELine(t *testing.T) {
	for _, g := range goldens() {
		wire := g.wire
		if wire == nil {
			wire = Marshal(g.value)
		}
		var r eventSource
		r.read(string(AppendControlSSE(nil, "x", wire)))
		if len(r.events) != 1 || r.events[0].data != string(wire) || r.events[0].kind != "x" {
			t.Errorf("%s: %+v", g.name, r.events)
		}
	}
}

func FuzzSSE(f *testing.F) {
	f.Add("plain", uint64(1))
	f.Add("a\r\nb\n\ndata: x\x00\u2028", uint64(99))
	f.Fuzz(func(t *testing.T, text string, seq uint64) {
		data := Marshal(OutputData{Text: text})
		e := Entry{Seq: seq, Type: EventOutput, Tail: AppendEventTail(nil, EventOutput, moment, data)}
		var r eventSource
		r.read(string(AppendEventSSE(nil, "e1", e)))
		if len(r.events) != 1 || r.events[0].data != string(e.AppendJSON(nil)) || !bytes.HasSuffix([]byte(r.events[0].lastID), []byte("-"+Cursor{Seq: seq}.String())) {
			t.Errorf("%q: %+v", text, r.events)
		}
	})
}
