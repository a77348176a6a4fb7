package chat

import (
	"strings"

	"sessionhub/protocol"
)

// textRun is the text of the adjacent outputs that were read last. A log that was
// compacted while a stream was away gives such a run as one event, of which a part
// was printed already, and what is printed cannot be replaced.
type textRun struct {
	message, kind string
	pieces        []textPiece
	size          int
}

type textPiece struct {
	first uint64 // seq at which it begins
	text  string
}

// maxRun is more than a compacted event holds (64 KiB).
const maxRun = 128 << 10

// unseen is what of an output was not printed yet.
func (r *textRun) unseen(e protocol.Event, d protocol.OutputData) string {
	if d.MessageID != r.message || d.Kind != r.kind {
		*r = textRun{message: d.MessageID, kind: d.Kind}
	}
	var seen strings.Builder
	for i, p := range r.pieces {
		if p.first < e.First() {
			continue
		}
		for _, p := range r.pieces[i:] {
			seen.WriteString(p.text)
			r.size -= len(p.text)
		}
		r.pieces = r.pieces[:i]
		break
	}
	r.pieces, r.size = append(r.pieces, textPiece{e.First(), d.Text}), r.size+len(d.Text)
	for r.size > maxRun && len(r.pieces) > 1 {
		r.size -= len(r.pieces[0].text)
		r.pieces = r.pieces[1:]
	}
	return strings.TrimPrefix(d.Text, seen.String())
}

// other ends the run: an event of another kind came.
func (r *textRun) other() { *r = textRun{} }
