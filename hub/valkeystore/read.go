package valkeystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// snapshotFields are what a Snapshot is read from, in the order that parseSnapshot
// takes them.
var snapshotFields = []string{"state", "head", "epochs"}

// Load implements hub.Store.
func (s *Store) Load(ctx context.Context, id string) (hub.Snapshot, error) {
	keys, ok := s.keys(id)
	if !ok {
		return hub.Snapshot{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	r := s.client.Do(call, s.client.B().Hmget().Key(keys[0]).Field(snapshotFields...).Build())
	snap, ok, err := parseSnapshot(r)
	switch {
	case err != nil:
		return hub.Snapshot{}, s.unavailable(ctx, "load", "load session "+id, err)
	case !ok:
		return hub.Snapshot{}, notFound(id)
	}
	return snap, nil
}

// parseSnapshot takes the answer to an HMGET of snapshotFields. ok is false if
// there is no such session.
func parseSnapshot(r valkey.ValkeyResult) (snap hub.Snapshot, ok bool, err error) {
	v, err := r.ToArray()
	if err != nil {
		return snap, false, err
	}
	if len(v) != len(snapshotFields) {
		return snap, false, fmt.Errorf("%d fields of a session", len(v))
	}
	if v[0].IsNil() {
		return snap, false, nil
	}
	var text [3]string
	for i := range v {
		if text[i], err = v[i].ToString(); err != nil {
			return snap, false, fmt.Errorf("field %s of a session: %w", snapshotFields[i], err)
		}
	}
	snap.State = new(hub.State)
	if err := json.Unmarshal([]byte(text[0]), snap.State); err != nil {
		return snap, false, fmt.Errorf("the state of a session: %w", err)
	}
	h, err := parseHead(text[1])
	if err != nil {
		return snap, false, err
	}
	snap.Version, snap.Last, snap.First, snap.N = h.version, h.last, h.first, h.n
	snap.LastActivity = time.UnixMicro(h.activity)
	snap.Epochs, err = parseEpochs(text[2])
	return snap, err == nil, err
}

// head is the field of a session that changes with every append: ten words, as
// append.lua writes them.
type head struct {
	version, last, first uint64
	n                    uint64 // last event of the present assignment
	activity             int64  // microseconds
	epoch                string // that the last event is numbered in
}

func parseHead(text string) (h head, err error) {
	words := strings.Fields(text) // version last first bytes n assignment holder activity replid epoch
	if len(words) != 10 {
		return h, fmt.Errorf("the head of a session has %d words", len(words))
	}
	for i, to := range map[int]*uint64{0: &h.version, 1: &h.last, 2: &h.first, 4: &h.n} {
		if *to, err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return h, fmt.Errorf("the head of a session: %w", err)
		}
	}
	h.epoch = words[9]
	if h.activity, err = strconv.ParseInt(words[7], 10, 64); err != nil {
		return h, fmt.Errorf("the head of a session: %w", err)
	}
	return h, nil
}

// parseEpochs takes "epoch:first,epoch:first".
func parseEpochs(text string) ([]hub.EpochStart, error) {
	out := make([]hub.EpochStart, 0, strings.Count(text, ",")+1)
	for part := range strings.SplitSeq(text, ",") {
		epoch, first, _ := strings.Cut(part, ":")
		n, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("epochs of a session: %w", err)
		}
		out = append(out, hub.EpochStart{Epoch: epoch, First: n})
	}
	return out, nil
}

// Bounds of one call of read.lua: about a millisecond of the server's time. A page
// of 4 MiB in one piece took 20, in which it answered nobody.
const (
	readEvents = 256
	readBytes  = 256 << 10
)

// Read implements hub.Store. A large page is read in pieces. When the log is
// trimmed or begins a new epoch between two of them, the page ends with the first.
func (s *Store) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
	page, err := s.readPiece(ctx, id, after, min(maxEvents, readEvents), min(maxBytes, readBytes))
	if err != nil {
		return hub.Page{}, err
	}
	size := jsonLen(page.Entries)
	for n := len(page.Entries); n > 0 && n < maxEvents && size < maxBytes; n = len(page.Entries) {
		last := page.Entries[n-1].Seq
		if last >= page.Last {
			break
		}
		next, err := s.readPiece(ctx, id, last, min(maxEvents-n, readEvents), min(maxBytes-size, readBytes))
		if err != nil {
			return hub.Page{}, err
		}
		more := jsonLen(next.Entries)
		// One event comes however large it is.
		if len(next.Entries) == 0 || next.Epoch != page.Epoch || next.Entries[0].First() != last+1 || size+more > maxBytes {
			break
		}
		page.Entries, page.Last, size = append(page.Entries, next.Entries...), next.Last, size+more
	}
	return page, nil
}

func jsonLen(entries []protocol.Entry) (n int) {
	for _, e := range entries {
		n += e.JSONLen()
	}
	return n
}

