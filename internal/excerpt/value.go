package excerpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"sessionhub/protocol"
)

// leastText is how much of a text inside of a value stays at least.
const leastText = 512

// Value shortens a compact JSON value to at most limit bytes, and reports whether
// it had to. Its long texts lose their middles; what has too many parts for that
// becomes one text. hash: see Text.
func Value(raw json.RawMessage, limit int, hash bool) (json.RawMessage, bool) {
	if len(raw) <= limit {
		return raw, false
	}
	limit = max(limit, 0)
	texts := stringsOf(raw)
	sizes, rest := make([]int, len(texts)), len(raw)
	for i, t := range texts {
		sizes[i] = t[1] - t[0]
		rest -= sizes[i]
	}
	if most := level(sizes, limit-rest); rest < limit && most >= leastText {
		out, at := make([]byte, 0, limit), 0
		for i, t := range texts {
			var s string
			if sizes[i] <= most || json.Unmarshal(raw[t[0]:t[1]], &s) != nil {
				continue
			}
			short, _ := Text(s, most-2, hash)
			out = append(append(out, raw[at:t[0]]...), protocol.Marshal(short)...)
			at = t[1]
		}
		return append(out, raw[at:]...), true
	}
	text := string(raw)
	_ = json.Unmarshal(raw, &text) // one that is a text stays that
	short, _ := Text(text, max(0, limit-2), hash)
	return protocol.Marshal(short), true
}

// stringsOf gives where the strings of compact JSON begin and end that are no
// keys of objects.
func stringsOf(raw []byte) (found [][2]int) {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		begin := i
		for i++; i < len(raw) && raw[i] != '"'; i++ {
			if raw[i] == '\\' {
				i++
			}
		}
		if i+1 >= len(raw) || raw[i+1] != ':' {
			found = append(found, [2]int{begin, min(i+1, len(raw))})
		}
	}
	return found
}

// leastItem is how much of an item of a list stays at least: items in the middle
// are left out instead.
const leastItem = 1 << 10

// Items shortens the contents of a tool call (ACP, "Tool Calls: Content"), compact
// JSON each, to about limit bytes together. Diffs become hunks first; if that is
// not enough, the long items are cut, and of very many those in the middle are
// left out. changed says that an item is not as it was; cut, that something that
// it had is missing: a line that a diff does not change is not missed. An item that
// was cut has "truncated":true.
func Items(items []json.RawMessage, limit int, hash bool) (out []json.RawMessage, changed, cut bool) {
	if sum(items) <= limit {
		return items, false, false
	}
	work := maxDiffWork
	out = slices.Clone(items)
	diffs := make([]*diff, len(items))
	sizes := make([]int, len(items))
	for i, item := range items {
		if diffs[i] = diffOf(item, &work); diffs[i] != nil {
			short, c := diffs[i].item(limit)
			if len(short) < len(item) {
				out[i], cut = short, cut || c
			} else {
				diffs[i] = nil
			}
		}
		sizes[i] = len(out[i]) + 1
	}
	if sum(out) <= limit {
		return out, true, cut
	}
	most := level(sizes, limit)
	if most < leastItem {
		head, tail := 0, len(out)
		for left := limit / leastItem; left > 1 && head < tail; left-- {
			if left%2 == 0 {
				head++
			} else {
				tail--
			}
		}
		note := textItem(leftOut(tail-head, "parts"), hash, items[head:tail])
		diffs = slices.Concat(diffs[:head], []*diff{nil}, diffs[tail:])
		out = slices.Concat(out[:head], []json.RawMessage{note}, out[tail:])
		most = leastItem
	}
	for i, item := range out {
		if len(item)+1 <= most {
			continue
		}
		if diffs[i] != nil {
			out[i], _ = diffs[i].item(most)
		} else {
			out[i] = cutItem(item, most, hash)
		}
	}
	return out, true, true
}

func sum(items []json.RawMessage) (n int) {
	for _, item := range items {
		n += len(item) + 1
	}
	return n
}

// itemMargin is room for what stands around the text of an item that was cut.
const itemMargin = len(`{"type":"content","content":{"type":"text","text":""},"truncated":true}`)

// cutItem shortens an item that is no diff.
func cutItem(item json.RawMessage, most int, hash bool) json.RawMessage {
	var has struct {
		Content struct {
			Type     string          `json:"type"`
			Data     json.RawMessage `json:"data"`
			Resource struct {
				Blob json.RawMessage `json:"blob"`
			} `json:"resource"`
		} `json:"content"`
	}
	if json.Unmarshal(item, &has) == nil {
		if n := len(has.Content.Data) + len(has.Content.Resource.Blob); n > most/2 {
			// Half a picture is none.
			return textItem(leftOut(n, "bytes of "+kindOf(has.Content.Type)), hash, []json.RawMessage{item})
		}
	}
	short, _ := Value(item, most-itemMargin, hash)
	if len(short) == 0 || short[0] != '{' || string(short) == "{}" {
		var text string
		_ = json.Unmarshal(short, &text)
		return marked(textBlock(text))
	}
	return marked(short)
}

// kindOf names a content block for the note about it.
func kindOf(t string) string {
	switch t {
	case "image", "audio", "resource":
		return t
	}
	return "data"
}

// marked adds "truncated":true to an object.
func marked(object json.RawMessage) json.RawMessage {
	return append(bytes.Clone(object[:len(object)-1]), `,"truncated":true}`...)
}

// textItem is the item that stands for others that were left out.
func textItem(note string, hash bool, of []json.RawMessage) json.RawMessage {
	if hash {
		note += fmt.Sprintf(" (sha256 %x)", sha256.Sum256(protocol.Marshal(of)))
	}
	return marked(textBlock(note))
}

func textBlock(text string) json.RawMessage {
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	return protocol.Marshal(struct {
		Type    string `json:"type"`
		Content block  `json:"content"`
	}{"content", block{"text", text}})
}

// diff is a content of the type diff.
type diff struct {
	path   string
	sha256 string // of the item as it was
	runs   []run
}

// diffOf reads an item; nil if it is no diff.
func diffOf(item json.RawMessage, work *int) *diff {
	var d struct {
		Type    string  `json:"type"`
		Path    string  `json:"path"`
		OldText string  `json:"oldText"` // null or absent: a new file
		NewText *string `json:"newText"`
	}
	if json.Unmarshal(item, &d) != nil || d.Type != protocol.ContentDiff || d.NewText == nil {
		return nil
	}
	return &diff{
		path: d.Path, sha256: fmt.Sprintf("%x", sha256.Sum256(item)),
		runs: runs(d.OldText, *d.NewText, work),
	}
}

// maxPath is the longest path of a diff that is not cut.
const maxPath = 4 << 10

// item is the diff as hunks in about limit bytes, and whether a change is missing.
func (d *diff) item(limit int) (json.RawMessage, bool) {
	path, cut := Text(d.path, min(maxPath, max(limit/4, maxMark)), false)
	hunks, less := hunksOf(d.runs, limit-len(path)-200)
	return protocol.Marshal(protocol.DiffContent{
		Type: protocol.ContentDiff, Path: path, Hunks: hunks, SHA256: d.sha256, Truncated: cut || less,
	}), cut || less
}
