package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// kills is how often a test kills or cuts the power: a few times, or KILLS times.
func kills(t testing.TB, few int) int {
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		return n
	} else if os.Getenv("KILLS") != "" {
		t.Fatal(err)
	}
	return few
}

// piece is the text of an output: it says where it belongs.
func piece(id string, seq uint64) string {
	return fmt.Sprintf("%s/%d:%s;", id, seq, strings.Repeat("x", int(seq%300)))
}

func textOf(e protocol.Entry) string {
	var v struct{ Data protocol.OutputData }
	if err := json.Unmarshal(e.AppendJSON(nil), &v); err != nil {
		return err.Error()
	}
	return v.Data.Text
}

// step makes one of the outputs that follow each other, at most so many in one; what
// stays is in it as it is.
func step(s *Store, id string, most func() int) (store.Compaction, error) {
	snap, err := s.Load(context.Background(), id)
	if err != nil {
		return store.Compaction{}, err
	}
	p, err := s.Read(context.Background(), id, max(snap.Compacted, snap.First-1), 1<<30, 1<<40)
	c := store.Compaction{Epoch: p.Epoch, After: snap.Compacted}
	for at := 0; at < len(p.Entries); {
		e, size, text := p.Entries[at], most(), ""
		n := 0
		for ; n < size && at+n < len(p.Entries) && p.Entries[at+n].Type == protocol.EventOutput; n++ {
			text += textOf(p.Entries[at+n])
		}
		if n > 1 {
			last := p.Entries[at+n-1]
			var v struct{ Time time.Time }
			if err := json.Unmarshal(last.AppendJSON(nil), &v); err != nil {
				return c, err
			}
			e = protocol.Entry{From: e.Seq, Seq: last.Seq, Type: e.Type}
			e.Tail = protocol.AppendEventTail(nil, e.Type, v.Time, output(text).Events[0].Data)
		}
		c.Entries = append(c.Entries, e)
		at += max(n, 1)
	}
	return c, err
}

// What a load says: that it begins something (small), and that it is done.
const (
	lineAppend, lineAppended = 'a', 'A'
	lineStep, lineStepped    = 'c', 'C'
	lineEvent                = 'E' // it was announced; the line has it
	lineMessage              = 'M' // it was accepted; the line has its id
)

// ledger is what somebody was told by a load: the events that were announced, the
// messages that were acknowledged, and what is under way.
type ledger struct {
	mu   sync.Mutex
	told map[string]*told
}

type told struct {
	events   []announced
	messages []string
	done     map[byte]int // how often each kind of line came
}

type announced struct {
	seq  uint64
	json string
}

func newLedger() *ledger { return &ledger{told: make(map[string]*told)} }

func (l *ledger) write(kind byte, id, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.told[id]
	if d == nil {
		d = &told{done: make(map[byte]int)}
		l.told[id] = d
	}
	d.done[kind]++
	switch kind {
	case lineEvent:
		var v struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			panic(err)
		}
		d.events = append(d.events, announced{v.Seq, body})
	case lineMessage:
		d.messages = append(d.messages, body)
	}
}

// copy is all that was told up to now.
func (l *ledger) copy() map[string]told {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]told)
	for id, d := range l.told {
		done := make(map[byte]int)
		for kind, n := range d.done {
			done[kind] = n
		}
		out[id] = told{d.events[:len(d.events):len(d.events)], d.messages[:len(d.messages):len(d.messages)], done}
	}
	return out
}

// underWay says whether something was begun that was not done.
func underWay(all map[string]told, begun, done byte) bool {
	for _, d := range all {
		if d.done[begun] > d.done[done] {
			return true
		}
	}
	return false
}

var loadIDs = []string{"s0", "s1", "s2", "s3"}

