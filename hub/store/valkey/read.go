package valkey

import (
	"bytes"
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

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// snapshotFields are the fields that make a Snapshot, in the order in which parseSnapshot
// reads them.
var snapshotFields = []string{"state", "head", "epochs", "compacted"}

// Load implements store.Reader.
func (s *sessions) Load(ctx context.Context, id string) (store.Snapshot, error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Snapshot{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	r := s.client.Do(call, s.client.B().Hmget().Key(keys[0]).Field(snapshotFields...).Build())
	snap, ok, err := parseSnapshot(r)
	switch {
	case err != nil:
		return store.Snapshot{}, s.unavailable(ctx, "load", "load session "+id, err)
	case !ok:
		return store.Snapshot{}, notFound(id)
	}
	return snap, nil
}

// LoadNote implements store.Notes.
func (s *sessions) LoadNote(ctx context.Context, id, key string) (store.Snapshot, store.Noted, error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Snapshot{}, store.Noted{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	snap, n, ok, err := parseLoadNote(loadNote.Exec(call, s.client, []string{keys[0], keys[3]}, append([]string{key}, snapshotFields...)))
	switch {
	case err != nil:
		return store.Snapshot{}, store.Noted{}, s.unavailable(ctx, "load", "load session "+id, err)
	case !ok:
		return store.Snapshot{}, store.Noted{}, notFound(id)
	}
	return snap, n, nil
}

func parseLoadNote(r valkey.ValkeyResult) (snap store.Snapshot, n store.Noted, ok bool, err error) {
	v, err := r.ToArray()
	if err == nil && len(v) != 2 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil {
		return snap, n, false, err
	}
	fields, err := v[0].ToArray()
	if err != nil {
		return snap, n, false, err
	}
	if snap, ok, err = snapshotOf(fields); err != nil || !ok || v[1].IsNil() {
		return snap, n, ok, err
	}
	text, err := v[1].ToString()
	if err != nil {
		return snap, n, false, err
	}
	n, err = parseNote(text)
	return snap, n, true, err
}

// parseNote reads "seq value".
func parseNote(text string) (n store.Noted, err error) {
	at, value, _ := strings.Cut(text, " ")
	if n.Seq, err = strconv.ParseUint(at, 10, 64); err != nil {
		return n, err
	}
	n.Value, n.OK = value, true
	return n, nil
}

// parseSnapshot reads the answer to an HMGET of snapshotFields. ok is false if there is no
// such session.
func parseSnapshot(r valkey.ValkeyResult) (snap store.Snapshot, ok bool, err error) {
	v, err := r.ToArray()
	if err != nil {
		return snap, false, err
	}
	return snapshotOf(v)
}

// snapshotOf is parseSnapshot for the fields themselves.
func snapshotOf(v []valkey.ValkeyMessage) (snap store.Snapshot, ok bool, err error) {
	if len(v) != len(snapshotFields) {
		return snap, false, fmt.Errorf("%d fields of a session", len(v))
	}
	if v[0].IsNil() {
		return snap, false, nil
	}
	var text [4]string
	for i := range v {
		if snapshotFields[i] == "compacted" && v[i].IsNil() {
			continue // nothing is compacted
		}
		if text[i], err = v[i].ToString(); err != nil {
			return snap, false, fmt.Errorf("field %s of a session: %w", snapshotFields[i], err)
		}
	}
	snap.State = new(session.State)
	if err := json.Unmarshal([]byte(text[0]), snap.State); err != nil {
		return snap, false, fmt.Errorf("the state of a session: %w", err)
	}
	h, err := parseHead(text[1])
	if err != nil {
		return snap, false, err
	}
	snap.Version, snap.Last, snap.N = h.version, h.last, h.n
	snap.LastActivity = time.UnixMicro(h.activity)
	b, err := parseBeginning(text[3])
	if err != nil {
		return snap, false, err
	}
	snap.First, snap.Compacted = b.firstOf(h), b.last
	snap.Epochs, err = parseEpochs(text[2])
	return snap, err == nil, err
}

// head is the field of a session that changes with every append: ten words, as append.lua
// writes them.
type head struct {
	version, last uint64
	first         uint64 // of the events that are not compacted
	n             uint64 // last event of the present assignment
	activity      int64  // microseconds
	epoch         string // that the last event is numbered in
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

// parseEpochs reads "epoch:first,epoch:first".
func parseEpochs(text string) ([]store.EpochStart, error) {
	out := make([]store.EpochStart, 0, strings.Count(text, ",")+1)
	for part := range strings.SplitSeq(text, ",") {
		epoch, first, _ := strings.Cut(part, ":")
		n, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("epochs of a session: %w", err)
		}
		out = append(out, store.EpochStart{Epoch: epoch, First: n})
	}
	return out, nil
}

// Bounds of one call of read.lua: about a millisecond of the server's time. A page of 4 MiB
// in one call took 20 ms, in which the server answered nobody.
const (
	readEvents = 256
	readBytes  = 256 << 10
)

// Read implements store.Reader. It reads a large page in pieces. If the log is trimmed or
// begins a new epoch between two pieces, the page ends with the first one.
func (s *sessions) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	page, full, err := s.readPiece(ctx, id, after, min(maxEvents, readEvents), min(maxBytes, readBytes))
	if err != nil {
		return store.Page{}, err
	}
	size, room := jsonLen(page.Entries), maxBytes
	for n := len(page.Entries); n > 0 && n < maxEvents && size < maxBytes; n = len(page.Entries) {
		last := page.Entries[n-1].Seq
		if last >= page.Last || full && room <= readBytes {
			break
		}
		room = maxBytes - size
		var next store.Page
		next, full, err = s.readPiece(ctx, id, last, min(maxEvents-n, readEvents), min(room, readBytes))
		if err != nil {
			return store.Page{}, err
		}
		more := jsonLen(next.Entries)
		// The first event always fits, however large it is.
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

// readPiece reads what one call of the script gives. full says that the next event did not
// fit.
func (s *sessions) readPiece(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (page store.Page, full bool, err error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Page{}, false, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	from := after
	if from < math.MaxUint64 {
		from++
	}
	r := readScript.Exec(call, s.client, []string{keys[0], keys[1], keys[4]}, []string{strconv.FormatUint(from, 10), strconv.Itoa(maxEvents), strconv.Itoa(maxBytes)})
	page, full, err = parsePage(r)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return store.Page{}, false, notFound(id)
	case err != nil:
		return store.Page{}, false, s.unavailable(ctx, "read", "read session "+id, err)
	}
	return page, full, nil
}

// parsePage reads the answer of read.lua.
func parsePage(r valkey.ValkeyResult) (page store.Page, full bool, err error) {
	m, err := r.ToMessage()
	if err != nil {
		return page, false, err
	}
	if m.IsString() {
		return page, false, session.ErrNotFound
	}
	v, err := m.AsStrSlice()
	if err != nil {
		return page, false, err
	}
	if len(v) < 4 || len(v)%2 != 0 {
		return page, false, fmt.Errorf("the script gave %d values", len(v))
	}
	page.Epoch, full = v[0], v[3] != ""
	for i, to := range []*uint64{&page.First, &page.Last} {
		if *to, err = strconv.ParseUint(v[1+i], 10, 64); err != nil {
			return page, false, err
		}
	}
	page.Entries = make([]protocol.Entry, 0, len(v)/2-2)
	for i := 4; i < len(v); i += 2 {
		seq, err := strconv.ParseUint(v[i], 10, 64)
		if err != nil {
			return page, false, err
		}
		e, err := stored(seq, []byte(v[i+1]))
		if err != nil {
			return page, false, err
		}
		page.Entries = append(page.Entries, e)
	}
	return page, full, nil
}

// stored makes an event of a stream's value: Entry.From, if there is one, and Entry.Tail.
func stored(seq uint64, value []byte) (protocol.Entry, error) {
	n := max(0, bytes.IndexByte(value, ','))
	e, err := entry(seq, value[n:])
	if err == nil && n > 0 {
		e.From, err = strconv.ParseUint(string(value[:n]), 10, 64)
	}
	return e, err
}

// entry makes an event of its tail, which begins with the event's type.
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

// Commands implements store.CommandLog.
func (s *sessions) Commands(ctx context.Context, id string, after uint64) ([]session.Command, error) {
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
	out := make([]session.Command, 0, len(all))
	for field, value := range all {
		seq, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, s.unavailable(ctx, "commands", "read commands of session "+id, err)
		}
		if kind, data, ok := strings.Cut(value, " "); ok && seq > after {
			out = append(out, session.Command{Seq: seq, Type: protocol.WorkerCommandType(kind), Data: json.RawMessage(data)})
		}
	}
	slices.SortFunc(out, func(a, b session.Command) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return out, nil
}

// Note implements store.Notes.
func (s *sessions) Note(ctx context.Context, id, key string) (value string, seq uint64, ok bool, err error) {
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
	n, err := parseNote(text)
	if err != nil {
		return "", 0, false, s.unavailable(ctx, "note", what, err)
	}
	return n.Value, n.Seq, true, nil
}

// Part implements store.Parts.
func (s *sessions) Part(ctx context.Context, id, key string) ([]byte, bool, error) {
	keys, ok := s.keys(id)
	if !ok {
		return nil, false, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := "read a part of a question of session " + id
	r := s.client.DoMulti(call, s.client.B().Hget().Key(keys[3]).Field(partField(key)).Build(), s.client.B().Exists().Key(keys[0]).Build())
	there, err := r[1].AsInt64()
	if err != nil {
		return nil, false, s.unavailable(ctx, "part", what, err)
	}
	if there == 0 {
		return nil, false, notFound(id)
	}
	part, err := r[0].AsBytes()
	if valkey.IsValkeyNil(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.unavailable(ctx, "part", what, err)
	}
	return part, true, nil
}
