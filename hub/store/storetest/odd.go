package storetest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Ids come from outside, in the path of a request. Whatever they hold, the store answers
// that there is no such session.
func testOddIDs(f *fixture) {
	f.create("s1", "u1")
	for _, id := range []string{"", "{", "}", "{}", "a{b}c", "}{", "s1 ", "s1\x00", "\x00queue", "S1", "*", "s1:session", "\xff\xfe", strings.Repeat("x", 10_000)} {
		if _, err := f.store.Load(f.ctx, id); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("load %.20q: %v, want ErrNotFound", id, err)
		}
		if _, err := f.store.Append(f.ctx, id, batchOf("x")); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("append to %.20q: %v, want ErrNotFound", id, err)
		}
		if _, err := f.store.Read(f.ctx, id, 0, 10, 1000); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("read %.20q: %v, want ErrNotFound", id, err)
		}
		if _, err := f.store.Commands(f.ctx, id, 0); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("commands of %.20q: %v, want ErrNotFound", id, err)
		}
		if _, _, _, err := f.store.Note(f.ctx, id, "k"); !errors.Is(err, session.ErrNotFound) {
			f.Errorf("note of %.20q: %v, want ErrNotFound", id, err)
		}
		f.store.Watch(id, func(store.Notice) {})()
		if err := f.store.Delete(f.ctx, id); err != nil {
			f.Errorf("delete %.20q: %v", id, err)
		}
	}
	if s := f.load("s1"); s.Last != 1 {
		f.Errorf("the session beside them has %d events", s.Last)
	}
}

// Users, keys of notes and names of buckets are any text.
func testOddNames(f *fixture) {
	for i, user := range []string{"{", "}", "u{1}", "}:sessions{", "a b", "a\x00b", "ü€😀", strings.Repeat("u", 256)} {
		id := "s" + string(rune('a'+i))
		if err := f.createAwake(id, user, 1); err != nil {
			f.Fatalf("create for %q: %v", user, err)
		}
		if err := f.createAwake(id+"2", user, 1); !errors.Is(err, store.ErrSessionLimit) {
			f.Errorf("a second one for %q: %v, want ErrSessionLimit", user, err)
		}
		if got := f.list(store.ListQuery{User: user, Limit: 10}); len(got) != 1 || got[0] != id {
			f.Errorf("sessions of %q: %v", user, got)
		}
		b := batchOf("x")
		b.Notes = []session.Note{{Key: user, Value: user}}
		done := f.append(id, b)
		if v, seq, ok, err := f.store.Note(f.ctx, id, user); v != user || seq != done.First || !ok || err != nil {
			f.Errorf("note %q: %q at %d (%v), %v", user, v, seq, ok, err)
		}
		if wait, err := f.store.TakeToken(f.ctx, "x:"+user, store.Rate{PerSecond: 0.001, Burst: 1}); wait != 0 || err != nil {
			f.Errorf("first token of %q: wait %s, %v", user, wait, err)
		}
		if wait, err := f.store.TakeToken(f.ctx, "x:"+user, store.Rate{PerSecond: 0.001, Burst: 1}); wait < 900*time.Second || wait > 1000*time.Second || err != nil {
			f.Errorf("second token of %q: wait %s, %v; want some 1000 s", user, wait, err)
		}
	}
}

// The longest events that the hub makes, several in a batch, in every script and sign. Read
// and Watch give the bytes that were appended.
func testLargeEvents(f *fixture) {
	f.create("s1", "u1")
	var mu sync.Mutex
	last := uint64(0)
	defer f.store.Watch("s1", func(n store.Notice) {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, n.Last)
	})()
	texts := []string{strings.Repeat("x", 1<<20), strings.Repeat("😀\"\\<&>\u2028", 50_000), "short", strings.Repeat("\n", 1<<16)}
	f.append("s1", batchOf(texts...))
	for i, e := range f.all("s1").Entries[1:] {
		if f.text(e) != texts[i] {
			f.Errorf("event %d has changed", e.Seq)
		}
	}
	if p := f.read("s1", 1, 10, 64<<10); len(p.Entries) != 1 {
		f.Errorf("%d events in a page that the first one fills", len(p.Entries))
	}
	f.until("a notice", func() bool {
		mu.Lock()
		told := last
		mu.Unlock()
		if told < 5 {
			f.append("s1", batchOf("again"))
		}
		return told >= 5
	})
}
