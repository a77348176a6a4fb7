package compact

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// MaxRunBytes is the most bytes of a compacted event, by protocol.Entry.JSONLen. A
// single event can be longer: it stays as it is.
const MaxRunBytes = 64 << 10

// run is the events that become one: they follow each other and continue the same thing.
// Outputs of one kind and message are appended. Those without a message are of one, too. Tool calls with one id are merged.
//
// The result depends on the bytes of the events alone. So every node that compacts a log
// gets the same result, and so does a run that is compacted in parts.
type run struct {
	first, last protocol.Entry
	count       int
	time        []byte // of the last event, in quotes
	what        part   // of the first event, with the texts of all events
	texts       int    // bytes of them
}

// part is one event of a run, as slices of its bytes.
type part struct {
	message, id []byte   // messageId, if there is one, and the output's kind or the toolCallId
	texts       [][]byte // of outputs: JSON strings without their quotes
	fields      []field  // of a tool call, in the order in which they came
}

type field struct{ name, value []byte }

// begin makes a run of one event. ok is false for an event that stays as it is.
func begin(e protocol.Entry) (r run, ok bool) {
	time, what, ok := parse(e)
	return run{first: e, last: e, count: 1, time: time, what: what, texts: length(what.texts)}, ok
}

// add takes the next event in, if it belongs to the run and there is room.
func (r *run) add(e protocol.Entry) bool {
	if e.Type != r.first.Type || e.First() != r.last.Seq+1 {
		return false
	}
	time, next, ok := parse(e)
	if !ok || !bytes.Equal(next.message, r.what.message) || !bytes.Equal(next.id, r.what.id) {
		return false
	}
	longer := *r
	longer.last, longer.time, longer.count = e, time, r.count+1
	longer.texts += length(next.texts)
	longer.what.fields = merge(r.what.fields, next.fields)
	if longer.size() > MaxRunBytes {
		return false
	}
	longer.what.texts = append(r.what.texts, next.texts...)
	*r = longer
	return true
}

// entry is the event that the run becomes. A run of one event stays as it is.
func (r *run) entry() protocol.Entry {
	if r.count == 1 {
		return r.first
	}
	e := r.head()
	tail := make([]byte, 0, r.size())
	tail = append(append(append(tail, `,"type":"`...), e.Type...), `","time":`...)
	tail = append(append(tail, r.time...), `,"data":`...)
	e.Tail = append(r.appendData(tail), '}')
	return e
}

func (r *run) head() protocol.Entry {
	return protocol.Entry{Seq: r.last.Seq, From: r.first.First(), Type: r.first.Type}
}

// size is the length of entry's JSON.
func (r *run) size() int {
	size := r.head().JSONLen() + len(`,"type":"","time":,"data":{}}`) + len(r.first.Type) + len(r.time)
	if r.first.Type == protocol.EventOutput {
		if r.what.message != nil {
			size += len(`"messageId":,`) + len(r.what.message)
		}
		return size + len(`"text":"","kind":`) + len(r.what.id) + r.texts
	}
	for _, f := range r.what.fields {
		size += len(`"":,`) + len(f.name) + len(f.value)
	}
	return size - 1
}

func (r *run) appendData(b []byte) []byte {
	if r.first.Type == protocol.EventOutput {
		b = append(b, '{')
		if r.what.message != nil {
			b = append(append(append(b, `"messageId":`...), r.what.message...), ',')
		}
		b = append(b, `"text":"`...)
		for _, text := range r.what.texts {
			b = append(b, text...)
		}
		return append(append(append(b, `","kind":`...), r.what.id...), '}')
	}
	for i, f := range r.what.fields {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b = append(append(append(append(b, sep, '"'), f.name...), `":`...), f.value...)
	}
	return append(b, '}')
}

// merge gives the fields of two tool calls: a field of next replaces the same field of
// before.
func merge(before, next []field) []field {
	out := before
	for _, f := range next {
		same := func(g field) bool { return bytes.Equal(f.name, g.name) }
		if i := slices.IndexFunc(out, same); i < 0 {
			out = append(slices.Clip(out), f)
		} else if !bytes.Equal(out[i].value, f.value) {
			out = slices.Clone(out)
			out[i] = f
		}
	}
	return out
}

func length(texts [][]byte) (n int) {
	for _, t := range texts {
		n += len(t)
	}
	return n
}

// parse reads the bytes of an event. ok is false if the event says anything that a run
// would not keep: then the event stays as it is.
func parse(e protocol.Entry) (time []byte, p part, ok bool) {
	if e.Type != protocol.EventOutput && e.Type != protocol.EventToolCall {
		return nil, p, false
	}
	rest, ok := bytes.CutPrefix(e.Tail, []byte(`,"type":"`+string(e.Type)+`","time":`))
	at := bytes.Index(rest, []byte(`,"data":`))
	if !ok || at < 0 || !bytes.HasSuffix(rest, []byte("}}")) {
		return nil, p, false
	}
	time = rest[:at]
	fields, ok := parseFields(rest[at+len(`,"data":`) : len(rest)-1])
	if !ok {
		return nil, p, false
	}
	value := func(name string) []byte {
		for _, f := range fields {
			if string(f.name) == name {
				return f.value
			}
		}
		return nil
	}
	p.message = value("messageId")
	if e.Type == protocol.EventToolCall {
		p.id, p.fields = value("toolCallId"), fields
		return time, p, len(p.id) > 0
	}
	text, most := value("text"), 3
	if p.message == nil { // in the background
		most = 2
	}
	if p.id = value("kind"); len(fields) != most || p.id == nil || len(text) < 2 || text[0] != '"' {
		return nil, p, false
	}
	p.texts = [][]byte{text[1 : len(text)-1]}
	return time, p, true
}

// known are the names of fields that readers know, whatever their case: some take
// "Title" for "title".
var known = []string{"messageId", "text", "kind", "toolCallId", "title", "status", "input", "output", "content", "locations"}

// parseFields gives the fields of a compact JSON object. ok is false where readers may
// differ about the meaning: a name that comes twice, has an escape or differs from a
// known one in case; or null, which some readers take for absent.
func parseFields(data []byte) (fields []field, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte("{"))
	for ok && len(rest) > 0 && rest[0] == '"' {
		n := bytes.IndexByte(rest[1:], '"')
		if n < 0 || len(rest) < n+3 || rest[n+2] != ':' {
			return nil, false
		}
		name := rest[1 : n+1]
		value := valueAt(rest[n+3:])
		rest = rest[n+3+len(value):]
		odd := slices.ContainsFunc(known, func(k string) bool { return k != string(name) && strings.EqualFold(k, string(name)) })
		twice := slices.ContainsFunc(fields, func(f field) bool { return bytes.Equal(f.name, name) })
		if odd || twice || len(value) == 0 || string(value) == "null" || bytes.IndexByte(name, '\\') >= 0 || len(rest) == 0 {
			return nil, false
		}
		fields = append(fields, field{name, value})
		if rest[0] == '}' {
			return fields, len(rest) == 1
		}
		if rest[0] != ',' {
			return nil, false
		}
		rest = rest[1:]
	}
	return nil, false
}

// valueAt gives the JSON value at the beginning of b. b is compact, and was checked when
// it was stored.
func valueAt(b []byte) json.RawMessage {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return nil
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return b[:i]
			}
			depth--
		case ',':
			if depth == 0 {
				return b[:i]
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return b[:i+1]
		}
	}
	return nil
}
