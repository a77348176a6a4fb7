package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"sessionhub/protocol"
)

// joiner reads a whole log, as somebody does who comes late. While it reads, it looks at
// the beginnings of frames only, and keeps all bytes: what they say is read afterwards.
type joiner struct {
	ledger
	ws   bool
	data []byte // all that came, the head of the answer too

	again               bool      // connected has come: the next event may reach back
	now                 time.Time // of the present read
	connected, caughtUp time.Time
	end                 uint64 // of the log, as caught_up says
}

// joinBytes is the size of a read.
const joinBytes = 256 << 10

// join opens a stream from the beginning, and returns when the hub says that it is live.
func (j *joiner) join(ctx context.Context, host, session, token string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("join: %w", err)
		}
	}()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	head := &headParser{want: "HTTP/1.1 200 ", next: &sseParser{}}
	if j.ws {
		head.want, head.next = "HTTP/1.1 101 ", &wsParser{}
	}
	if _, err := conn.Write(appendRequest(nil, j.ws, host, "/api/sessions/"+session, "?after=0", "Authorization: Bearer "+token)); err != nil {
		return err
	}
	for j.caughtUp.IsZero() {
		if cap(j.data)-len(j.data) < joinBytes {
			j.data = append(make([]byte, 0, 2*cap(j.data)+joinBytes), j.data...)
		}
		n, err := conn.Read(j.data[len(j.data) : len(j.data)+joinBytes])
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		j.now = time.Now()
		fresh := j.data[len(j.data) : len(j.data)+n]
		j.data = j.data[:len(j.data)+n]
		if err := head.feed(fresh, j); err != nil {
			return err
		}
	}
	return nil
}

func (j *joiner) frame(n notice) error {
	switch {
	case n.seq != 0:
		// A run was compacted while this reader stood within it: what it has of it is replaced.
		if j.again && n.first <= j.last.Load() {
			j.last.Store(n.first - 1)
		}
		j.again = false
		j.receive(n.first, n.seq)
	case string(n.kind) == string(protocol.ControlConnected):
		if j.again = true; j.connected.IsZero() {
			j.connected = j.now
			j.begin(0)
		}
	case string(n.kind) == string(protocol.ControlGap):
		j.gaps++
	case string(n.kind) == string(protocol.ControlCaughtUp):
		j.caughtUp = j.now
		j.end, _ = n.field("seq")
	}
	return nil
}

func (j *joiner) ping([]byte) {} // it is gone before an answer is wanted
func (j *joiner) comment()    {}
func (j *joiner) closed(int)  {}

// loss is what the log should have had.
func (j *joiner) loss() Loss {
	return Loss{Lost: j.lost(j.end), Repeated: j.repeated, Reordered: j.reordered, Gaps: j.gaps}
}

// events calls take for the JSON of all events, in the order in which they came.
func (j *joiner) events(take func(raw []byte) error) error {
	_, rest, _ := bytes.Cut(j.data, []byte("\r\n\r\n"))
	for len(rest) > 0 {
		var payload []byte
		var ok bool
		if payload, rest, ok = j.payload(rest); !ok {
			return errors.New("a frame is not whole")
		}
		if len(payload) == 0 {
			continue
		}
		n, err := parseNotice(payload)
		if err == nil && n.seq != 0 {
			err = take(payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// payload cuts the next frame or line off. It is empty where there is no JSON in it.
func (j *joiner) payload(p []byte) (payload, rest []byte, ok bool) {
	if !j.ws {
		line, rest, ok := bytes.Cut(p, []byte("\n"))
		payload, found := bytes.CutPrefix(line, dataField)
		if !found {
			payload = nil
		}
		return payload, rest, ok
	}
	if len(p) < 2 {
		return nil, nil, false
	}
	head, n := 2, uint64(p[1]&0x7f)
	switch {
	case n == 126 && len(p) >= 4:
		head, n = 4, uint64(binary.BigEndian.Uint16(p[2:]))
	case n == 127 && len(p) >= 10:
		head, n = 10, binary.BigEndian.Uint64(p[2:])
	case n >= 126:
		return nil, nil, false
	}
	if uint64(len(p)-head) < n {
		return nil, nil, false
	}
	payload, rest = p[head:head+int(n)], p[head+int(n):]
	if p[0]&0x0f != opText {
		payload = nil
	}
	return payload, rest, true
}
