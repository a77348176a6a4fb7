package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"

	"sessionhub/protocol"
)

// reading is what a log says to somebody who joins texts and merges tool calls: the same
// whether its events are compacted or not.
type reading struct {
	texts hash.Hash
	part  string // the message and the kind of the text that goes on; empty: none does

	tools map[string]map[string]json.RawMessage
	order []string // of their first events
}

func newReading() *reading {
	return &reading{texts: sha256.New(), tools: make(map[string]map[string]json.RawMessage)}
}

// event takes the next event.
func (r *reading) event(t protocol.EventType, data []byte) error {
	switch t {
	case protocol.EventOutput:
		var d protocol.OutputData
		if err := json.Unmarshal(data, &d); err != nil {
			return fmt.Errorf("read an output: %w", err)
		}
		if part := fmt.Sprintf("\x00%s\x00%s\x00", d.MessageID, d.Kind); part != r.part {
			r.part = part
			r.texts.Write([]byte(part))
		}
		r.texts.Write([]byte(d.Text))
		return nil
	case protocol.EventToolCall:
		var fields map[string]json.RawMessage
		var id string
		err := json.Unmarshal(data, &fields)
		if err == nil {
			err = json.Unmarshal(fields["toolCallId"], &id)
		}
		if err != nil {
			return fmt.Errorf("read a tool call: %w", err)
		}
		tool := r.tools[id]
		if tool == nil {
			tool = make(map[string]json.RawMessage)
			r.tools[id], r.order = tool, append(r.order, id)
			fmt.Fprintf(r.texts, "\x00tool %q\x00", id)
		}
		maps.Copy(tool, fields)
	}
	r.part = ""
	return nil
}

// readAll gives the hash of what the JSON of events says. An event that reaches back stands
// for what was there of its run: it replaces that.
func readAll(raw [][]byte) (string, error) {
	var events []protocol.Event
	for _, text := range raw {
		var e protocol.Event
		if err := json.Unmarshal(text, &e); err != nil {
			return "", fmt.Errorf("read an event: %w", err)
		}
		for n := len(events) - 1; n >= 0 && events[n].Seq >= e.First(); n-- {
			events = events[:n]
		}
		events = append(events, e)
	}
	r := newReading()
	for _, e := range events {
		if err := r.event(e.Type, e.Data); err != nil {
			return "", err
		}
	}
	return r.sum(), nil
}

// sum is the hash of all that was said.
func (r *reading) sum() string {
	all := sha256.New()
	fmt.Fprintf(all, "%x", r.texts.Sum(nil))
	for _, id := range r.order {
		tool := r.tools[id]
		for _, name := range slices.Sorted(maps.Keys(tool)) {
			fmt.Fprintf(all, "\x00%s\x00%s", name, tool[name])
		}
	}
	return hex.EncodeToString(all.Sum(nil))
}
