package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// A key begins with its kind. A session's key goes on with the session's order: eight
// bytes, high byte first. The store does not give an order again while any data of its
// session is in the files. So data of a deleted session is never taken for another
// session's.
//
//	m name         of the store: its epoch, the mark of the last clean end, and the
//	               accounts of users (see accounts.go)
//	i order        identity: id and epochs of the log, as JSON
//	h order        head: what changes with every append
//	s order        state, as JSON
//	g order        garbage: the session's text is still to be removed from the files
//	d order e seq  an event; a compacted one under the last seq that it stands for
//	d order c seq  a command
//	d order n key  a note
//	d order p key  a part of a question
const (
	kindMeta     = 'm'
	kindIdentity = 'i'
	kindHead     = 'h'
	kindState    = 's'
	kindGarbage  = 'g'
	kindData     = 'd'

	dataEvent   = 'e'
	dataCommand = 'c'
	dataNote    = 'n'
	dataPart    = 'p'
)

func metaKey(name string) []byte { return append([]byte{kindMeta}, name...) }

func key(kind byte, order uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 32), kind), order)
}

func orderOf(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, fmt.Errorf("a key of %d bytes", len(key))
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// numbered is the key of an event or a command.
func numbered(order uint64, kind byte, seq uint64) []byte {
	return appendNumbered(make([]byte, 0, numberedLen), order, kind, seq)
}

const numberedLen = 18

func appendNumbered(b []byte, order uint64, kind byte, seq uint64) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindData), order)
	return binary.BigEndian.AppendUint64(append(b, kind), seq)
}

// named is the key of a note or a part.
func named(order uint64, kind byte, name string) []byte {
	return append(append(key(kindData, order), kind), name...)
}

// identity is what a session keeps for its whole life, and its epochs.
type identity struct {
	ID     string             `json:"id"`
	Epochs []store.EpochStart `json:"epochs"`
}

// head is a session as its readers see it. It is never changed: an append makes a new one.
type head struct {
	state    *session.State
	epochs   []store.EpochStart
	version  uint64
	n        uint64 // last event of the present assignment
	first    uint64 // first seq that the log still has; last+1 if it has none
	last     uint64
	count    uint64 // number of events that the log still has; a compacted one counts as one
	bytes    uint64 // of these events, by JSONLen
	compact  uint64 // up to here the log was compacted
	activity int64  // Unix nanoseconds of the last event
	stamp    uint64 // of the last batch: readers skip what a later batch wrote
}

// set writes the head of a session.
func (h *head) set(batch *pebble.Batch, order uint64) {
	var at [9]byte
	at[0] = kindHead
	binary.BigEndian.PutUint64(at[1:], order)
	var value [9 * binary.MaxVarintLen64]byte
	_ = batch.Set(at[:], h.append(value[:0]), nil)
}

func (h *head) append(out []byte) []byte {
	for _, n := range [...]uint64{h.version, h.n, h.first, h.last, h.count, h.bytes, h.compact, uint64(h.activity), h.stamp} {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

var errShort = errors.New("it ends too early")

func decodeHead(b []byte) (*head, error) {
	h := new(head)
	var activity uint64
	for _, to := range [...]*uint64{&h.version, &h.n, &h.first, &h.last, &h.count, &h.bytes, &h.compact, &activity, &h.stamp} {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errShort
		}
		*to, b = n, b[size:]
	}
	h.activity = int64(activity)
	return h, nil
}

// setEvent writes an event into the batch's own memory: an agent's output comes this way in
// small pieces.
func setEvent(batch *pebble.Batch, order uint64, e protocol.Entry) {
	var from [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(from[:], e.From)
	set := batch.SetDeferred(numberedLen, n+1+len(e.Type)+len(e.Tail))
	appendNumbered(set.Key[:0], order, dataEvent, e.Seq)
	appendEvent(set.Value[:0], e)
	_ = set.Finish()
}

// appendEvent joins the event's from, the length of its type, the type, and its bytes. from
// is 0 unless the event is compacted.
func appendEvent(b []byte, e protocol.Entry) []byte {
	b = append(binary.AppendUvarint(b, e.From), byte(len(e.Type)))
	return append(append(b, e.Type...), e.Tail...)
}

func decodeEvent(seq uint64, b []byte) (protocol.Entry, error) {
	from, size := binary.Uvarint(b)
	if size <= 0 || from > seq || len(b) == size || len(b) < size+1+int(b[size]) {
		return protocol.Entry{}, errShort
	}
	n := size + 1 + int(b[size])
	// Copied: the iterator reuses its bytes.
	return protocol.Entry{Seq: seq, From: from, Type: protocol.EventType(b[size+1 : n]), Tail: append([]byte(nil), b[n:]...)}, nil
}

// encodeCommand joins the batch's stamp, the length of the command's type, the type, and
// its data.
func encodeCommand(stamp uint64, c session.Command) []byte {
	out := binary.AppendUvarint(make([]byte, 0, 16+len(c.Type)+len(c.Data)), stamp)
	out = append(append(out, byte(len(c.Type))), c.Type...)
	return append(out, c.Data...)
}

func decodeCommand(seq uint64, b []byte) (stamp uint64, c session.Command, err error) {
	stamp, size := binary.Uvarint(b)
	if size <= 0 || len(b) == size || len(b) < size+1+int(b[size]) {
		return 0, c, errShort
	}
	n := size + 1 + int(b[size])
	c = session.Command{Seq: seq, Type: protocol.WorkerCommandType(b[size+1 : n]), Data: json.RawMessage(append([]byte(nil), b[n:]...))}
	return stamp, c, nil
}

// encodeNote joins the batch's stamp, the seq of the note's event, and the note's value.
func encodeNote(stamp, seq uint64, value string) []byte {
	out := binary.AppendUvarint(make([]byte, 0, 20+len(value)), stamp)
	return append(binary.AppendUvarint(out, seq), value...)
}

func decodeNote(b []byte) (stamp, seq uint64, value string, err error) {
	stamp, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, "", errShort
	}
	seq, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return 0, 0, "", errShort
	}
	return stamp, seq, string(b[n+m:]), nil
}
