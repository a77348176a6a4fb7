package stream

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

func entry(seq, from uint64, size int) protocol.Entry {
	data := fmt.Appendf(nil, `{"messageId":"m1","text":"%d%s","kind":"text"}`, seq, strings.Repeat("x", size))
	return protocol.Entry{Seq: seq, From: from, Type: protocol.EventOutput, Tail: append(append([]byte(`,"type":"output","time":"2026-01-02T03:04:05.006Z","data":`), data...), '}')}
}

func encoded(enc protocol.Encoding, e protocol.Entry) []byte {
	if enc == protocol.SSE {
		return protocol.AppendEventSSE(nil, "epoch0", e)
	}
	return protocol.AppendEventFrame(nil, e)
}

// However events come, what the buffer gives for a cursor is the encodings of
// the next events and nothing else, what it once gave never changes, and it does
// not grow.
func TestTailBuffer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		enc := rapid.SampledFrom([]protocol.Encoding{protocol.WebSocket, protocol.SSE}).Draw(rt, "encoding")
		var b buffer
		kept := make(map[uint64][]byte) // of each event, encoded
		type handout struct{ shared, copied []byte }
		var handouts []handout
		seq, longest := uint64(rapid.IntRange(0, 1000).Draw(rt, "start")), 0
		sizes := rapid.SampledFrom([]int{0, 10, 200, 3000, 40_000, 150_000})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			seq++
			var from uint64
			switch rapid.IntRange(0, 30).Draw(rt, "step") {
			case 0: // a hole
				seq += 3
			case 1: // a compacted one
				from = seq
				seq += 2
			}
			e := entry(seq, from, sizes.Draw(rt, "size"))
			kept[seq] = encoded(enc, e)
			longest = max(longest, len(kept[seq]))
			b.add(enc, "s1", "epoch0", e, int64(seq))
			if bound := max(maxTailBytes, longest+200); cap(b.data) > bound {
				rt.Fatalf("%d bytes are held, the bound is %d", cap(b.data), bound)
			}
			if cap(b.marks) > 4*len(b.marks)+64 {
				rt.Fatalf("room for %d marks, %d used", cap(b.marks), len(b.marks))
			}

			cursor := uint64(max(0, int(seq)-rapid.IntRange(-1, 80).Draw(rt, "behind")))
			most := rapid.SampledFrom([]int{1, 300, 64 << 10}).Draw(rt, "most")
			p, last, at, ok := b.after(cursor, most)
			switch {
			case cursor >= seq && ok:
				rt.Fatalf("%d bytes after the end", len(p))
			case from == 0 && cursor == seq-1 && !ok:
				rt.Fatal("the newest event is not there")
			case !ok:
				continue
			}
			var want []byte
			for s := cursor + 1; s <= last; s++ {
				if kept[s] == nil {
					rt.Fatalf("after %d comes %d, over a hole at %d", cursor, last, s)
				}
				want = append(want, kept[s]...)
			}
			if !bytes.Equal(p, want) || at != int64(cursor+1) || cap(p) != len(p) {
				rt.Fatalf("after %d: %d bytes to %d (arrived %d, cap %d), want %d bytes", cursor, len(p), last, at, cap(p), len(want))
			}
			if len(p) > most && last != cursor+1 {
				rt.Fatalf("%d bytes, at most %d wanted", len(p), most)
			}
			if next := kept[last+1]; next != nil && last < seq && len(p)+len(next) <= most && b.first+uint64(len(b.marks)) > last+1 {
				rt.Fatalf("%d bytes, though the next %d would fit in %d", len(p), len(next), most)
			}
			handouts = append(handouts, handout{p, bytes.Clone(p)})
		}
		for _, h := range handouts {
			if !bytes.Equal(h.shared, h.copied) {
				rt.Fatal("bytes that were handed out have changed")
			}
		}
	})
}

// What a stalled write holds stays below the contract's 256 KB together with
// the kernel's buffer.
func TestTailIsBounded(t *testing.T) {
	var b buffer
	for seq := uint64(1); seq <= 50_000; seq++ {
		b.add(protocol.WebSocket, "s1", "e", entry(seq, 0, 100), 0)
	}
	if cap(b.data) > maxTailBytes || len(b.marks) > maxTailBytes/100 || cap(b.marks) > 2*maxTailBytes/100 {
		t.Errorf("%d bytes and room for %d marks", cap(b.data), cap(b.marks))
	}
	// A single event over the bound goes with the next one.
	b.add(protocol.WebSocket, "s1", "e", entry(50_001, 0, 1<<20), 0)
	b.add(protocol.WebSocket, "s1", "e", entry(50_002, 0, 10), 0)
	if cap(b.data) > maxTailBytes {
		t.Errorf("%d bytes are held after a long event", cap(b.data))
	}
	if p, last, _, ok := b.after(50_001, 1000); !ok || last != 50_002 || !bytes.Equal(p, encoded(protocol.WebSocket, entry(50_002, 0, 10))) {
		t.Errorf("the event behind it: %d bytes to %d, %v", len(p), last, ok)
	}
}

func BenchmarkTailAdd(b *testing.B) {
	var buf buffer
	e := entry(1, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		buf.add(protocol.WebSocket, "s1", "epoch0", e, 1)
		e.Seq++
	}
}
