package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// merged makes one entry of consecutive outputs.
func (f *fixture) merged(entries []protocol.Entry) protocol.Entry {
	f.Helper()
	var text strings.Builder
	for _, e := range entries {
		text.WriteString(f.text(e))
	}
	last := entries[len(entries)-1]
	out := protocol.Entry{Seq: last.Seq, Type: protocol.EventOutput}
	if len(entries) > 1 {
		out.From = entries[0].First()
	}
	out.Tail = protocol.AppendEventTail(nil, out.Type, f.decode(last).Time, outputs(text.String())[0].Data)
	return out
}

// step makes a compaction of everything up to a seq. It leaves the first entry as it is,
// and makes one entry of each further group of so many.
func (f *fixture) step(id string, to uint64, each int) store.Compaction {
	f.Helper()
	snap := f.load(id)
	p := f.read(id, max(snap.Compacted, snap.First-1), 1<<20, 1<<30)
	c := store.Compaction{Epoch: p.Epoch, After: snap.Compacted}
	var run []protocol.Entry
	for _, e := range p.Entries {
		if e.Seq > to {
			break
		}
		if e.Type != protocol.EventOutput {
			c.Entries = append(c.Entries, e)
			continue
		}
		if run = append(run, e); len(run) == each || e.Seq == to {
			c.Entries = append(c.Entries, f.merged(run))
			run = nil
		}
	}
	return c
}

func (f *fixture) compact(id string, c store.Compaction) {
	f.Helper()
	if err := f.store.Compact(f.ctx, id, c); err != nil {
		f.Fatalf("compact %s: %v", id, err)
	}
}

// whole is all the text of a page.
func (f *fixture) whole(p store.Page) string {
	f.Helper()
	var text strings.Builder
	for _, e := range p.Entries {
		if e.Type == protocol.EventOutput {
			text.WriteString(f.text(e))
		}
	}
	return text.String()
}

// number appends outputs whose texts are their own numbers, in batches.
func (f *fixture) number(id string, batches, each int) {
	f.Helper()
	for range batches {
		b := store.Batch{}
		next := f.load(id).Last + 1
		for i := range each {
			b.Events = append(b.Events, outputs(fmt.Sprintf("%d;", next+uint64(i)))...)
		}
		f.append(id, b)
	}
}

func testCompact(f *fixture) {
	f.create("s1", "u1")
	f.number("s1", 40, 5) // 2 to 201
	before, raw := f.load("s1"), f.all("s1")
	c := f.step("s1", 101, 10) // 1, and ten of ten
	f.compact("s1", c)

	s := f.load("s1")
	if s.Compacted != 101 || s.First != 1 || s.Last != before.Last || s.Version != before.Version || !s.LastActivity.Equal(before.LastActivity) {
		f.Errorf("snapshot %+v, before it %+v", s, before)
	}
	p := f.all("s1")
	f.contiguous(p, 0)
	if len(p.Entries) != 1+10+100 || f.whole(p) != f.whole(raw) {
		f.Fatalf("%d entries, want 111, with the text %q", len(p.Entries), f.whole(p))
	}
	for i, e := range p.Entries {
		want := raw.Entries[min(int(e.Seq)-1, len(raw.Entries)-1)]
		if i < len(c.Entries) {
			want = c.Entries[i]
		}
		if !bytes.Equal(e.AppendJSON(nil), want.AppendJSON(nil)) || e.Type != want.Type || e.From != want.From {
			f.Errorf("entry %d is %s, want %s", i, e.AppendJSON(nil), want.AppendJSON(nil))
		}
	}
	// From every cursor, only the first entry can reach back.
	for after := uint64(0); after <= s.Last; after++ {
		p := f.read("s1", after, 3, 1<<20)
		f.contiguous(p, after)
		if n := len(p.Entries); n == 0 && after < s.Last || n > 0 && (p.Entries[0].First() > after+1 || after > 101 && p.Entries[0].First() != after+1) {
			f.Errorf("after %d come %d entries: %+v", after, n, p)
		}
	}
	// The next step includes the log's end; after it everything goes on.
	f.compact("s1", f.step("s1", 201, 50))
	if p := f.all("s1"); len(p.Entries) != 1+10+2 || f.whole(p) != f.whole(raw) || f.load("s1").Compacted != 201 {
		f.Errorf("%d entries behind the second step", len(p.Entries))
	}
	if done := f.append("s1", batchOf("next")); done.First != 202 {
		f.Errorf("the next event is %d, want 202", done.First)
	}
	if p := f.read("s1", 201, 10, 1<<20); len(p.Entries) != 1 || p.Entries[0].First() != 202 || f.text(p.Entries[0]) != "next" {
		f.Errorf("behind the compacted ones: %+v", p)
	}
}

