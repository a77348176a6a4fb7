package protocol

// Encoding is how a stream writes the events of a log.
type Encoding uint8

const (
	WebSocket Encoding = iota
	SSE
	Encodings // how many there are
)

// Append encodes an event at the end of b.
func (enc Encoding) Append(b []byte, epoch string, e Entry) []byte {
	if enc == SSE {
		return AppendEventSSE(b, epoch, e)
	}
	return AppendEventFrame(b, e)
}

// Size is the most bytes that Append needs for an event, or more.
func (enc Encoding) Size(epoch string, e Entry) int {
	size := e.JSONLen() + 64 // room for the largest header of either encoding
	if enc == SSE {
		size += len(epoch) + 40
	}
	return size
}

// Encode joins events in one piece of memory. If it grew event by event, a page would be
// copied several times. Each reader that has fallen behind would leave that much garbage.
func (enc Encoding) Encode(epoch string, entries []Entry) []byte {
	size := 0
	for _, e := range entries {
		size += enc.Size(epoch, e)
	}
	p := make([]byte, 0, size)
	for _, e := range entries {
		p = enc.Append(p, epoch, e)
	}
	return p
}
