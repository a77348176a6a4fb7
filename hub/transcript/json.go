package transcript

import (
	"bytes"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// jsonForm writes {"session":{...},"entries":[...]}, one entry on each line. Characters
// that are invisible or that act are written as escapes.
type jsonForm struct {
	out  *bytes.Buffer
	some bool // an entry was written
}

func (f *jsonForm) begin(s Session) {
	f.out.WriteString(`{"session":`)
	f.value(s)
	f.out.WriteString(`,"entries":[`)
}

func (f *jsonForm) value(v any) { f.out.Write(text.JSON(protocol.Marshal(v))) }

func (f *jsonForm) next() {
	if f.some {
		f.out.WriteByte(',')
	}
	f.some = true
	f.out.WriteByte('\n')
}

func (f *jsonForm) entry(e any) {
	f.next()
	f.value(e)
}

func (f *jsonForm) beginText(kind, messageID string) {
	f.next()
	f.out.WriteString(`{"type":"` + kind + `"`)
	if messageID != "" {
		f.out.WriteString(`,"messageId":`)
		f.value(messageID)
	}
	f.out.WriteString(`,"text":"`)
}

func (f *jsonForm) text(piece string) {
	raw := text.JSON(protocol.Marshal(piece))
	f.out.Write(raw[1 : len(raw)-1])
}

func (f *jsonForm) endText(time string) {
	f.out.WriteString(`","time":`)
	f.value(time)
	f.out.WriteByte('}')
}

func (f *jsonForm) end() { f.out.WriteString("\n]}\n") }
