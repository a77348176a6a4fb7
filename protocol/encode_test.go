package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// wsFrame is a frame as RFC 6455, section 5.2 lays it out.
type wsFrame struct {
	fin     bool
	rsv     byte
	opcode  byte
	masked  bool
	payload []byte
}

// readFrame reads one frame with nothing of the encoder's in it: every length
// must be in its shortest form, as the RFC demands.
func readFrame(b []byte) (f wsFrame, rest []byte, err error) {
	if len(b) < 2 {
		return f, nil, fmt.Errorf("%d bytes are no frame", len(b))
	}
	f = wsFrame{fin: b[0]&0x80 != 0, rsv: b[0] >> 4 & 7, opcode: b[0] & 0xf, masked: b[1]&0x80 != 0}
	n, head := uint64(b[1]&0x7f), 2
	switch n {
	case 126:
		n, head = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if n < 126 {
			return f, nil, fmt.Errorf("length %d in 16 bits", n)
		}
	case 127:
		n, head = binary.BigEndian.Uint64(b[2:]), 10
		if n < 1<<16 || n > math.MaxInt64 {
			return f, nil, fmt.Errorf("length %d in 64 bits", n)
		}
	}
	if uint64(len(b)-head) < n {
		return f, nil, fmt.Errorf("%d of %d bytes", len(b)-head, n)
	}
	f.payload = b[head : head+int(n)]
	return f, b[head+int(n):], nil
}

func TestFrameHeaderAtEachBorder(t *testing.T) {
	for n, head := range map[int]int{0: 2, 1: 2, 125: 2, 126: 4, 127: 4, 65535: 4, 65536: 10, 1 << 20: 10, 1<<24 + 3: 10} {
		payload := bytes.Repeat([]byte("x"), n)
		b := AppendFrame([]byte("before"), payload)
		b, ok := bytes.CutPrefix(b, []byte("before"))
		if !ok || len(b) != head+n {
			t.Errorf("%d bytes of payload: a frame of %d, want %d", n, len(b), head+n)
			continue
		}
		f, rest, err := readFrame(b)
		if err != nil || len(rest) != 0 || !f.fin || f.rsv != 0 || f.opcode != 1 || f.masked || !bytes.Equal(f.payload, payload) {
			t.Errorf("%d bytes of payload: header % x, %v", n, b[:head], err)
		}
	}
}

func TestPingFrame(t *testing.T) {
	f, rest, err := readFrame(PingFrame)
	if err != nil || len(rest) != 0 || !f.fin || f.opcode != 9 || f.masked || len(f.payload) != 0 {
		t.Errorf("% x: %+v %v", PingFrame, f, err)
	}
}

// entries differ in everything that changes a length.
func entries() []Entry {
	var out []Entry
	for _, seq := range []uint64{1, 9, 10, 99, 100, 12345, 999_999_999, MaxSeq - 1, MaxSeq, math.MaxUint64} {
		for _, from := range []uint64{0, 1, 10, seq} {
			for _, size := range []int{0, 1, 124, 65_450, 70_000} {
				data := Marshal(OutputData{MessageID: "m1", Text: strings.Repeat("ä", size/2), Kind: OutputText})
				out = append(out, Entry{Seq: seq, From: from, Type: EventOutput, Tail: AppendEventTail(nil, EventOutput, moment, data)})
			}
		}
	}
	return out
}

func TestEntryJSON(t *testing.T) {
	for _, e := range entries() {
		b := e.AppendJSON(nil)
		if len(b) != e.JSONLen() {
			t.Errorf("seq %d from %d: JSONLen %d, but %d bytes", e.Seq, e.From, e.JSONLen(), len(b))
		}
		var got Event
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if got.Seq != e.Seq || got.From != e.From || got.Type != e.Type || !got.Time.Equal(moment.Truncate(time.Millisecond)) || got.First() != e.First() {
			t.Errorf("seq %d from %d: decoded %d %d %s %s", e.Seq, e.From, got.Seq, got.From, got.Type, got.Time)
		}
		if want := e.From; want != 0 && e.First() != want || want == 0 && e.First() != e.Seq {
			t.Errorf("First() = %d", e.First())
		}
		f, rest, err := readFrame(AppendEventFrame(nil, e))
		if err != nil || len(rest) != 0 || !bytes.Equal(f.payload, b) {
			t.Errorf("seq %d: the frame holds other bytes than the JSON: %v", e.Seq, err)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for want, at := range map[string]time.Time{
		"2026-03-04T04:06:07.089Z": moment,
		"2026-01-01T00:00:00.000Z": time.Date(2026, 1, 1, 0, 0, 0, 999, time.UTC),
		"2026-12-31T23:59:59.999Z": time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		if got := string(AppendTime(nil, at)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestEncodersAllocateNothing(t *testing.T) {
	e := entries()[1]
	buf := make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() { _ = AppendEventFrame(buf, e); _ = AppendEventSSE(buf, "e1", e) }); n != 0 {
		t.Errorf("%v allocations for an event", n)
	}
}

// A RawMessage that is no JSON is a bug of the caller's: it is checked where it
// enters, and must not go out.
func TestMarshalPanicsOnBrokenRawJSON(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Marshal(AgentUpdateData{Kind: "x", Raw: raw("{")})
}

func BenchmarkAppendEventFrame(b *testing.B) {
	e := Entry{Seq: 12345, Type: EventOutput, Tail: AppendEventTail(nil, EventOutput, moment, bytes.Repeat([]byte("1"), 200))}
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEventFrame(buf[:0], e)
	}
}
