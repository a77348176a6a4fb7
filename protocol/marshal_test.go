package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func nested(open, end string, n int) []byte {
	return []byte(strings.Repeat(open, n) + strings.Repeat(end, n))
}

func TestCompact(t *testing.T) {
	for in, want := range map[string]string{
		" {\r\n \"a\" :\t[ 1 , 2.50 ] }\n": `{"a":[1,2.50]}`,
		`"<&>` + "\u2028" + `"`:            `"<&>` + "\u2028" + `"`,
		`12345678901234567890.10`:          `12345678901234567890.10`,
		`{"b":1,"a":2,"a":3}`:              `{"b":1,"a":2,"a":3}`, // nothing is reordered or merged
		`"[[[[{{{{\"[["`:                   `"[[[[{{{{\"[["`,
	} {
		if got, err := Compact([]byte(in)); err != nil || string(got) != want {
			t.Errorf("Compact(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", " ", "{", "}", `{"a":}`, "1 2", "nul", "'a'", "\"a\nb\"", "\"\\x\"", "{}{}", "\uFEFF{}"} {
		if got, err := Compact([]byte(in)); err == nil {
			t.Errorf("Compact(%q) = %q, want an error", in, got)
		}
	}
}

func TestInvalidUTF8IsRefused(t *testing.T) {
	for _, in := range []string{"\"\xff\"", "{\"a\":\"\xc3\"}", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\xfe\xff\x00{"} {
		if _, err := Compact([]byte(in)); !errors.Is(err, ErrNotUTF8) {
			t.Errorf("Compact(%q): %v, want ErrNotUTF8", in, err)
		}
		var v any
		if err := Decode([]byte(in), &v); !errors.Is(err, ErrNotUTF8) {
			t.Errorf("Decode(%q): %v, want ErrNotUTF8", in, err)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		deep bool
	}{
		"arrays at the bound":    {nested("[", "]", MaxDepth), false},
		"arrays beyond":          {nested("[", "]", MaxDepth+1), true},
		"objects at the bound":   {append(append([]byte(strings.Repeat(`{"a":`, MaxDepth)), '1'), strings.Repeat("}", MaxDepth)...), false},
		"objects beyond":         {append(append([]byte(strings.Repeat(`{"a":`, MaxDepth+1)), '1'), strings.Repeat("}", MaxDepth+1)...), true},
		"brackets in a string":   {[]byte(`"` + strings.Repeat("[", 5000) + `"`), false},
		"a string with quotes":   {[]byte(`["\"` + strings.Repeat("[", 5000) + `\\"]`), false},
		"wide, not deep":         {[]byte("[" + strings.Repeat("[],", 5000) + "[]]"), false},
		"deep and never closed":  {[]byte(strings.Repeat("[", 1<<20)), true},
		"closed before it opens": {[]byte(strings.Repeat("]", 10) + strings.Repeat("[", MaxDepth+20)), true},
	} {
		_, err := Compact(c.in)
		if errors.Is(err, ErrTooDeep) != c.deep {
			t.Errorf("%s: Compact: %v", name, err)
		}
		var v any
		if err := Decode(c.in, &v); errors.Is(err, ErrTooDeep) != c.deep {
			t.Errorf("%s: Decode: %v", name, err)
		}
	}
}

// Newer clients talk to older hubs.
func TestDecodeIgnoresUnknownFields(t *testing.T) {
	var r MessageRequest
	if err := Decode([]byte(`{"content":"hi","colour":"red","messageId":"m1"}`), &r); err != nil || r.MessageID != "m1" {
		t.Errorf("%+v %v", r, err)
	}
}

func FuzzCompact(f *testing.F) {
	for _, s := range []string{"{}", " [1,\n2]", `"\u000a"`, "\"\u2028\"", "{\"a\":\"\xff\"}", "1e999", `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		got, err := Compact(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		if bytes.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q cannot stand in an SSE line", got)
		}
		if !json.Valid(got) || !utf8.Valid(got) || len(got) > len(in) {
			t.Errorf("Compact(%q) = %q", in, got)
		}
		if !sameJSON(in, got) {
			t.Errorf("Compact(%q) = %q has another value", in, got)
		}
		again, err := Compact(got)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("Compact(%q) = %q, %v: not stable", got, again, err)
		}
	})
}

// A part of what Decode has accepted is compacted as Compact would do it.
func FuzzCompactPart(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[1, 2,\n3]}`, ` "x\\" y" `, `{"a b":"c\\\\", "d":" "}`, "\t[ ]\r\n", `"\u2028 \n"`, `1 `, `{ "k" : "v\\"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var whole struct{ Part json.RawMessage }
		if Decode(append(append([]byte(`{"part":`), raw...), '}'), &whole) != nil || whole.Part == nil {
			return
		}
		want, err := Compact(whole.Part)
		if err != nil {
			t.Fatalf("%q: %v", whole.Part, err)
		}
		if got := CompactPart(whole.Part); string(got) != string(want) {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	})
}

// FuzzDecodeEvent holds the short way to read an event's frame to the long one.
func FuzzDecodeEvent(f *testing.F) {
	good := string(NewFrame(FrameEvent, WorkerEvent{
		SessionID: "s", Assignment: 2, N: 3, Type: EventOutput, Data: Marshal(OutputData{MessageID: "m", Text: "a\u2028}", Kind: OutputText}),
	}))
	for _, s := range []string{
		good, good + " ", good[:len(good)-1], strings.TrimSuffix(good, "}") + `,"data":{"n":7}}`, strings.TrimSuffix(good, "}") + `,"type":"done"}`,
		`{"type":"event","data":}`, `{"type":"event","data":null}`, `{"type":"event","data":[]}`, `{"type":"event","data":{"n":-1}}`,
		`{"type":"event","data":{"data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`, "{\"type\":\"event\",\"data\":{\"sessionId\":\"\xff\"}}",
		`{"type":"done","data":{}}`, "",
	} {
		f.Add([]byte(s))
	}
	var first WorkerEvent
	if !DecodeEvent([]byte(good), &first) || first.SessionID != "s" || first.N != 3 {
		f.Fatalf("%s was read as %+v", good, first)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var short, long WorkerEvent
		if !DecodeEvent(raw, &short) {
			return
		}
		var frame Frame
		if err := Decode(raw, &frame); err != nil || frame.Type != FrameEvent {
			t.Fatalf("%q is no event: %v", raw, err)
		}
		if err := DecodePart(frame.Data, &long); err != nil || !reflect.DeepEqual(short, long) {
			t.Fatalf("%q: %+v, the long way %+v, %v", raw, short, long, err)
		}
	})
}

// The length that a document says it has is its own, also where a digit more makes
// it longer.
func TestApprovalContentKnowsItsLength(t *testing.T) {
	for n := range 2000 {
		raw := ApprovalContent{Title: strings.Repeat("x", n)}.Encode()
		var back ApprovalContent
		if err := Decode(raw, &back); err != nil || back.FullBytes != len(raw) || back.Content == nil {
			t.Fatalf("%d bytes say %d: %v", len(raw), back.FullBytes, err)
		}
	}
}