func testCompactConflict(f *fixture) {
	f.create("s1", "u1")
	f.number("s1", 10, 2) // 2 to 21
	good := f.step("s1", 11, 5)
	change := func(with func(*store.Compaction)) store.Compaction {
		c := good
		c.Entries = append([]protocol.Entry(nil), good.Entries...)
		with(&c)
		return c
	}
	beyond := f.step("s1", 21, 4)
	beyond.Entries[len(beyond.Entries)-1].Seq++
	for name, c := range map[string]store.Compaction{
		"another epoch":    change(func(c *store.Compaction) { c.Epoch = "another" }),
		"not its turn":     change(func(c *store.Compaction) { c.After = 1; c.Entries = c.Entries[1:] }),
		"no entries":       {Epoch: good.Epoch},
		"a hole":           change(func(c *store.Compaction) { c.Entries = append(c.Entries[:1], c.Entries[2:]...) }),
		"a wrong start":    change(func(c *store.Compaction) { c.Entries = c.Entries[1:] }),
		"backwards":        change(func(c *store.Compaction) { c.Entries[0].From = 5 }),
		"beyond the end":   beyond,
		"an overlap":       change(func(c *store.Compaction) { c.Entries[2].From-- }),
		"nothing but ends": change(func(c *store.Compaction) { c.Entries[0].From, c.Entries[0].Seq, c.Entries = 1, 99, c.Entries[:1] }),
	} {
		before := f.all("s1")
		if err := f.store.Compact(f.ctx, "s1", c); !errors.Is(err, store.ErrConflict) {
			f.Errorf("%s: %v, want ErrConflict", name, err)
		}
		if p := f.all("s1"); len(p.Entries) != len(before.Entries) || f.load("s1").Compacted != 0 {
			f.Errorf("%s: a refused step changed the log", name)
		}
	}
	f.compact("s1", good)
	if err := f.store.Compact(f.ctx, "s1", good); !errors.Is(err, store.ErrConflict) {
		f.Errorf("the same step again: %v, want ErrConflict", err)
	}
	for _, id := range []string{"none", "", "{", "s1 ", "a{b}c"} {
		if err := f.store.Compact(f.ctx, id, good); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("compact %q: %v, want ErrNotFound", id, err)
		}
	}
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Fatal(err)
	}
	if err := f.store.Compact(f.ctx, "s1", good); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("compact a deleted session: %v, want ErrNotFound", err)
	}
	// Nothing of it is left for the next session of that id.
	f.create("s1", "u1")
	if p := f.all("s1"); len(p.Entries) != 1 || p.Last != 1 || f.load("s1").Compacted != 0 {
		f.Errorf("the new session has %+v", p)
	}
}

// A bound of events counts stored entries. The oldest go first, whatever their form.
func testCompactTrim(f *fixture) {
	f.create("s1", "u1")
	f.number("s1", 3, 5) // 2 to 16
	f.compact("s1", f.step("s1", 11, 5))
	f.number("s1", 2, 2) // to 20: 1, two compacted ones, 12 to 20
	if p := f.all("s1"); len(p.Entries) != 12 || p.First != 1 {
		f.Fatalf("%d entries from %d, want 12 from 1", len(p.Entries), p.First)
	}
	f.number("s1", 1, 9) // to 29: 21 entries, one too many
	if p := f.all("s1"); len(p.Entries) != 20 || p.First != 2 || p.Entries[0].First() != 2 || p.Entries[0].Seq != 6 {
		f.Fatalf("%d entries from %d", len(p.Entries), p.First)
	}
	f.number("s1", 1, 1)
	f.trimmed("s1", 30)
	if s := f.load("s1"); s.First != 7 || s.Compacted != 11 {
		f.Errorf("first %d, compacted %d; want 7 and 11", s.First, s.Compacted)
	}
	f.number("s1", 1, 2)
	if s := f.load("s1"); s.First != 13 { // the compacted one, and 12
		f.Errorf("first %d, want 13", s.First)
	}
	// Events that were trimmed before they were compacted: a step begins with the log.
	f.number("s1", 1, 3)
	stale := f.step("s1", 30, 4)
	f.compact("s1", stale)
	f.contiguous(f.all("s1"), 0)
	stale = f.step("s1", 34, 2)
	f.number("s1", 1, 19)
	if err := f.store.Compact(f.ctx, "s1", stale); err == nil {
		if s := f.load("s1"); s.First > 35 {
			f.Errorf("a step over events that were trimmed was taken: first %d", s.First)
		}
	}
	f.number("s1", 4, 10) // far beyond everything that was compacted
	f.trimmed("s1", f.load("s1").Last)
	f.compact("s1", f.step("s1", f.load("s1").Last, 7))
	f.contiguous(f.all("s1"), 0)
}

