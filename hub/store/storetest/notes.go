package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func batchOf(texts ...string) store.Batch { return store.Batch{Events: outputs(texts...)} }

func (f *fixture) commands(id string, after uint64) []session.Command {
	f.Helper()
	c, err := f.store.Commands(f.ctx, id, after)
	if err != nil {
		f.Fatalf("commands of %s after %d: %v", id, after, err)
	}
	return c
}

func (f *fixture) wantCommands(id string, after uint64, want ...uint64) {
	f.Helper()
	var got []uint64
	for _, c := range f.commands(id, after) {
		got = append(got, c.Seq)
	}
	if !slices.Equal(got, want) {
		f.Errorf("commands after %d: %v, want %v", after, got, want)
	}
}

func testCommands(f *fixture) {
	f.create("s1", "u1")
	f.wantCommands("s1", 0)
	put := func(drop []uint64, seqs ...uint64) {
		b := store.Batch{Drop: drop}
		for _, n := range seqs {
			b.Commands = append(b.Commands, session.Command{Seq: n, Type: protocol.WorkerCancel, Data: fmt.Appendf(nil, `{"messageId":"m%d"}`, n)})
		}
		s := f.load("s1")
		b.State, b.Expect = s.State, s.Version
		f.append("s1", b)
	}
	put(nil, 1, 2, 3)
	put(nil, 4)
	f.wantCommands("s1", 0, 1, 2, 3, 4)
	f.wantCommands("s1", 2, 3, 4)
	f.wantCommands("s1", 4)
	f.wantCommands("s1", 99)
	put([]uint64{2, 4}, 5)
	f.wantCommands("s1", 0, 1, 3, 5)
	put([]uint64{2, 77}) // gone already, or never there: no error
	f.wantCommands("s1", 1, 3, 5)
	put([]uint64{6}, 6) // made and finished in one step
	f.wantCommands("s1", 0, 1, 3, 5)
	put([]uint64{1, 3, 5})
	f.wantCommands("s1", 0)

	f.message("s1", "m1")
	c := f.commands("s1", 0)
	if len(c) != 1 || c[0].Type != protocol.WorkerMessage || string(c[0].Data) != `{"messageId":"m1","content":"hi","userId":"u1"}` {
		f.Errorf("a message's command is %+v", c)
	}
}

func testNotes(f *fixture) {
	f.create("s1", "u1")
	note := func(key string) (string, uint64, bool) {
		f.Helper()
		v, seq, ok, err := f.store.Note(f.ctx, "s1", key)
		if err != nil {
			f.Fatal(err)
		}
		snap, n, err := f.store.LoadNote(f.ctx, "s1", key)
		if want := (store.Noted{Value: v, Seq: seq, OK: ok}); err != nil || n != want {
			f.Errorf("note %s with its session: %+v, %v, want %+v", key, n, err, want)
		}
		if now := f.load("s1"); !reflect.DeepEqual(snap, now) {
			f.Errorf("a session with a note is %+v, and %+v without", snap, now)
		}
		return v, seq, ok
	}
	if _, _, err := f.store.LoadNote(f.ctx, "none", "k"); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("of a session that is not there: %v", err)
	}
	if _, _, ok := note("k"); ok {
		f.Error("a note before it was written")
	}
	b := batchOf("a", "b", "c")
	b.Notes = []session.Note{{Key: "k0", Value: "v0"}, {Key: "k2", Value: "a value with spaces", Event: 2}, {Key: "e", Value: "", Event: 1}}
	done := f.append("s1", b)
	for key, want := range map[string]struct {
		value string
		seq   uint64
	}{"k0": {"v0", done.First}, "k2": {"a value with spaces", done.First + 2}, "e": {"", done.First + 1}} {
		if v, seq, ok := note(key); !ok || v != want.value || seq != want.seq {
			f.Errorf("note %s: %q at %d (%v), want %q at %d", key, v, seq, ok, want.value, want.seq)
		}
	}
	// Notes outlive the events that they name: they stay for the session's whole life.
	f.fill("s1", 20, 10)
	if first := f.load("s1").First; first <= done.Last {
		f.Fatalf("the log was not trimmed: first %d", first)
	}
	if v, seq, ok := note("k2"); !ok || v != "a value with spaces" || seq != done.First+2 {
		f.Errorf("after the trim: %q at %d (%v)", v, seq, ok)
	}
	// A later one of the same key replaces it.
	b = batchOf("d")
	b.Notes = []session.Note{{Key: "k0", Value: "v1"}}
	done = f.append("s1", b)
	if v, seq, _ := note("k0"); v != "v1" || seq != done.First {
		f.Errorf("replaced: %q at %d", v, seq)
	}
}
