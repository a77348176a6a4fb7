package worker

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// The outbox against a link that breaks at any moment: the hub side of the model
// gets every event once and in order, done only after its complete, and the
// release last.
func TestOutboxOverBrokenLinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOutbox("s", 1, 0, 1000)
		var (
			taken    [][]byte // taken, not yet written
			stored   uint64   // by the hub
			message  uint64   // of the newest done that the hub knows
			pushed   uint64
			turns    uint64
			ended    bool
			released bool
		)
		deliver := func(raw []byte) {
			var f protocol.Frame
			if err := protocol.Decode(raw, &f); err != nil {
				t.Fatal(err)
			}
			switch f.Type {
			case protocol.FrameEvent:
				var e protocol.WorkerEvent
				if err := protocol.Decode(f.Data, &e); err != nil || e.N > stored+1 {
					t.Fatalf("event %d after %d: %v", e.N, stored, err)
				}
				stored = max(stored, e.N)
			case protocol.FrameDone:
				var d protocol.Done
				if err := protocol.Decode(f.Data, &d); err != nil || stored < 2*d.Message {
					t.Fatalf("done %d with %d events: %v", d.Message, stored, err)
				}
				message = max(message, d.Message)
			case protocol.FrameRelease:
				if stored != pushed || !ended {
					t.Fatalf("release with %d of %d events", stored, pushed)
				}
				released = true
			}
		}
		write := func() {
			o.wrote(0)
			if taken = o.take(taken[:0], rapid.IntRange(1, 500).Draw(t, "batch")); len(taken) == 0 {
				return
			}
			// The link can break in the batch.
			n := rapid.IntRange(0, len(taken)).Draw(t, "written")
			for _, frame := range taken[:n] {
				deliver(frame)
			}
			if n < len(taken) {
				if h, _ := o.hello(); h.Message > turns || h.Event != pushed || 2*h.Message > stored {
					t.Fatalf("hello %+v with %d stored", h, stored)
				}
				o.resend()
				return
			}
			o.wrote(n)
		}
		t.Repeat(map[string]func(*rapid.T){
			"turn": func(t *rapid.T) {
				if ended {
					return
				}
				o.pushEvent(protocol.EventOutput, protocol.OutputData{Text: strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "text"))})
				o.pushEvent(protocol.EventComplete, protocol.CompleteData{})
				turns, pushed = turns+1, pushed+2
				o.pushDone(turns)
			},
			"release": func(t *rapid.T) {
				o.pushRelease("idle", true)
				ended = true
			},
			"write": func(*rapid.T) { write() },
			"ack":   func(t *rapid.T) { o.ack(rapid.Uint64Range(0, stored).Draw(t, "n")) },
			"break": func(*rapid.T) { o.resend() },
			"": func(t *rapid.T) {
				if o.bytes < 0 || (len(o.items) == 0) != (o.bytes == 0) {
					t.Fatalf("%d bytes in %d items", o.bytes, len(o.items))
				}
				if o.over() && (!released || stored != pushed) {
					t.Fatal("over without a release at the hub")
				}
			},
		})
		for range 10_000 {
			if o.ack(stored); !o.pending() {
				break
			}
			o.resend()
			for frames := o.take(nil, 1); len(frames) > 0; frames = o.take(nil, 1) {
				deliver(frames[0])
				o.wrote(1)
			}
		}
		if o.ack(stored); stored != pushed || o.over() != ended || len(o.items) != 0 {
			t.Fatalf("%d of %d events stored, %d items left", stored, pushed, len(o.items))
		}
		if h, _ := o.hello(); h.Message != turns || !ended && message != turns {
			t.Fatalf("message %d of %d", h.Message, turns)
		}
	})
}

func TestRevokedOutboxIsEmpty(t *testing.T) {
	o := newOutbox("s", 1, 4, 10)
	o.pushEvent(protocol.EventOutput, protocol.OutputData{Text: "a long enough text"})
	if !o.full() {
		t.Error("not full")
	}
	o.revoke()
	select {
	case <-o.room:
	default:
		t.Error("no sign of room")
	}
	o.pushEvent(protocol.EventOutput, protocol.OutputData{})
	o.pushRelease("x", true)
	if o.pending() || o.full() || o.over() {
		t.Error("something is left")
	}
	if _, alive := o.hello(); alive {
		t.Error("it would be told in hello")
	}
}
