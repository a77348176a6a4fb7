package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// prefixBytes is how much of a frame's JSON is looked at: the number, the type,
// the time and the beginning of the text stand in front.
const prefixBytes = 256

// notice is what a frame's beginning says.
type notice struct {
	first, seq uint64 // of an event; 0 for a control frame
	session    []byte // of a connection for many; holds until the next read
	kind       []byte // type; likewise
	json       []byte // the beginning of the JSON; likewise
}

// parseNotice reads the beginning of a frame's JSON as the hub writes it:
// {"sessionId":"s1","from":1,"seq":2,"type":"output","time":"...","data":... or, for a control
// frame, {"type":... It is no JSON parser: another order of fields is an error,
// which a change of the hub's encoder would show at once.
func parseNotice(p []byte) (notice, error) {
	n := notice{json: p}
	rest, ok := bytes.CutPrefix(p, []byte("{"))
	if !ok {
		return n, fmt.Errorf("not a frame: %.40q", p)
	}
	if r, found := bytes.CutPrefix(rest, []byte(`"sessionId":"`)); found {
		if n.session, rest, ok = bytes.Cut(r, []byte(`",`)); !ok {
			return n, fmt.Errorf("not a frame: %.40q", p)
		}
	}
	if r, found := bytes.CutPrefix(rest, []byte(`"from":`)); found {
		if n.first, rest, ok = number(r); !ok {
			return n, fmt.Errorf("not a frame: %.40q", p)
		}
		rest = bytes.TrimPrefix(rest, []byte(","))
	}
	if r, found := bytes.CutPrefix(rest, []byte(`"seq":`)); found {
		if n.seq, rest, ok = number(r); !ok {
			return n, fmt.Errorf("not a frame: %.40q", p)
		}
		rest = bytes.TrimPrefix(rest, []byte(","))
		if n.first == 0 {
			n.first = n.seq
		}
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`"type":"`))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return n, fmt.Errorf("not a frame: %.40q", p)
	}
	n.kind = rest[:end]
	return n, nil
}

func number(p []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(p) && p[i] >= '0' && p[i] <= '9' {
		n = n*10 + uint64(p[i]-'0')
		i++
	}
	return n, p[i:], i > 0
}

// field gives a number among the frame's first bytes, such as the seq of
// caught_up.
func (n notice) field(name string) (uint64, bool) {
	_, rest, ok := bytes.Cut(n.json, []byte(`"`+name+`":`))
	if !ok {
		return 0, false
	}
	v, _, ok := number(rest)
	return v, ok
}

// time is when the event was appended, to the millisecond.
func (n notice) time() (time.Time, bool) {
	_, rest, ok := bytes.Cut(n.json, []byte(`"time":"`))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(rest[:end]))
	return at, err == nil
}

// made is when the worker of this package made the event: see appendStamp.
func (n notice) made() (time.Time, bool) {
	_, rest, ok := bytes.Cut(n.json, []byte(`"text":"`))
	if !ok || len(rest) < stampBytes {
		return time.Time{}, false
	}
	nanos, end, ok := number(rest[:stampBytes])
	return time.Unix(0, int64(nanos)), ok && len(end) == 1 && end[0] == ' '
}

// stampBytes is the length of a stamp.
const stampBytes = 20

// appendStamp appends a time in nanoseconds, to stand at the beginning of an
// event's text: the hub's own time of an event is cut to milliseconds.
func appendStamp(b []byte, at time.Time) []byte {
	return fmt.Appendf(b, "%019d ", at.UnixNano())
}

// parser takes a stream's bytes in pieces of any size.
type parser interface {
	feed(p []byte, on handler) error
}

// handler is told what arrived.
type handler interface {
	frame(notice) error
	ping(payload []byte)
	comment() // of an event stream
	closed(code int)
}

// headParser reads the head of the answer to the request, then hands over.
type headParser struct {
	want string // status line's beginning
	head []byte
	next parser
	done bool
}

const maxHeadBytes = 8 << 10

func (h *headParser) feed(p []byte, on handler) error {
	if h.done {
		return h.next.feed(p, on)
	}
	h.head = append(h.head, p...)
	end := bytes.Index(h.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(h.head) > maxHeadBytes {
			return errors.New("the answer's head does not end")
		}
		return nil
	}
	if !bytes.HasPrefix(h.head, []byte(h.want)) {
		return &refusedError{h.head}
	}
	rest := h.head[end+4:]
	h.head, h.done = nil, true
	return h.next.feed(rest, on)
}