func (s *Store) readPiece(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
	keys, ok := s.keys(id)
	if !ok {
		return hub.Page{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	from := after
	if from < math.MaxUint64 {
		from++
	}
	r := readScript.Exec(call, s.client, keys[:2], []string{strconv.FormatUint(from, 10), strconv.Itoa(maxEvents), strconv.Itoa(maxBytes)})
	page, err := parsePage(r)
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return hub.Page{}, notFound(id)
	case err != nil:
		return hub.Page{}, s.unavailable(ctx, "read", "read session "+id, err)
	}
	return page, nil
}

// parsePage takes what read.lua gives.
func parsePage(r valkey.ValkeyResult) (hub.Page, error) {
	m, err := r.ToMessage()
	if err != nil {
		return hub.Page{}, err
	}
	if m.IsString() {
		return hub.Page{}, hub.ErrNotFound
	}
	v, err := m.AsStrSlice()
	if err != nil {
		return hub.Page{}, err
	}
	if len(v) < 3 || len(v)%2 != 1 {
		return hub.Page{}, fmt.Errorf("the script gave %d values", len(v))
	}
	epoch := v[0]
	v = v[1:]
	numbers := make([]uint64, 0, 1+len(v)/2) // first, last and the seqs
	for i := 0; i < len(v); i++ {
		n, err := strconv.ParseUint(v[i], 10, 64)
		if err != nil {
			return hub.Page{}, err
		}
		numbers = append(numbers, n)
		if i >= 2 {
			i++ // the tail behind it
		}
	}
	page := hub.Page{Epoch: epoch, First: numbers[0], Last: numbers[1], Entries: make([]protocol.Entry, 0, len(numbers)-2)}
	for i, seq := range numbers[2:] {
		e, err := entry(seq, []byte(v[3+2*i]))
		if err != nil {
			return hub.Page{}, err
		}
		page.Entries = append(page.Entries, e)
	}
	return page, nil
}

// entry makes an event of its stored bytes, which begin with its type.
func entry(seq uint64, tail []byte) (protocol.Entry, error) {
	const before = `,"type":"`
	text := valkey.BinaryString(tail)
	if len(text) > len(before) && strings.HasPrefix(text, before) {
		if end := strings.IndexByte(text[len(before):], '"'); end > 0 {
			return protocol.Entry{Seq: seq, Type: protocol.EventType(strings.Clone(text[len(before) : len(before)+end])), Tail: tail}, nil
		}
	}
	return protocol.Entry{}, fmt.Errorf("event %d has no type", seq)
}

// Commands implements hub.Store.
func (s *Store) Commands(ctx context.Context, id string, after uint64) ([]hub.Command, error) {
	keys, ok := s.keys(id)
	if !ok {
		return nil, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	r := s.client.DoMulti(call, s.client.B().Hgetall().Key(keys[2]).Build(), s.client.B().Exists().Key(keys[0]).Build())
	all, err := r[0].AsStrMap()
	if err != nil {
		return nil, s.unavailable(ctx, "commands", "read commands of session "+id, err)
	}
	if there, err := r[1].AsInt64(); err != nil || there == 0 {
		if err == nil {
			return nil, notFound(id)
		}
		return nil, s.unavailable(ctx, "commands", "read commands of session "+id, err)
	}
	out := make([]hub.Command, 0, len(all))
	for field, value := range all {
		seq, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, s.unavailable(ctx, "commands", "read commands of session "+id, err)
		}
		if kind, data, ok := strings.Cut(value, " "); ok && seq > after {
			out = append(out, hub.Command{Seq: seq, Type: protocol.WorkerCommandType(kind), Data: json.RawMessage(data)})
		}
	}
	slices.SortFunc(out, func(a, b hub.Command) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return out, nil
}

// Note implements hub.Store.
func (s *Store) Note(ctx context.Context, id, key string) (value string, seq uint64, ok bool, err error) {
	keys, ok := s.keys(id)
	if !ok {
		return "", 0, false, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := "read a note of session " + id
	r := s.client.DoMulti(call, s.client.B().Hget().Key(keys[3]).Field(key).Build(), s.client.B().Exists().Key(keys[0]).Build())
	there, err := r[1].AsInt64()
	if err != nil {
		return "", 0, false, s.unavailable(ctx, "note", what, err)
	}
	if there == 0 {
		return "", 0, false, notFound(id)
	}
	text, err := r[0].ToString()
	if valkey.IsValkeyNil(err) {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, s.unavailable(ctx, "note", what, err)
	}
	at, value, _ := strings.Cut(text, " ")
	if seq, err = strconv.ParseUint(at, 10, 64); err != nil {
		return "", 0, false, s.unavailable(ctx, "note", what, err)
	}
	return value, seq, true, nil
}
