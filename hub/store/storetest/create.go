package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func testCreate(f *fixture) {
	before := time.Now().Add(-time.Minute)
	done := f.create("s1", "u1")
	if done.First != 1 || done.Last != 1 || done.Time.Before(before) {
		f.Errorf("created with %+v, want the event 1", done)
	}
	s := f.load("s1")
	if s.First != 1 || s.Last != 1 || s.N != 0 || len(s.Epochs) == 0 || s.Epochs[0].First != 1 || s.Epoch() == "" {
		f.Errorf("snapshot %+v", s)
	}
	if s.State == nil || s.State.Info.SessionID != "s1" || s.State.Info.UserID != "u1" || string(s.State.Info.Metadata) != `{"a":1}` {
		f.Errorf("state %+v", s.State)
	}
	if !s.LastActivity.Equal(done.Time) {
		f.Errorf("last activity %s, created %s", s.LastActivity, done.Time)
	}
	c := protocol.Cursor{Epoch: s.Epoch(), Seq: s.Last}
	if again, err := protocol.ParseCursor(c.String()); err != nil || again != c {
		f.Errorf("the epoch %q makes no cursor: %v", s.Epoch(), err)
	}

	// The id is taken, whoever asks, and the first session is left alone.
	if _, err := f.store.Create(f.ctx, "s1", firstBatch(f.T, "s1", "u2"), 0); !errors.Is(err, store.ErrExists) {
		f.Errorf("created twice: %v, want ErrExists", err)
	}
	if again := f.load("s1"); again.State.Info.UserID != "u1" || again.Version != s.Version || again.Last != 1 {
		f.Errorf("a refused create changed the session: %+v", again)
	}

	// A session can be created with parts (see session.MCPPart).
	batch := firstBatch(f.T, "s2", "u1")
	batch.Parts = []session.Part{{Key: "k", Data: []byte("a part")}}
	if _, err := f.store.Create(f.ctx, "s2", batch, 0); err != nil || string(f.part("s2", "k")) != "a part" {
		f.Errorf("created with %q, %v", f.part("s2", "k"), err)
	}
}

func testCreateRace(f *fixture) {
	var won atomic.Int32
	var wg sync.WaitGroup
	batch := firstBatch(f.T, "s1", "u1")
	for range 16 {
		wg.Go(func() {
			switch _, err := f.store.Create(f.ctx, "s1", batch, 0); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrExists):
				f.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		f.Errorf("%d creates won, want 1", won.Load())
	}
	if p := f.all("s1"); len(p.Entries) != 1 || p.Last != 1 {
		f.Errorf("the log has %d events, want 1", len(p.Entries))
	}
}

func testNotFound(f *fixture) {
	_, load := f.store.Load(f.ctx, "none")
	_, confirm := f.store.Confirm(f.ctx, "none")
	_, app := f.store.Append(f.ctx, "none", store.Batch{Events: outputs("x")})
	_, fenced := f.store.Append(f.ctx, "none", store.Batch{Fence: &store.Fence{Assignment: 1, N: 1}})
	_, read := f.store.Read(f.ctx, "none", 0, 10, 1000)
	_, commands := f.store.Commands(f.ctx, "none", 0)
	_, _, _, note := f.store.Note(f.ctx, "none", "m:m1")
	for name, err := range map[string]error{
		"load": load, "confirm": confirm, "append": app, "fenced append": fenced, "read": read, "commands": commands, "note": note,
	} {
		if !errors.Is(err, session.ErrNotFound) {
			f.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	f.store.Watch("none", func(store.Notice) {})() // a hint about nothing
	if err := f.store.Delete(f.ctx, "none"); err != nil {
		f.Errorf("deleting nothing: %v", err)
	}
}

func testDelete(f *fixture) {
	f.assigned("s1")
	f.create("s2", "u1")
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Fatal(err)
	}
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Errorf("deleting twice: %v", err)
	}
	if _, err := f.store.Load(f.ctx, "s1"); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("load of a deleted session: %v", err)
	}
	if _, err := f.store.Append(f.ctx, "s1", store.Batch{Events: outputs("late"), Fence: &store.Fence{Assignment: 1, N: 1}}); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("append to a deleted session: %v", err)
	}
	got, _, err := f.store.List(f.ctx, store.ListQuery{Limit: 10})
	if err != nil || len(got) != 1 || got[0].State.Info.SessionID != "s2" {
		f.Errorf("listed %d sessions, %v; want s2", len(got), err)
	}
	// The id is free, and nothing of the first session is left.
	f.create("s1", "u2")
	if s := f.load("s1"); s.Last != 1 || s.N != 0 || s.State.Assignment != 0 {
		f.Errorf("the new session has %+v", s)
	}
	if c, err := f.store.Commands(f.ctx, "s1", 0); err != nil || len(c) != 0 {
		f.Errorf("the new session has commands %+v, %v", c, err)
	}
	if _, _, ok, err := f.store.Note(f.ctx, "s1", "m:m1"); ok || err != nil {
		f.Errorf("the new session has the note of the old one, %v", err)
	}
}
