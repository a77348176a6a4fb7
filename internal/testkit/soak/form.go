package soak

import (
	"fmt"
	"strings"

	"sessionhub/protocol"
)

// logged is one event of a log as a reader got it: a single one, or a compacted one that
// stands for several.
type logged struct {
	protocol.Event
	sum uint64 // of its bytes
}

// form tells which events one event stands for. It has the same bytes for all readers.
type form struct {
	epoch     string // empty where only one log is spoken of
	from, seq uint64
}

func (e logged) form() form { return form{from: e.First(), seq: e.Seq} }

// segment is what stands side by side in a log and says more of the same: the unit that
// looks alike whether it was compacted or not.
type segment struct {
	first, last uint64
	what        string // which output or tool call it is; all of another event
	text        string // of outputs, joined
	fields      map[string]string
}

func (s segment) String() string {
	return fmt.Sprintf("%d to %d, %s %.80q %.80v", s.first, s.last, s.what, s.text, s.fields)
}

func (s segment) equal(o segment) bool {
	return s.String() == o.String() && s.text == o.text && same(s.fields, o.fields)
}

// begins reports whether the segment can be the beginning of another one.
func (s segment) begins(o segment) bool {
	return s.first == o.first && s.last <= o.last && s.what == o.what && strings.HasPrefix(o.text, s.text)
}

func same(a, b map[string]string) bool {
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return len(a) == len(b)
}

// segments puts a log together as docs/PROTOCOL.md has readers do it.
func segments(log []logged) (all []segment) {
	for _, e := range log {
		next := segmentOf(e)
		if n := len(all); n > 0 && next.grows() && all[n-1].what == next.what {
			all[n-1].last = next.last
			all[n-1].text += next.text
			for k, v := range next.fields {
				all[n-1].fields[k] = v
			}
			continue
		}
		all = append(all, next)
	}
	return all
}

func segmentOf(e logged) segment {
	s := segment{first: e.First(), last: e.Seq, what: fmt.Sprintf("%s %s %s", e.Type, e.Time, e.Data)}
	switch e.Type {
	case protocol.EventOutput:
		var d protocol.OutputData
		if read(e.Event, &d) {
			s.what, s.text = fmt.Sprintf("%s %s of %s", e.Type, d.Kind, d.MessageID), d.Text
		}
	case protocol.EventToolCall:
		var d protocol.ToolCallData
		var fields map[string]any
		if read(e.Event, &d) && read(e.Event, &fields) {
			s.what, s.fields = fmt.Sprintf("%s %s of %s", e.Type, d.ToolCallID, d.MessageID), make(map[string]string)
			for k, v := range fields {
				s.fields[k] = string(protocol.Marshal(v))
			}
		}
	}
	return s
}

// grows reports whether more of it can follow.
func (s segment) grows() bool {
	return s.fields != nil || strings.HasPrefix(s.what, string(protocol.EventOutput)+" ")
}

// differ says where two logs of one session do not say the same, or differ in the bytes
// of what both have in one form. Empty: they do not. part: of mine, as far as it goes.
func differ(mine, theirs []logged, part bool) string {
	sums := make(map[form]uint64, len(mine))
	for _, e := range mine {
		sums[e.form()] = e.sum
	}
	for _, e := range theirs {
		if sum, both := sums[e.form()]; both && sum != e.sum {
			return fmt.Sprintf("the event %d to %d (%s) has other bytes", e.First(), e.Seq, e.Type)
		}
	}
	a, b := segments(mine), segments(theirs)
	for i, s := range a {
		switch {
		case i >= len(b):
			return fmt.Sprintf("%s is missing", s)
		case part && i == len(a)-1 && s.begins(b[i]):
		case !s.equal(b[i]):
			return fmt.Sprintf("%s is %s", s, b[i])
		}
	}
	if !part && len(b) > len(a) {
		return fmt.Sprintf("%s is new", b[len(a)])
	}
	return ""
}
