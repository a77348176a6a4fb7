package disk

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// say appends so many outputs that tell their place.
func say(t testing.TB, s *Store, id string, n int) {
	t.Helper()
	for range n {
		snap, err := s.Load(t.Context(), id)
		if err == nil {
			_, err = s.Append(t.Context(), id, output(piece(id, snap.Last+1)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compact(t testing.TB, s *Store, id string, each int) {
	t.Helper()
	c, err := step(s, id, func() int { return each })
	if err == nil {
		err = s.Compact(t.Context(), id, c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// forms is the log as ranges of seqs.
func forms(entries []protocol.Entry) string {
	var out []string
	for _, e := range entries {
		if e.From == 0 {
			out = append(out, fmt.Sprint(e.Seq))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", e.From, e.Seq))
		}
	}
	return strings.Join(out, " ")
}

// A compacted log is the same behind a restart, and what retention counts in it too.
func TestCompactedOverRestart(t *testing.T) {
	for _, end := range []string{"closed", "cut"} {
		t.Run(end, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			s := open(t, mem)
			create(t, s, "s1")
			say(t, s, "s1", 250)
			compact(t, s, "s1", 100)
			say(t, s, "s1", 2)
			var fs vfs.FS = mem
			if end == "cut" {
				fs = mem.CrashClone(vfs.CrashCloneCfg{})
			}
			s.Close()
			s, err := Open(Options{Dir: "d/data", Retention: store.Retention{MaxEvents: 8}, fs: fs})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := forms(log(t, s, "s1")); got != "1 2-101 102-201 202-251 252 253" {
				t.Errorf("the log is %s", got)
			}
			if snap, _ := s.Load(t.Context(), "s1"); snap.Compacted != 251 || snap.First != 1 || snap.Last != 253 {
				t.Errorf("snapshot %+v", snap)
			}
			say(t, s, "s1", 2) // eight are there
			if got := forms(log(t, s, "s1")); got != "1 2-101 102-201 202-251 252 253 254 255" {
				t.Errorf("the log is %s", got)
			}
			say(t, s, "s1", 2)
			if got := forms(log(t, s, "s1")); got != "102-201 202-251 252 253 254 255 256 257" {
				t.Errorf("the log is %s", got)
			}
		})
	}
}

// A step does not wait for the disk. A power cut before the next sync leaves the old
// form, and whole; behind it the new one is there.
func TestCompactionIsNotSynced(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := open(t, mem)
	defer s.Close()
	create(t, s, "s1")
	create(t, s, "s2")
	say(t, s, "s1", 20)
	compact(t, s, "s1", 10)
	see := func(want string) {
		t.Helper()
		after := open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
		defer after.Close()
		if got := forms(log(t, after, "s1")); got != want {
			t.Errorf("the log is %s, want %s", got, want)
		}
		say(t, after, "s1", 1) // it goes on
		compact(t, after, "s1", 100)
	}
	const short = "1 2-11 12-21"
	if got := forms(log(t, s, "s1")); got != short {
		t.Errorf("the log is %s", got)
	}
	see("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21")
	say(t, s, "s2", 1)
	see(short)
}

// What a step reads, it reads beside the appends and the readers of the session.
func TestAppendsDoNotWaitForCompaction(t *testing.T) {
	mem := vfs.NewMem()
	s := open(t, mem)
	create(t, s, "s1")
	say(t, s, "s1", 2000)
	c, err := step(s, "s1", func() int { return 100 })
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	var held atomic.Bool
	waits, free := make(chan struct{}, 1), make(chan struct{})
	s = open(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if held.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
			select {
			case waits <- struct{}{}:
			default:
			}
			<-free
		}
		return nil
	}))) // with no text in its cache
	defer s.Close()
	held.Store(true)
	done := make(chan error)
	go func() { done <- s.Compact(t.Context(), "s1", c) }()
	<-waits
	say(t, s, "s1", 3)
	if p, err := s.Read(t.Context(), "s1", 2001, 10, 1<<20); err != nil || forms(p.Entries) != "2002 2003 2004" {
		t.Errorf("while a step reads: %s, %v", forms(p.Entries), err)
	}
	held.Store(false)
	close(free)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(log(t, s, "s1")); n != 1+20+3 {
		t.Errorf("%d events", n)
	}
}

// A reader whose head is older than what was appended and compacted meanwhile goes on
// with the new one, and does not wait for who writes.
func TestReadersDoNotWaitForCompaction(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	create(t, s, "s1")
	say(t, s, "s1", 20)
	x, calls := s.byID["s1"], 0
	err := s.steady("s1", func(_ *record, h *head) (bool, error) {
		if calls++; calls == 1 { // its head ends at 21
			say(t, s, "s1", 5)
			compact(t, s, "s1", 100)
			x.mu.Lock() // somebody writes
			return false, nil
		}
		return h.last == 26, nil
	})
	x.mu.Unlock()
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if got := forms(log(t, s, "s1")); got != "1 2-26" {
		t.Errorf("the log is %s", got)
	}
}

// What stays as it is, is not written again.
func TestCompactionWritesWhatChanges(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	create(t, s, "s1")
	say(t, s, "s1", 3)
	large := output(strings.Repeat("x", 1<<20))
	large.Events[0].Type = protocol.EventToolCall // of the tests' steps it stays
	if _, err := s.Append(t.Context(), "s1", large); err != nil {
		t.Fatal(err)
	}
	say(t, s, "s1", 3)
	before := s.db.Metrics().WAL.BytesIn
	compact(t, s, "s1", 3)
	if got := forms(log(t, s, "s1")); got != "1 2-4 5 6-8" {
		t.Errorf("the log is %s", got)
	}
	if n := s.db.Metrics().WAL.BytesIn - before; n > 4096 {
		t.Errorf("the step wrote %d bytes", n)
	}
	// An entry that is another one is written, whatever it stands for.
	say(t, s, "s1", 1)
	c, err := step(s, "s1", func() int { return 1 })
	if err != nil || len(c.Entries) != 1 {
		t.Fatal(c, err)
	}
	c.Entries[0].Tail = protocol.AppendEventTail(nil, protocol.EventOutput, time.Now(), output("another").Events[0].Data)
	if err := s.Compact(t.Context(), "s1", c); err != nil {
		t.Fatal(err)
	}
	entries := log(t, s, "s1")
	h, size := s.byID["s1"].head.Load(), 0
	for _, e := range entries {
		size += e.JSONLen()
	}
	if got := textOf(entries[len(entries)-1]); got != "another" || h.bytes != uint64(size) || h.count != 5 {
		t.Errorf("the last event is %q, the head has %d events of %d bytes; want %d", got, h.count, h.bytes, size)
	}
}

// A log with a hole is not compacted: an error tells of it.
func TestCompactionOfADamagedLog(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	create(t, s, "s1")
	say(t, s, "s1", 20)
	c, err := step(s, "s1", func() int { return 5 })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Delete(numbered(s.byID["s1"].order, dataEvent, 8), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), "s1", c); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, ErrDamaged) || errors.Is(err, store.ErrConflict) {
		t.Errorf("the error is %v", err)
	}
	if snap, err := s.Load(t.Context(), "s1"); err != nil || snap.Compacted != 0 {
		t.Errorf("%+v, %v", snap, err)
	}
	if p, err := s.Read(t.Context(), "s1", 8, 100, 1<<20); err != nil || len(p.Entries) != 13 || p.Entries[0].From != 0 {
		t.Errorf("%s, %v", forms(p.Entries), err)
	}
	for _, after := range []uint64{0, 7} {
		if _, err := s.Read(t.Context(), "s1", after, 100, 1<<20); !errors.Is(err, ErrDamaged) {
			t.Errorf("after %d the hole is %v", after, err)
		}
	}
}
