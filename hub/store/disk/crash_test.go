package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "d/data", Retention: wide, fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *Store, id string) {
	t.Helper()
	c, err := session.NewState(session.Info{SessionID: id, UserID: "u", Title: "a title"}, session.Policy{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
		t.Fatal(err)
	}
}

func output(text string) store.Batch {
	return store.Batch{Events: []session.NewEvent{{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: text, Kind: "text"})}}}
}

// decided is a message as the rules store it: a state, an event, a command, a note.
func decided(s *Store, id, message string) (store.Batch, error) {
	snap, err := s.Load(context.Background(), id)
	if err != nil {
		return store.Batch{}, err
	}
	in := session.InMessage{Data: protocol.MessageData{MessageID: message, Content: []byte(`"hi"`), UserID: "u"}, Hash: "hash of " + message}
	c, err := session.Step(snap.State, in, session.Policy{MaxQueuedMessages: 1 << 20}, time.Now())
	return store.Batch{State: c.State, Expect: snap.Version, Epoch: snap.Epoch(), Events: c.Events, Commands: c.Commands, Notes: c.Notes}, err
}

func log(t testing.TB, s *Store, id string) []protocol.Entry {
	t.Helper()
	p, err := s.Read(t.Context(), id, 0, 1<<30, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return p.Entries
}

// Over a clean end the epoch stays, over another one it changes, and each log
// remembers where each of them began.
func TestEpochs(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	create(t, s, "s1")
	first := s.epoch
	s.Close()
	s = open(t, fs)
	if s.epoch != first {
		t.Errorf("epoch %s after %s and a clean end", s.epoch, first)
	}
	if _, err := s.Append(t.Context(), "s1", output("x")); err != nil {
		t.Fatal(err)
	}
	cut := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Close()
	s = open(t, cut)
	defer s.Close()
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint([]store.EpochStart{{Epoch: first, First: 1}, {Epoch: s.epoch, First: 3}}); fmt.Sprint(snap.Epochs) != want || s.epoch == first {
		t.Errorf("epochs %v, want %s", snap.Epochs, want)
	}
}

// What ended with the process is made anew of the states: who waits, who is held, whose
// worker has how long to come back, and that everything is looked at.
func TestWhatIsMadeAnew(t *testing.T) {
	fs := vfs.NewMem()
	opt := Options{Dir: "d", Retention: wide, Lease: time.Minute, Worker: "inside", fs: fs}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	for id, worker := range map[string]string{"waits": "", "inside": "inside", "far": "far"} {
		create(t, s, id)
		b, err := decided(s, id, "m1")
		if err == nil {
			_, err = s.Append(t.Context(), id, b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if worker != "" {
			snap, _ := s.Load(t.Context(), id)
			c, err := session.Step(snap.State, session.InAssign{Worker: worker, Workspace: "ws"}, session.Policy{}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), id, store.Batch{State: c.State, Expect: snap.Version, Events: c.Events}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Close()
	opt.Worker = "another"
	if s, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if q, _ := s.Queued(t.Context(), "", "", 10); len(q) != 1 || q[0].ID != "waits" {
		t.Errorf("queue %v", q)
	}
	if held, _ := s.Held(t.Context(), "far"); !slices.Equal(held, []store.Holding{{Session: "far", Assignment: 1}}) {
		t.Errorf("held %v", held)
	}
	if left, _, _ := s.WorkerLease(t.Context(), "far"); left < 50*time.Second {
		t.Errorf("the worker that may come back has %s", left)
	}
	if left, _, _ := s.WorkerLease(t.Context(), "inside"); left != 0 {
		t.Errorf("the worker that ended with the process has %s", left)
	}
	if due, _, _ := s.TakeDue(t.Context(), 10, time.Minute); len(due) != 3 {
		t.Errorf("due %v", due)
	}
	_, err = s.Create(t.Context(), "fourth", store.Batch{State: &session.State{Info: session.Info{UserID: "u"}}}, 3)
	if !errors.Is(err, store.ErrSessionLimit) {
		t.Errorf("a fourth session of three: %v", err)
	}
}

// An fsync that fails, or a disk that is full, stops the store for good: it refuses
// everything, says so once, and what it had accepted is there when it is opened again.
func TestFailedWrite(t *testing.T) {
	for name, fault := range map[string]struct {
		op    errorfs.OpKind
		err   error
		tells string
	}{
		"fsync":     {errorfs.OpFileSyncData, syscall.EIO, "input/output error"},
		"full disk": {errorfs.OpFileWrite, syscall.ENOSPC, "the disk is full: free some space and start again"},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && strings.HasSuffix(op.Path, ".log") && (op.Kind == fault.op || op.Kind == errorfs.OpFileSync && fault.op == errorfs.OpFileSyncData) {
					return fault.err
				}
				return nil
			}))
			failed := make(chan error, 9)
			s, err := Open(Options{Dir: "d/data", Retention: wide, fs: fs, Failed: func(err error) { failed <- err }})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				create(t, s, fmt.Sprint("s", i))
			}
			var accepted [4]atomic.Uint64
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					for {
						done, err := s.Append(t.Context(), fmt.Sprint("s", i), output("x"))
						if err != nil {
							if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), fault.tells) {
								t.Errorf("the error is %v", err)
							}
							return
						}
						accepted[i].Store(done.Last)
					}
				})
			}
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprint("s", i%4)
					c, err := step(s, id, func() int { return 5 })
					if err == nil && len(c.Entries) > 0 {
						err = s.Compact(t.Context(), id, c)
					}
					if err != nil {
						if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), fault.tells) {
							t.Errorf("the error of a compaction is %v", err)
						}
						return
					}
				}
			})
			for i := range accepted {
				judge.Within(t, 5*time.Second, "each session has accepted something", func() bool { return accepted[i].Load() > 0 })
			}
			broken.Store(true)
			wg.Wait()
			broken.Store(false)
			if err := <-failed; !strings.Contains(err.Error(), fault.tells) {
				t.Errorf("told: %v", err)
			}
			if len(failed) > 0 {
				t.Errorf("told again: %v", <-failed)
			}
			for what, err := range map[string]error{
				"append": func() error { _, err := s.Append(t.Context(), "s0", output("x")); return err }(),
				"load":   func() error { _, err := s.Load(t.Context(), "s0"); return err }(),
				"list":   func() error { _, _, err := s.List(t.Context(), store.ListQuery{Limit: 1}); return err }(),
				"ready":  s.Available(""),
			} {
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s afterwards: %v", what, err)
				}
			}
			after := open(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 2))}))
			defer after.Close()
			for i := range accepted {
				next, text := uint64(1), ""
				for _, e := range log(t, after, fmt.Sprint("s", i)) {
					if e.First() != next {
						t.Errorf("session %d: event %d comes behind %d", i, e.First(), next-1)
					}
					if next = e.Seq + 1; e.Type == protocol.EventOutput {
						text += textOf(e)
					}
				}
				if next <= accepted[i].Load() || uint64(len(text)) != next-2 {
					t.Errorf("session %d: %d events were accepted, %d are there, with the text %q", i, accepted[i].Load(), next-1, text)
				}
			}
			s.Close()
		})
	}
}

// A start on a full disk ends with an error. Pebble tries for ever to write its tables,
// and a node hung there, deaf to SIGTERM.
func TestStartOnAFullDisk(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	create(t, s, "s1")
	cut := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Close()
	var full atomic.Bool
	full.Store(true)
	_, err := Open(Options{Dir: "d/data", Retention: wide, fs: errorfs.Wrap(cut, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	}))})
	if err == nil || !strings.Contains(err.Error(), "the disk is full: free some space and start again") {
		t.Errorf("the error is %v", err)
	}
	full.Store(false) // for what still waits
}