// load appends to sessions and compacts them, until the context ends, and says all that
// it does. Sessions that are there already go on.
func load(ctx context.Context, s *Store, say func(kind byte, id, body string)) error {
	var wg sync.WaitGroup
	failed := make(chan error, len(loadIDs)+2)
	for i, id := range loadIDs {
		defer s.Watch(id, func(n store.Notice) {
			for _, e := range n.Entries {
				say(lineEvent, id, string(e.AppendJSON(nil)))
			}
		})()
		each := 8 // a message each so many appends: runs of every length
		for range i {
			each *= 3
		}
		wg.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				time.Sleep(200 * time.Microsecond)
				snap, err := s.Load(ctx, id)
				if err != nil {
					failed <- err
					return
				}
				var b store.Batch
				message := ""
				if n%each == 0 {
					message = fmt.Sprint("m", snap.Last+1)
					b, err = decided(s, id, message)
				}
				for k := uint64(0); message == "" && k < 1+snap.Last%3; k++ {
					b.Events = append(b.Events, output(piece(id, snap.Last+1+k)).Events...)
				}
				if say(lineAppend, id, ""); err == nil {
					_, err = s.Append(ctx, id, b)
				}
				if err != nil {
					failed <- err
					return
				}
				if message != "" {
					say(lineMessage, id, message)
				}
				say(lineAppended, id, "")
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(500 * time.Microsecond)
				id := loadIDs[rand.IntN(len(loadIDs))]
				c, err := step(s, id, func() int { return 1 + rand.IntN(100) })
				if err == nil && len(c.Entries) > 0 {
					say(lineStep, id, "")
					err = s.Compact(ctx, id, c)
					say(lineStepped, id, "")
				}
				if err != nil && !errors.Is(err, store.ErrConflict) {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// compare holds a store that was opened again to what was told before, in the old form
// or in the new one. It counts the events that are there in the new one.
func compare(t *testing.T, s *Store, all map[string]told) (compacted int) {
	t.Helper()
	for id, d := range all {
		snap, err := s.Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		entries := log(t, s, id)
		single := make(map[uint64]string)
		next, last, messages, bytes := uint64(1), uint64(0), 0, 0
		for _, e := range entries {
			if e.First() != next {
				t.Fatalf("%s: event %d comes behind %d", id, e.First(), next-1)
			}
			next, bytes = e.Seq+1, bytes+e.JSONLen()
			switch {
			case e.Type == protocol.EventMessage:
				messages++
			case e.Type == protocol.EventOutput:
				want := ""
				for seq := e.First(); seq <= e.Seq; seq++ {
					want += piece(id, seq)
				}
				if textOf(e) != want {
					t.Fatalf("%s: event %d to %d has the text %q", id, e.First(), e.Seq, textOf(e))
				}
			}
			if e.From != 0 {
				compacted++
				last = e.Seq
			} else {
				single[e.Seq] = string(e.AppendJSON(nil))
			}
		}
		if last > snap.Compacted || snap.Last != next-1 || snap.First != 1 {
			t.Fatalf("%s: the log is compacted up to %d and ends at %d, snapshot %+v", id, last, next-1, snap)
		}
		if h := s.byID[id].head.Load(); h.count != uint64(len(entries)) || h.bytes != uint64(bytes) {
			t.Fatalf("%s: the head counts %d events of %d bytes; there are %d of %d", id, h.count, h.bytes, len(entries), bytes)
		}
		for _, e := range d.events {
			if got, ok := single[e.seq]; e.seq >= next || ok && got != e.json {
				t.Fatalf("%s: event %d was announced as %s; the log up to %d has %q", id, e.seq, e.json, next-1, got)
			}
		}
		epochs := snap.Epochs[len(snap.Epochs)-1]
		if n := len(snap.State.Messages); n < len(d.messages) || n != messages || snap.State.Info.Title != "a title" || epochs.Epoch != s.epoch || epochs.First != next {
			t.Fatalf("%s: %d messages were accepted, the state has %d, the log %d; epochs %v, last %d", id, len(d.messages), n, messages, snap.Epochs, snap.Last)
		}
		commands, err := s.Commands(t.Context(), id, 0)
		if err != nil || len(commands) != messages {
			t.Fatalf("%s: %d commands of %d messages, %v", id, len(commands), messages, err)
		}
		for _, m := range d.messages {
			if _, _, ok, err := s.Note(t.Context(), id, session.MessageNote(m)); !ok || err != nil {
				t.Fatalf("%s: message %s was accepted, and there is no note of it: %v", id, m, err)
			}
		}
	}
	return compacted
}
