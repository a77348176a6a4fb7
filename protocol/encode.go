package protocol

import (
	"encoding/json"
	"strconv"
	"time"
)

// AppendTime appends t in UTC as RFC 3339 with milliseconds.
func AppendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// AppendEventTail appends the part of an event's JSON that does not depend on its place in
// the log: everything from `,"type"` on. A store keeps these bytes; Entry.AppendJSON puts
// the seq in front when they are read. data must be compact JSON without line breaks, since
// it ends up in an SSE line.
func AppendEventTail(b []byte, t EventType, now time.Time, data []byte) []byte {
	b = append(b, `,"type":"`...)
	b = append(b, t...)
	b = append(b, `","time":"`...)
	b = AppendTime(b, now)
	b = append(b, `","data":`...)
	b = append(b, data...)
	return append(b, '}')
}

// Entry is an event as a store keeps it: its place, and the bytes from AppendEventTail.
type Entry struct {
	Seq  uint64
	From uint64 // 0 unless compacted: the first seq that it stands for
	Type EventType
	Tail []byte
}

// First is the first seq that the entry stands for.
func (e Entry) First() uint64 {
	if e.From != 0 {
		return e.From
	}
	return e.Seq
}

func digits(n uint64) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}

// JSONLen is the length of the event's JSON in bytes.
func (e Entry) JSONLen() int {
	n := len(`{"seq":`) + digits(e.Seq) + len(e.Tail)
	if e.From != 0 {
		n += len(`"from":,`) + digits(e.From)
	}
	return n
}

// AppendJSON appends the event's JSON. The bytes are the same on every transport and node.
func (e Entry) AppendJSON(b []byte) []byte { return e.appendMembers(append(b, '{')) }

// appendMembers appends the event's JSON without its first brace.
func (e Entry) appendMembers(b []byte) []byte {
	if e.From != 0 {
		b = append(b, `"from":`...)
		b = strconv.AppendUint(b, e.From, 10)
		b = append(b, ',')
	}
	b = append(b, `"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	return append(b, e.Tail...)
}

// WebSocket opcodes (RFC 6455, section 5.2).
const (
	opText = 0x1
	opPing = 0x9
	fin    = 0x80
)

// AppendFrameHeader appends the header of a text frame with n bytes of payload. The frame
// is unmasked and unfragmented, as a server sends it (RFC 6455, section 5.2).
func AppendFrameHeader(b []byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, fin|opText, byte(n))
	case n < 1<<16:
		return append(b, fin|opText, 126, byte(n>>8), byte(n))
	default:
		return append(b, fin|opText, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// PingFrame is an empty ping as a server sends it. Do not change it.
var PingFrame = []byte{fin | opPing, 0}

// AppendFrame appends a whole text frame.
func AppendFrame(b, payload []byte) []byte {
	return append(AppendFrameHeader(b, len(payload)), payload...)
}

// AppendEventFrame appends an event as a WebSocket text frame.
func AppendEventFrame(b []byte, e Entry) []byte {
	return e.AppendJSON(AppendFrameHeader(b, e.JSONLen()))
}

// AppendEventSSE appends an event as a server-sent event (WHATWG HTML, section 9.2). Its id
// is the cursor after the event.
func AppendEventSSE(b []byte, epoch string, e Entry) []byte {
	b = appendSSEHead(append(b, "id: "...), epoch, e)
	return append(e.AppendJSON(b), "\n\n"...)
}

// appendSSEHead appends everything between "id: " and the data.
func appendSSEHead(b []byte, epoch string, e Entry) []byte {
	b = append(b, epoch...)
	b = append(b, '-')
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, "\nevent: "...)
	b = append(b, e.Type...)
	return append(b, "\ndata: "...)
}

// AppendControlSSE appends a control frame as a server-sent event. It has no id, so a
// reader's Last-Event-ID stays at the last logged event.
func AppendControlSSE(b []byte, t ControlType, frame []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, t...)
	b = append(b, "\ndata: "...)
	b = append(b, frame...)
	return append(b, "\n\n"...)
}

// SSEComment is the heartbeat of an SSE stream: a comment line, which readers ignore. Do
// not change it.
var SSEComment = []byte(": heartbeat\n\n")

// AppendSSERetry appends the line that tells a reader how long to wait before it
// reconnects.
func AppendSSERetry(b []byte, wait time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, wait.Milliseconds(), 10)
	return append(b, "\n\n"...)
}

// Marshal encodes one of this package's structs. It leaves HTML characters as they are,
// since the readers are JSON parsers. The result has no line break.
func Marshal(v any) json.RawMessage {
	b, err := marshal(v)
	if err != nil {
		// Only a RawMessage that is no JSON can fail, and each is checked where it enters.
		panic("protocol: marshal: " + err.Error())
	}
	return b
}
