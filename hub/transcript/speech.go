package transcript

import (
	"encoding/json"

	"sessionhub/protocol"
)

// outputData is an output with its text as it is in JSON. So half a character at the end
// of one piece is completed by the next piece.
type outputData struct {
	MessageID lenient
	Kind      lenient
	Text      json.RawMessage
}

// speech is the text that is open, of one kind and one message. The zero speech has none.
type speech struct {
	kind, messageID string // kind is empty while none is open
	time            string // of its last piece
	surrogate       string // half a character at its end, as JSON writes it

	pieces []piece // the latest ones that follow each other in the log
	old    int     // how many of them are too old for any event to reach back to
	total  int     // bytes of the others
}

// piece is an output that was taken, with the length of its text in JSON.
type piece struct {
	seq   uint64
	bytes int
}

// mostOverlap is the most bytes of text in a compacted event (compact.MaxRunBytes). An
// event can reach back so far.
const mostOverlap = 64 << 10

// overlap is the length of the text in the outputs from a seq to another.
func (s *speech) overlap(from, to uint64) (n int) {
	if from > to {
		return 0
	}
	for _, p := range s.pieces[s.old:] {
		if p.seq >= from {
			n += p.bytes
		}
	}
	return n
}

// remember keeps the length of a piece, and forgets pieces that no event can reach back
// to.
func (s *speech) remember(seq uint64, bytes int) {
	s.pieces, s.total = append(s.pieces, piece{seq, bytes}), s.total+bytes
	for s.total-s.pieces[s.old].bytes > mostOverlap {
		s.total -= s.pieces[s.old].bytes
		s.old++
	}
	if s.old > len(s.pieces)/2 {
		s.pieces = append(s.pieces[:0], s.pieces[s.old:]...)
		s.old = 0
	}
}

// forget drops all pieces, at an event that no output follows directly.
func (s *speech) forget() { s.pieces, s.old, s.total = s.pieces[:0], 0, 0 }

// decode reads the inside of a JSON string. Half a character at its end is kept for the
// next piece.
func (s *speech) decode(piece string) string {
	piece = s.surrogate + piece
	cut := len(piece) - halfAtEnd(piece)
	s.surrogate = piece[cut:]
	return unescaped(piece[:cut])
}

// end ends the open text, if there is one.
func (s *speech) end(f form) {
	if s.kind == "" {
		return
	}
	if s.surrogate != "" {
		f.text(unescaped(s.surrogate)) // its other half has not come
		s.surrogate = ""
	}
	s.kind = ""
	f.endText(s.time)
}

// onOutput takes a piece of a text, of which the first overlap bytes were taken before.
// Pieces with no entry between them are one text.
func (m *Maker) onOutput(d outputData, time string, overlap int) {
	messageID := string(d.MessageID)
	m.enter(messageID)
	kind := typeAnswer
	if d.Kind == protocol.OutputThought {
		kind = typeThought
	}
	s := &m.speech
	same := s.kind == kind && s.messageID == messageID
	if same {
		s.time = time
	}
	if len(d.Text) <= 2+overlap || d.Text[0] != '"' { // the piece has no new text
		return
	}
	said := string(d.Text[1+overlap : len(d.Text)-1])
	s.remember(m.last, len(said))
	if !same {
		s.end(m.form)
		s.kind, s.messageID, s.time = kind, messageID, time
		m.form.beginText(kind, messageID)
	}
	m.form.text(s.decode(said))
}

func unescaped(piece string) string {
	var s string
	_ = json.Unmarshal([]byte(`"`+piece+`"`), &s) // the log has no other strings
	return s
}

// halfAtEnd measures the first half of a surrogate pair that ends a JSON string: \ud83d.
func halfAtEnd(s string) int {
	const n = len(`\ud83d`)
	if len(s) < n {
		return 0
	}
	half := s[len(s)-n:]
	if half[0] != '\\' || half[1] != 'u' || half[2]|0x20 != 'd' || !oneOf(half[3], "89abAB") || !hex(half[4]) || !hex(half[5]) {
		return 0
	}
	escapes := 0 // in front of it: an odd number makes it an escaped backslash
	for i := len(s) - n - 1; i >= 0 && s[i] == '\\'; i-- {
		escapes++
	}
	if escapes%2 != 0 {
		return 0
	}
	return n
}

func hex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func oneOf(c byte, set string) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}
