package disk

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/protocol"
)

// An event that is written into a batch's memory has just the room that it needs, however
// many bytes its numbers take.
func TestEventsFitTheirRoomInABatch(t *testing.T) {
	var events []protocol.Entry
	for _, from := range []uint64{0, 1, 127, 128, 1<<14 - 1, 1 << 14, 1 << 40, protocol.MaxSeq - 1} {
		events = append(events, protocol.Entry{From: from, Seq: from + 1, Type: protocol.EventOutput, Tail: []byte(`,"type":"output"}`)})
	}
	var batch pebble.Batch
	for _, e := range events {
		setEvent(&batch, 7, e)
	}
	rest := batch.Reader()
	for _, want := range events {
		_, key, value, ok, err := rest.Next()
		if !ok || err != nil {
			t.Fatalf("%d is not there: %v", want.Seq, err)
		}
		seq, err := seqOf(key)
		if err != nil || seq != want.Seq || string(key) != string(numbered(7, dataEvent, want.Seq)) {
			t.Errorf("the key of %d is %x, %v", want.Seq, key, err)
		}
		if got, err := decodeEvent(seq, value); err != nil || got.From != want.From || got.Type != want.Type || string(got.Tail) != string(want.Tail) {
			t.Errorf("%d became %+v, %v", want.Seq, got, err)
		}
	}
}
