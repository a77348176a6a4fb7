package valkey

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// textsOf are the texts of an output: those of a merged one stand behind each other.
func textsOf(e protocol.Entry) []string {
	if e.Type != protocol.EventOutput {
		return nil
	}
	return strings.Fields(textOf(e))
}

// merge makes one entry of outputs that follow each other.
func merge(run []protocol.Entry) protocol.Entry {
	if len(run) == 1 {
		return run[0]
	}
	var texts []string
	for _, e := range run {
		texts = append(texts, textsOf(e)...)
	}
	last := run[len(run)-1]
	var ev protocol.Event
	if err := protocol.Decode(last.AppendJSON(nil), &ev); err != nil {
		panic(err) // the store has taken it as it is
	}
	data := protocol.Marshal(protocol.OutputData{MessageID: "m1", Kind: "text", Text: strings.Join(texts, " ")})
	return protocol.Entry{
		From: run[0].First(), Seq: last.Seq, Type: last.Type,
		Tail: protocol.AppendEventTail(nil, last.Type, ev.Time, data),
	}
}

// mergeAll makes one entry of so many outputs that follow each other. Others stay as
// they are.
func mergeAll(entries []protocol.Entry, each int) (out []protocol.Entry) {
	for len(entries) > 0 {
		n := 1
		for n < min(each, len(entries)) && entries[0].Type == protocol.EventOutput && entries[n].Type == protocol.EventOutput {
			n++
		}
		out, entries = append(out, merge(entries[:n])), entries[n:]
	}
	return out
}

// nextStep reads the next events of a log that are not compacted, up to a seq, and
// makes a step of them. It has no entries if there are no such events.
func nextStep(ctx context.Context, s store.Sessions, id string, to uint64, each int) (c store.Compaction, err error) {
	snap, err := s.Load(ctx, id)
	if err != nil {
		return c, err
	}
	p, err := s.Read(ctx, id, max(snap.Compacted, snap.First-1), never, never)
	if err != nil {
		return c, err
	}
	n := 0
	for n < len(p.Entries) && p.Entries[n].Seq <= to {
		n++
	}
	return store.Compaction{Epoch: p.Epoch, After: snap.Compacted, Entries: mergeAll(p.Entries[:n], each)}, nil
}

// compactAll compacts a log to its end.
func compactAll(t *testing.T, s *Store, id string, each int) {
	t.Helper()
	for until := time.Now().Add(judge.Patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := nextStep(t.Context(), s, id, never, each)
		if err == nil && len(c.Entries) == 0 {
			return
		}
		if err == nil {
			err = s.Compact(t.Context(), id, c)
		}
		again := errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrConflict)
		if err != nil && (!again || time.Now().After(until)) {
			t.Fatalf("compact %s: %v", id, err)
		}
	}
}

// compactUntil compacts all but the last ten events of a log, ten at least at a time,
// until stop is closed. It tells in how many steps.
func compactUntil(t *testing.T, s *Store, id string, stop <-chan struct{}) (steps int64) {
	for {
		select {
		case <-stop:
			return steps
		case <-time.After(10 * time.Millisecond):
		}
		snap, err := s.Load(t.Context(), id)
		var c store.Compaction
		if err == nil && snap.Last >= snap.Compacted+20 {
			c, err = nextStep(t.Context(), s, id, snap.Last-10, 2+int(snap.Last%7))
		}
		if err == nil && len(c.Entries) > 0 {
			if err = s.Compact(t.Context(), id, c); err == nil {
				steps++
			}
		}
		if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("compact %s: %v", id, err)
			return steps
		}
	}
}

// say appends outputs that say what they are.
func say(t *testing.T, s *Store, id string, texts ...string) {
	t.Helper()
	var b store.Batch
	for _, text := range texts {
		e := output(0)
		e.Data = protocol.Marshal(protocol.OutputData{MessageID: "m1", Kind: "text", Text: text})
		b.Events = append(b.Events, e)
	}
	if _, err := s.Append(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
}

// numbers are the texts "from", ..., "to".
func numbers(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// logOf tells what a session's log says and in how many entries, and checks that they
// follow each other.
func logOf(t rapid.TB, s *Store, id string) (text string, entries int, p store.Page) {
	t.Helper()
	p, err := s.Read(context.Background(), id, 0, never, never)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, e := range p.Entries {
		if first := e.First(); first > e.Seq || i > 0 && first != p.Entries[i-1].Seq+1 || i == 0 && first != p.First {
			t.Errorf("entry %d of a log from %d stands for %d to %d", i, p.First, first, e.Seq)
		}
		texts = append(texts, textsOf(e)...)
	}
	if n := len(p.Entries); n > 0 && p.Entries[n-1].Seq != p.Last {
		t.Errorf("a log to %d ends at %d", p.Last, p.Entries[n-1].Seq)
	}
	return strings.Join(texts, " "), len(p.Entries), p
}

// bytesAreRight compares what a session says of its log's size with the log.
func bytesAreRight(t rapid.TB, server *valkeytest.Server, s *Store, id string) {
	t.Helper()
	ask := func(field string) []string {
		text, err := server.Do("HGET", s.channel(id)+":session", field)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(text)
	}
	_, _, p := logOf(t, s, id)
	want := 0
	for _, e := range p.Entries {
		want += e.JSONLen()
	}
	got, err := strconv.Atoi(ask("head")[3])
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Load(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if snap.First <= snap.Compacted { // else nothing of it is left
		n, err := strconv.Atoi(ask("compacted")[2])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if got != want {
		t.Errorf("%s, compacted up to %d: %d bytes are counted, the log has %d", id, snap.Compacted, got, want)
	}
}
