package storetest

import (
	"bytes"
	"sync"

	"sessionhub/protocol"
)

func testRead(f *fixture) {
	f.create("s1", "u1")
	f.fill("s1", 20, 10)
	last := f.load("s1").Last
	whole := f.all("s1")
	f.contiguous(whole, 0)
	if uint64(len(whole.Entries)) != last || whole.First != 1 || whole.Last != last {
		f.Fatalf("%d entries, from %d to %d, want 1 to %d", len(whole.Entries), whole.First, whole.Last, last)
	}
	for after := uint64(0); after <= last; after++ {
		p := f.read("s1", after, 1000, 1<<20)
		if uint64(len(p.Entries)) != last-after || p.Last != last {
			f.Errorf("%d entries after %d", len(p.Entries), after)
		}
		f.contiguous(p, after)
		for i, e := range p.Entries {
			if !bytes.Equal(e.AppendJSON(nil), whole.Entries[int(after)+i].AppendJSON(nil)) {
				f.Errorf("event %d has other bytes when it is read after %d", e.Seq, after)
			}
		}
	}
	for _, after := range []uint64{last + 1, last + 1000, protocol.MaxSeq} {
		if p := f.read("s1", after, 10, 1000); len(p.Entries) != 0 || p.Last != last || p.First != 1 {
			f.Errorf("after %d: %+v", after, p)
		}
	}
}

func testReadBounds(f *fixture) {
	f.create("s1", "u1")
	f.fill("s1", 10, 100)
	f.fill("s1", 1, 5000)
	f.fill("s1", 10, 100)
	last := f.load("s1").Last
	whole := f.all("s1").Entries
	for _, maxEvents := range []int{1, 2, 3, 1000} {
		for _, maxBytes := range []int{1, whole[1].JSONLen() - 1, whole[1].JSONLen(), whole[1].JSONLen() + 1, whole[1].JSONLen() + whole[2].JSONLen(), 700, 6000, 1 << 20} {
			// Page by page through the whole log.
			seen := uint64(0)
			for seen < last {
				p := f.read("s1", seen, maxEvents, maxBytes)
				if len(p.Entries) == 0 || len(p.Entries) > maxEvents {
					f.Fatalf("%d entries after %d, with at most %d events and %d bytes", len(p.Entries), seen, maxEvents, maxBytes)
				}
				size := 0
				for _, e := range p.Entries {
					size += e.JSONLen()
				}
				if size > maxBytes && len(p.Entries) > 1 {
					f.Errorf("%d entries of %d bytes after %d, at most %d wanted", len(p.Entries), size, seen, maxBytes)
				}
				// The page is as full as the bounds allow.
				end := p.Entries[len(p.Entries)-1].Seq
				if end < last && len(p.Entries) < maxEvents && size+whole[end].JSONLen() <= maxBytes {
					f.Errorf("%d entries of %d bytes after %d, though %d more would fit", len(p.Entries), size, seen, whole[end].JSONLen())
				}
				f.contiguous(p, seen)
				if p.Entries[0].Seq != seen+1 {
					f.Fatalf("after %d comes %d", seen, p.Entries[0].Seq)
				}
				seen = end
			}
		}
	}
}

// A reader beside the writer sees whole pages, and the same bytes as before.
func testReadWhileAppending(f *fixture) {
	f.create("s1", "u1")
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 300 {
			if _, err := f.store.Append(f.ctx, "s1", batchOf("some text")); err != nil {
				f.Error(err)
				return
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			var kept []protocol.Entry
			var bytesOf [][]byte
			for cursor := uint64(0); cursor < 301; {
				p, err := f.store.Read(f.ctx, "s1", cursor, 7, 1<<20)
				if err != nil {
					f.Error(err)
					return
				}
				for i, e := range p.Entries {
					if i > 0 && e.Seq != p.Entries[i-1].Seq+1 {
						f.Errorf("a hole before %d", e.Seq)
					}
					kept, bytesOf = append(kept, e), append(bytesOf, e.AppendJSON(nil))
					cursor = e.Seq
				}
			}
			// Entries that were read stay readable when the log has moved on.
			for i, e := range kept {
				if !bytes.Equal(e.AppendJSON(nil), bytesOf[i]) {
					f.Errorf("event %d changed after it was read", e.Seq)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testTrimByCount(f *fixture) {
	f.create("s1", "u1")
	f.fill("s1", 50, 10)
	f.trimmed("s1", 51)
	if p := f.all("s1"); len(p.Entries) > 10 {
		f.Errorf("%d events are kept, want at most 10", len(p.Entries))
	}
	// A batch that exceeds the bound at once.
	b := batchOf("x")
	for range 30 {
		b.Events = append(b.Events, outputs("y")...)
	}
	f.append("s1", b)
	f.trimmed("s1", 51+31)
	// The bound changes no number.
	if done := f.append("s1", batchOf("z")); done.First != 83 {
		f.Errorf("the next event is %d, want 83", done.First)
	}
}

func testTrimByBytes(f *fixture) {
	f.create("s1", "u1")
	f.fill("s1", 30, 500)
	f.trimmed("s1", 31)
	size := 0
	for _, e := range f.all("s1").Entries {
		size += e.JSONLen()
	}
	if size > 4096 {
		f.Errorf("%d bytes are kept, want at most 4096", size)
	}
	// One event that exceeds the bound alone: the last event always stays.
	f.fill("s1", 1, 10_000)
	f.trimmed("s1", 32)
	if p := f.all("s1"); len(p.Entries) != 1 || p.Entries[0].JSONLen() < 10_000 {
		f.Errorf("%d entries are kept, want the long one", len(p.Entries))
	}
	f.fill("s1", 1, 10)
	f.trimmed("s1", 33)
	if s := f.load("s1"); s.First != 33 {
		f.Errorf("the long event stayed behind a shorter one: first %d", s.First)
	}
}

// trimmed checks that the log lost only its oldest events, and that every reader is told
// the same.
func (f *fixture) trimmed(id string, last uint64) {
	f.Helper()
	s, p := f.load(id), f.all(id)
	f.contiguous(p, 0)
	if s.Last != last || p.Last != last || s.First != p.First || s.First <= 1 {
		f.Fatalf("the log goes from %d to %d, a page says %d to %d; want an end at %d", s.First, s.Last, p.First, p.Last, last)
	}
	if len(p.Entries) == 0 || p.Entries[0].First() != s.First || p.Entries[len(p.Entries)-1].Seq != last {
		f.Fatalf("%d entries of a log from %d to %d", len(p.Entries), s.First, s.Last)
	}
}
