package hub_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/stream"
	"sessionhub/protocol"
)

// sink is a connection whose peer keeps what it reads. It reads frames with code
// of its own.
type sink struct {
	enc  protocol.Encoding
	sub  *stream.Subscriber // set by start
	over chan struct{}      // closed when the stream has ended

	since, heard atomic.Int64  // of the last progress of a write that waits; of the peer
	more         chan struct{} // a hint that frames came

	mu     sync.Mutex
	frames []frame
	pings  int
	broken error
	gate   chan struct{} // while it is there, writes wait
	drip   time.Duration // a write takes five of these, with progress after each
	code   int           // of End
	ended  bool
	cut    bool
}

// frame is an event or a control frame as the peer got it.
type frame struct {
	raw  string // its JSON
	seq  uint64 // 0: a control frame
	from string // of a compacted event
	id   string // SSE only

	session string // on a channel; empty: the connection's own
}

func newSink(enc protocol.Encoding) *sink {
	return &sink{enc: enc, over: make(chan struct{}), more: make(chan struct{}, 1)}
}

func (s *sink) Write(p []byte) error {
	s.mu.Lock()
	gate, drip := s.gate, s.drip
	s.mu.Unlock()
	defer s.since.Store(0)
	if gate != nil {
		s.since.Store(time.Now().UnixNano())
		select {
		case <-gate:
		case <-s.over:
			return errors.New("cut")
		}
	}
	for range 5 * min(int(drip), 1) {
		s.since.Store(time.Now().UnixNano())
		select {
		case <-time.After(drip):
		case <-s.over:
			return errors.New("cut")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.cut {
		return errors.New("a write after the end")
	}
	s.take(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

func (s *sink) Stalled(limit time.Duration) bool {
	since := s.since.Load()
	return since != 0 && time.Now().UnixNano()-since >= int64(limit)
}

func (s *sink) LastHeard() int64 { return s.heard.Load() }

func (s *sink) End(code int, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.cut {
		s.code, s.ended = code, true
		close(s.over)
	}
}

func (s *sink) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.cut {
		s.cut = true
		close(s.over)
	}
}

// leave ends the connection from the peer's side.
func (s *sink) leave() { s.Cut() }

// stall makes writes wait until the returned function is called.
func (s *sink) stall() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate = gate
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gate = nil
		close(gate)
	})
}

// take reads whole frames: a write holds no part of one. Called with mu held.
func (s *sink) take(p []byte) {
	if s.enc.EventStream() {
		s.takeSSE(string(p))
		return
	}
	for len(p) > 0 {
		n, head := uint64(0), 2
		if len(p) >= 2 {
			n = uint64(p[1])
		}
		switch {
		case n == 126 && len(p) > 4:
			n, head = uint64(binary.BigEndian.Uint16(p[2:])), 4
		case n == 127 && len(p) > 10:
			n, head = binary.BigEndian.Uint64(p[2:]), 10
		}
		if uint64(len(p)) < uint64(head)+n {
			s.broken = fmt.Errorf("%d bytes hold no whole frame", len(p))
			return
		}
		switch p[0] {
		case 0x81:
			s.keep(string(p[head:head+int(n)]), "")
		case 0x89:
			s.pings++
		default:
			s.broken = fmt.Errorf("opcode %#x", p[0])
		}
		p = p[head+int(n):]
	}
}

func (s *sink) takeSSE(p string) {
	if !strings.HasSuffix(p, "\n\n") {
		s.broken = fmt.Errorf("a write that ends within an event: %q", p)
		return
	}
	for block := range strings.SplitSeq(strings.TrimSuffix(p, "\n\n"), "\n\n") {
		var data, id string
		for line := range strings.SplitSeq(block, "\n") {
			switch name, value, _ := strings.Cut(line, ":"); name {
			case "data":
				data = value[1:]
			case "id":
				id = value[1:]
			case "":
				s.pings++
			}
		}
		if data != "" {
			s.keep(data, id)
		}
	}
}

func (s *sink) keep(raw, id string) {
	f := frame{raw: raw, id: id}
	if s.enc.Shared() {
		if rest, ok := strings.CutPrefix(raw, `{"sessionId":"`); ok {
			f.session, rest, _ = strings.Cut(rest, `",`)
			raw = "{" + rest
		}
	}
	own := raw
	if rest, ok := strings.CutPrefix(raw, `{"from":`); ok {
		from, after, _ := strings.Cut(rest, ",")
		f.from, own = from, "{"+after
	}
	if rest, ok := strings.CutPrefix(own, `{"seq":`); ok {
		digits, _, _ := strings.Cut(rest, ",")
		seq, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			s.broken = err
		}
		f.seq = seq
	}
	s.frames = append(s.frames, f)
}

// got returns all frames so far.
func (s *sink) got() []frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		panic(s.broken)
	}
	return s.frames[:len(s.frames):len(s.frames)]
}

func (s *sink) heartbeats() int { s.mu.Lock(); defer s.mu.Unlock(); return s.pings }

// end says how the stream ended: the close code, 0 while it is open, -1 if it
// was cut.
func (s *sink) end() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return -1
	}
	return s.code
}

// kind is the type of a frame.
func (f frame) kind() string {
	var e struct{ Type string }
	if err := json.Unmarshal([]byte(f.raw), &e); err != nil {
		panic(err)
	}
	return e.Type
}

// data decodes a frame's data into v.
func (f frame) data(v any) {
	var e struct{ Data json.RawMessage }
	if err := errors.Join(json.Unmarshal([]byte(f.raw), &e), protocol.Decode(e.Data, v)); err != nil {
		panic(fmt.Errorf("%w: %s", err, f.raw))
	}
}

// script writes the frames in short: control frames by name, events by seq.
func (s *sink) script() string { return s.scriptOf("") }

// scriptOf is script for one session of a channel.
func (s *sink) scriptOf(session string) string {
	var out []string
	for _, f := range s.got() {
		if f.session != session {
			continue
		}
		switch kind := f.kind(); {
		case f.seq != 0:
			at := strconv.FormatUint(f.seq, 10)
			if f.from != "" {
				at = f.from + "-" + at
			}
			out = append(out, at)
		case kind == "caught_up":
			var c protocol.CaughtUp
			f.data(&c)
			out = append(out, fmt.Sprintf("caught_up=%d", c.Seq))
		case kind == "gap":
			var g protocol.Gap
			f.data(&g)
			out = append(out, fmt.Sprintf("gap=%d-%d(%s)", g.FromSeq, g.ToSeq, g.Reason))
		default:
			out = append(out, kind)
		}
	}
	return strings.Join(out, " ")
}