// wsParser reads WebSocket frames as a server sends them (RFC 6455, 5.2):
// unmasked, and from this hub never fragmented.
type wsParser struct {
	carry []byte // a frame's beginning that is not whole yet
	skip  uint64 // bytes of the present frame that are of no interest
}

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

func (w *wsParser) feed(p []byte, on handler) error {
	for len(p) > 0 {
		if w.skip > 0 {
			n := min(w.skip, uint64(len(p)))
			w.skip -= n
			p = p[n:]
			continue
		}
		had := len(w.carry)
		data := p
		if had > 0 {
			w.carry = append(w.carry, p[:min(len(p), maxWSHead+prefixBytes)]...)
			data = w.carry
		}
		used, err := w.frame(data, on)
		switch {
		case err != nil:
			return err
		case used == 0: // not enough
			if had == 0 {
				w.carry = append(w.carry, p...)
			}
			return nil
		}
		p = p[used-had:]
		w.carry = nil
	}
	return nil
}

// maxWSHead is the longest head of an unmasked frame.
const maxWSHead = 10

// frame reads one frame's head and the part of its payload that is of interest,
// and says how many bytes that took: 0 if they are not all there.
func (w *wsParser) frame(p []byte, on handler) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	head, n := 2, uint64(p[1]&0x7f)
	switch n {
	case 126:
		if head = 4; len(p) < head {
			return 0, nil
		}
		n = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if head = 10; len(p) < head {
			return 0, nil
		}
		n = binary.BigEndian.Uint64(p[2:])
	}
	if p[0]&0x80 == 0 || p[1]&0x80 != 0 {
		return 0, fmt.Errorf("a frame that a hub does not send: % x", p[:2])
	}
	want := int(min(n, prefixBytes))
	if len(p) < head+want {
		return 0, nil
	}
	payload := p[head : head+want]
	switch p[0] & 0x0f {
	case opText:
		note, err := parseNotice(payload)
		if err == nil {
			err = on.frame(note)
		}
		if err != nil {
			return 0, err
		}
	case opPing:
		on.ping(payload)
	case opPong:
	case opClose:
		code := 1005 // none was given
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		on.closed(code)
	default:
		return 0, fmt.Errorf("a frame that a hub does not send: % x", p[:2])
	}
	w.skip = n - uint64(want)
	return head + want, nil
}

// sseParser reads an event stream (WHATWG HTML, section 9.2) by its data lines.
type sseParser struct {
	line []byte // the beginning of a line that is not whole yet
}

var dataField = []byte("data: ")

func (s *sseParser) feed(p []byte, on handler) error {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		line := part
		if len(s.line) > 0 || end < 0 {
			room := max(0, len(dataField)+prefixBytes-len(s.line))
			s.line = append(s.line, part[:min(len(part), room)]...)
			line = s.line
		}
		if end < 0 {
			return nil
		}
		p = p[end+1:]
		s.line = s.line[:0]
		json, ok := bytes.CutPrefix(line, dataField)
		if !ok {
			if len(line) > 0 && line[0] == ':' {
				on.comment()
			}
			continue
		}
		note, err := parseNotice(json[:min(len(json), prefixBytes)])
		if err == nil {
			err = on.frame(note)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appendPong appends a client's answer to a ping: masked (RFC 6455, 5.3), with a
// key of zeros, since what it protects from is a browser's script.
func appendPong(b, payload []byte) []byte {
	b = append(b, 0x80|opPong, 0x80|byte(len(payload)), 0, 0, 0, 0)
	return append(b, payload...)
}

// appendRequest appends the request that opens a stream. credential is a line of the header.
func appendRequest(b []byte, ws bool, host, below, query, credential string) []byte {
	kind := "events"
	if ws {
		kind = "ws"
	}
	b = append(b, "GET "+below+"/"+kind+query+" HTTP/1.1\r\nHost: "+host+"\r\n"+credential+"\r\n"...)
	if ws {
		// The key is any 16 bytes: nobody caches in between.
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: c2Vzc2lvbmh1YiBiZW5jaA==\r\nSec-WebSocket-Protocol: sessionhub.v1\r\n"...)
	} else {
		b = append(b, "Accept: text/event-stream\r\n"...)
	}
	return append(b, "User-Agent: sessionhub-bench\r\n\r\n"...)
}
