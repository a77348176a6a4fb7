package protocol

// Encoding is how a stream writes the events of a log.
type Encoding uint8

const (
	WebSocket Encoding = iota
	SSE
	// The connections for many sessions: each frame names its session.
	SharedWebSocket
	SharedSSE
	Encodings // how many there are
)

// EventStream reports whether the frames are server-sent events. Otherwise they are those of a WebSocket.
func (enc Encoding) EventStream() bool { return enc == SSE || enc == SharedSSE }

// Shared reports whether each frame names its session.
func (enc Encoding) Shared() bool { return enc >= SharedWebSocket }

// Append encodes an event of a session at the end of b.
func (enc Encoding) Append(b []byte, session, epoch string, e Entry) []byte {
	switch enc {
	case SSE:
		return AppendEventSSE(b, epoch, e)
	case SharedSSE:
		return appendSharedSSE(b, session, epoch, e)
	case SharedWebSocket:
		return appendSharedFrame(b, session, e)
	}
	return AppendEventFrame(b, e)
}

// Size is the most bytes that Append needs for an event, or more.
func (enc Encoding) Size(session, epoch string, e Entry) int {
	size := e.JSONLen() + 64 // room for the largest header of either encoding
	if enc.EventStream() {
		size += len(epoch) + 40
	}
	if enc.Shared() {
		size += 2*len(session) + sessionMember
	}
	return size
}

// Encode joins events of a session in one piece of memory. If it grew event by event, a page
// would be copied several times. Each reader that has fallen behind would leave that much
// garbage.
func (enc Encoding) Encode(session, epoch string, entries []Entry) []byte {
	size := 0
	for _, e := range entries {
		size += enc.Size(session, epoch, e)
	}
	p := make([]byte, 0, size)
	for _, e := range entries {
		p = enc.Append(p, session, epoch, e)
	}
	return p
}

// Control appends a control frame. Of a shared encoding, it names the session, unless session
// is empty: then it is the connection's own.
func (enc Encoding) Control(b []byte, t ControlType, session string, frame []byte) []byte {
	if enc.Shared() && session != "" {
		frame = OfSession(session, frame)
	}
	if enc.EventStream() {
		return AppendControlSSE(b, t, frame)
	}
	return AppendFrame(b, frame)
}

// sessionMember is the length of the member that OfSession adds, without the id.
const sessionMember = len(`"sessionId":"",`)

// OfSession is a frame's JSON with the session's id as its first member. An id of the hub's
// needs no escapes.
func OfSession(session string, frame []byte) []byte {
	return append(appendSession(make([]byte, 0, len(frame)+len(session)+sessionMember), session), frame[1:]...)
}

// appendSession begins a frame's JSON.
func appendSession(b []byte, session string) []byte {
	b = append(b, `{"sessionId":"`...)
	b = append(b, session...)
	return append(b, `",`...)
}

func appendSharedFrame(b []byte, session string, e Entry) []byte {
	b = AppendFrameHeader(b, e.JSONLen()+sessionMember+len(session))
	return e.appendMembers(appendSession(b, session))
}

// appendSharedSSE is AppendEventSSE for a connection of many sessions: the id is the session's
// and the cursor after the event.
func appendSharedSSE(b []byte, session, epoch string, e Entry) []byte {
	b = append(b, "id: "...)
	b = append(b, session...)
	b = append(b, ':')
	b = appendSSEHead(b, epoch, e)
	return append(e.appendMembers(appendSession(b, session)), "\n\n"...)
}