// A bound of bytes counts stored bytes.
func testCompactTrimBytes(f *fixture) {
	f.create("s1", "u1")
	size := func() (n int) {
		for _, e := range f.all("s1").Entries {
			n += e.JSONLen()
		}
		return n
	}
	for f.load("s1").First == 1 && size() < 3900 {
		f.number("s1", 1, 1)
	}
	last := f.load("s1").Last
	f.compact("s1", f.step("s1", last, 10))
	room := 4096 - size()
	if room < 2000 {
		f.Fatalf("%d bytes of room behind a compaction", room)
	}
	// The whole room can be used, and no more.
	for f.load("s1").First == 1 {
		if n := size(); n > 4096 {
			f.Fatalf("%d bytes are kept", n)
		}
		f.number("s1", 1, 1)
	}
	if n := size(); n > 4096 || n < 3000 {
		f.Errorf("%d bytes are kept behind the first trim, want at most 4096 and not much less", n)
	}
	f.trimmed("s1", f.load("s1").Last)
}

// Forget drops compacted events too, and later events are compacted as the first ones were.
func testCompactForget(f *fixture) {
	f.create("s1", "u1")
	f.number("s1", 2, 5)
	f.compact("s1", f.step("s1", 8, 3))
	snap := f.load("s1")
	stale := f.step("s1", 11, 3)
	f.append("s1", store.Batch{State: snap.State, Expect: snap.Version, Events: outputs("kept"), Forget: true})
	if s := f.load("s1"); s.Compacted != 11 {
		f.Errorf("compacted up to %d behind a forget, want 11", s.Compacted)
	}
	if err := f.store.Compact(f.ctx, "s1", stale); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a step over what was forgotten: %v, want ErrConflict", err)
	}
	if p := f.all("s1"); len(p.Entries) != 1 || p.First != 12 || f.whole(p) != "kept" {
		f.Fatalf("behind a forget: %+v", p)
	}
	f.number("s1", 2, 5)
	text := f.whole(f.all("s1"))
	f.compact("s1", f.step("s1", 22, 6))
	if p := f.all("s1"); f.whole(p) != text || len(p.Entries) != 2 || p.First != 12 {
		f.Errorf("%d entries, %q", len(p.Entries), f.whole(p))
	}
}

// Writers, two compacters and readers run side by side. A reader that goes on from its
// cursor has every number once.
func testCompactRace(f *fixture) {
	f.create("s1", "u1")
	const batches, each = 120, 5
	const last = 1 + batches*each
	var wg sync.WaitGroup
	wg.Go(func() { f.number("s1", batches, each) })
	for range 2 {
		wg.Go(func() {
			for f.load("s1").Compacted < last {
				s := f.load("s1")
				if s.Last-s.Compacted < 20 && s.Last < last {
					runtime.Gosched()
					continue
				}
				c := f.step("s1", s.Last, 7)
				if err := f.store.Compact(f.ctx, "s1", c); err != nil && !errors.Is(err, store.ErrConflict) {
					f.Errorf("compact: %v", err)
					return
				}
			}
		})
	}
	for reader := range 4 {
		wg.Go(func() {
			have := make(map[uint64]string) // by the seq of the last piece
			for cursor := uint64(0); cursor < last; {
				p, err := f.store.Read(f.ctx, "s1", cursor, 1+reader*5, 1<<20)
				if err != nil {
					f.Error(err)
					return
				}
				for i, e := range p.Entries {
					if e.First() > cursor+1 || i > 0 && e.First() != cursor+1 {
						f.Errorf("entry %d to %d behind %d", e.First(), e.Seq, cursor)
						return
					}
					for seq := e.First(); seq <= e.Seq; seq++ {
						delete(have, seq)
					}
					cursor = e.Seq
					if e.Type == protocol.EventOutput {
						have[e.Seq] = f.text(e)
					}
				}
			}
			var got, want strings.Builder
			for seq := uint64(1); seq <= last; seq++ {
				got.WriteString(have[seq])
				if seq > 1 {
					fmt.Fprintf(&want, "%d;", seq)
				}
			}
			if got.String() != want.String() {
				f.Errorf("reader %d has %q", reader, got.String())
			}
		})
	}
	wg.Wait()
}
