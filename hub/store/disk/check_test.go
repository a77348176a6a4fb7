package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/session"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// fill makes a store with all that a session can have, and gives its logs.
func fill(t *testing.T, s *Store) (logs map[string][]protocol.Entry) {
	t.Helper()
	logs = make(map[string][]protocol.Entry)
	for i := range 3 {
		id := fmt.Sprint("s", i)
		create(t, s, id)
		b, err := decided(s, id, "m1")
		if err == nil {
			_, err = s.Append(t.Context(), id, b)
		}
		for n := 0; n < 12 && err == nil; n++ {
			_, err = s.Append(t.Context(), id, output(strings.Repeat("text ", n)))
		}
		if err != nil {
			t.Fatal(err)
		}
		logs[id] = log(t, s, id)
	}
	create(t, s, "gone")
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	return logs
}

// A store without a fault has none, whichever way it ended, and a check changes nothing
// in it: no file, no byte. What somebody uses is not checked.
func TestCheck(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	logs := fill(t, s)
	root := t.TempDir()
	killed, flushed, closed := filepath.Join(root, "killed"), filepath.Join(root, "flushed"), filepath.Join(root, "closed")
	unpack(t, fs.CrashClone(vfs.CrashCloneCfg{}), killed)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	unpack(t, fs.CrashClone(vfs.CrashCloneCfg{}), flushed)
	s.Close()
	unpack(t, fs, closed)
	events, bytes := 0, int64(0)
	for _, log := range logs {
		for _, e := range log {
			events++
			bytes += int64(len(e.AppendJSON(nil)))
		}
	}
	for path, clean := range map[string]bool{closed: true, killed: false, flushed: false} {
		before := files(t, vfs.Default, path)
		c, all := faults(t, path)
		if len(all) > 0 || c.Faults != 0 || c.Sessions != 3 || c.Events != events || c.Bytes != bytes || c.Clean != clean || c.Format != 1 || c.Files == 0 {
			t.Errorf("%+v, want %d events of %d bytes; faults %v", c, events, bytes, all)
		}
		if now := same(before, files(t, vfs.Default, path)); now != "" {
			t.Error(now)
		}
		again := openAt(t, path, nil)
		if _, err := Check(t.Context(), path, func(Fault) {}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "`sessionhub backup` makes a copy that can be checked") {
			t.Errorf("of a store in use: %v", err)
		}
		for id, want := range logs {
			if got := log(t, again, id); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s has %d events of %d", id, len(got), len(want))
			}
		}
		again.Close()
	}
	fresh := t.TempDir()
	write(t, filepath.Join(fresh, formatFile), "1\n")
	if err := os.Mkdir(filepath.Join(fresh, dataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if c, all := faults(t, fresh); len(all) > 0 || c.Sessions != 0 {
		t.Errorf("a store whose making was cut short: %+v, %v", c, all)
	}
}

// Each thing that does not fit is found, with the session that has it.
func TestFaultsThatCheckFinds(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	logs := fill(t, s)
	order := s.byID["s1"].order
	h := *s.byID["s1"].head.Load()
	last := h.last
	s.Close()
	changed := func(change func(h *head)) []byte {
		h := h
		change(&h)
		return h.append(nil)
	}
	state := func(change func(*session.State)) []byte {
		st := *h.state
		change(&st)
		return protocol.Marshal(st)
	}
	who := func(change func(*identity)) []byte {
		x := identity{ID: "s1", Epochs: append(h.epochs[:0:0], h.epochs...)}
		change(&x)
		return protocol.Marshal(x)
	}
	event := appendEvent(nil, logs["s1"][4])
	for _, c := range []struct {
		name  string
		whose string
		key   []byte
		value []byte // nil: it goes
		text  string
	}{
		{"an event is gone", "s1", numbered(order, dataEvent, 5), nil, "events 5 to 5 are not there"},
		{"the first event is gone", "s1", numbered(order, dataEvent, 1), nil, "events 1 to 1 are not there"},
		{"the last event is gone", "s1", numbered(order, dataEvent, last), nil, fmt.Sprintf("events %d to %d are not there", last, last)},
		{"one event too many", "s1", numbered(order, dataEvent, last+1), event, fmt.Sprintf("event %d is there, and the last one is %d", last+1, last)},
		{"an event below the first", "s1", key(kindHead, order), changed(func(h *head) { h.first = 3 }), "event 1 is there, where 3 has to come"},
		{"an event of no length", "s1", numbered(order, dataEvent, 5), []byte{}, "event 5: it ends too early"},
		{"an event that is no JSON", "s1", numbered(order, dataEvent, 5), event[:len(event)-1], "event 5 is no JSON"},
		{"another event", "s1", numbered(order, dataEvent, 6), event, "bytes, and its head says"},
		{"a short key", "s1", append(key(kindData, order), dataEvent, 1), event, "an event: it ends too early"},
		{"an unknown key", "s1", named(order, 'x', "y"), event, `a key of an unknown kind, 'x'`},
		{"the command of a message is gone", "s1", numbered(order, dataCommand, 1), nil, `the command of message "m1" is not there`},
		{"a command of no length", "s1", numbered(order, dataCommand, 1), []byte{}, "command 1: it ends too early"},
		{"a command too many", "s1", numbered(order, dataCommand, 9), encodeCommand(1, session.Command{Type: "message", Data: []byte("{}")}), "command 9 is there, and the last one is 1"},
		{"a command of later", "s1", numbered(order, dataCommand, 1), encodeCommand(99, session.Command{Type: "message", Data: []byte("{}")}), "stored with append 99"},
		{"the note of a message is gone", "s1", named(order, dataNote, session.MessageNote("m1")), nil, `the note of message "m1" is not there`},
		{"a note of no length", "s1", named(order, dataNote, "x"), []byte{}, `note "x": it ends too early`},
		{"a note of a later event", "s1", named(order, dataNote, "x"), encodeNote(1, 99, "v"), `note "x" is of event 99`},
		{"a part of a question is gone", "s1", key(kindState, order), state(func(s *session.State) {
			s.Approvals = []session.PendingApproval{{Data: protocol.ToolApprovalData{InteractionID: "q"}, Whole: &session.Whole{Parts: 1}}}
		}), `part 0 of question "q" is not there`},
		{"a part of an attachment is gone", "s1", key(kindState, order), state(func(s *session.State) {
			s.Attachments = []session.Attachment{{ID: "f", Parts: 1}}
		}), `part 0 of attachment "f" is not there`},
		{"bytes", "s1", key(kindHead, order), changed(func(h *head) { h.bytes++ }), "bytes, and its head says"},
		{"a head of no length", "s1", key(kindHead, order), []byte{}, "its head does not decode"},
		{"no head", "s1", key(kindHead, order), nil, "its head: it is not there"},
		{"a head whose end is before its beginning", "s1", key(kindHead, order), changed(func(h *head) { h.first = h.last + 2 }), "its head says that events"},
		{"no state", "s1", key(kindState, order), nil, "its state: it is not there"},
		{"a state that is none", "s1", key(kindState, order), []byte("{"), "its state does not decode"},
		{"the state of another one", "s1", key(kindState, order), state(func(s *session.State) { s.Info.SessionID = "s2" }), `its state is of session "s2"`},
		{"no epoch", "s1", key(kindIdentity, order), who(func(x *identity) { x.Epochs = nil }), "it has no epoch"},
		{"another epoch", "s1", key(kindIdentity, order), who(func(x *identity) { x.Epochs[0].Epoch = "other" }), `it is in the epoch "other"`},
		{"an epoch of the future", "s1", key(kindIdentity, order), who(func(x *identity) { x.Epochs[0].First = 99 }), "begins with event 99"},
		{"an id that is there twice", "s2", key(kindIdentity, order), who(func(x *identity) { x.ID = "s2" }), "there are two sessions with this id"},
		{"an identity that is none", fmt.Sprint("number ", order), key(kindIdentity, order), []byte("{"), "its identity does not decode"},
		{"no identity", "", key(kindIdentity, order), nil, fmt.Sprintf("something of the kind 'd' of session number %d, which does not exist", order)},
		{"events of nobody", "", numbered(99, dataEvent, 1), event, "of session number 99, which does not exist"},
		{"a head of nobody", "", key(kindHead, 99), h.append(nil), "of session number 99, which does not exist"},
		{"an unknown kind", "", []byte("zzz"), []byte("x"), "a key of an unknown kind, 'z'"},
		{"a short key of a kind", "", []byte{kindHead, 1}, []byte("x"), "has 2 bytes"},
		{"no epoch of the store", "", metaKey(metaEpoch), nil, "what was stored last before a clean end is not there"},
		{"another mark", "", metaKey(metaClosed), []byte("x"), "what was stored last before a clean end is not there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := t.TempDir()
			unpack(t, fs, bad)
			db, err := pebble.Open(filepath.Join(bad, dataDir), &pebble.Options{Logger: quiet{}})
			if err != nil {
				t.Fatal(err)
			}
			if c.value == nil {
				err = db.Delete(c.key, pebble.Sync)
			} else {
				err = db.Set(c.key, c.value, pebble.Sync)
			}
			if err = errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			got, all := faults(t, bad)
			found := false
			for _, f := range all {
				found = found || f.Session == c.whose && strings.Contains(f.What, c.text)
				if f.Do == "" {
					t.Errorf("nobody is told what to do about %q", f.What)
				}
			}
			if !found || got.Faults < len(all) {
				t.Errorf("%d faults: %v", got.Faults, all)
			}
		})
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// Of very many faults only some are told, and the rest is counted.
func TestManyFaults(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	create(t, s, "s1")
	for range 50 {
		if _, err := s.Append(t.Context(), "s1", output("x")); err != nil {
			t.Fatal(err)
		}
	}
	order := s.byID["s1"].order
	for seq := uint64(2); seq < 50; seq += 2 {
		if err := s.db.Delete(numbered(order, dataEvent, seq), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	var all []Fault
	c, err := check(t.Context(), Options{Dir: "d/data", fs: fs}, func(f Fault) { all = append(all, f) })
	if err != nil || c.Faults != 26 || len(all) != maxSaid+1 || !strings.Contains(all[maxSaid].What, "16 more faults") {
		t.Errorf("%d faults, %v: %v", c.Faults, err, all)
	}
}

// A bit flips here and there in a small store. Where a check finds nothing, nothing
// is missing, except for the end of a log that was not closed; what a start refuses, a
// check does not call sound.
func TestCheckFindsFlippedBits(t *testing.T) {
	apart := 31
	if judge.Raced {
		apart = 311
	}
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			s := open(t, fs)
			logs := fill(t, s)
			epoch := s.epoch
			var whole map[string][]byte
			if end == "killed" {
				whole = files(t, fs.CrashClone(vfs.CrashCloneCfg{}), "d")
				s.Close()
			} else {
				s.Close()
				whole = files(t, fs, "d")
			}
			sound, found, missing, first := 0, 0, 0, ""
			for path, b := range whole {
				for at := 0; at < len(b); at += apart {
					b[at] ^= 1 << (at % 8)
					flipped, checked := put(t, whole), put(t, whole)
					b[at] ^= 1 << (at % 8)
					c, err := check(t.Context(), Options{Dir: "d/data", fs: checked}, func(f Fault) { first = cmp.Or(first, f.What) })
					if err != nil || c.Faults > 0 {
						if found == 0 {
							t.Logf("%s, byte %d: %s, %v", path, at, first, err)
						}
						found++
						continue
					}
					sound++
					s, err := Open(Options{Dir: "d/data", Retention: wide, fs: flipped})
					if err != nil {
						t.Fatalf("%s, byte %d: a check finds nothing, and a start says %v", path, at, err)
					}
					less := 0
					for id, want := range logs {
						p, err := s.Read(t.Context(), id, 0, 1<<30, 1<<40)
						if err != nil {
							less = len(want)
							continue
						}
						less += len(want) - len(p.Entries)
						for i, e := range p.Entries {
							if string(e.AppendJSON(nil)) != string(want[i].AppendJSON(nil)) {
								t.Fatalf("%s, byte %d: event %d of %s is another one", path, at, e.Seq, id)
							}
						}
					}
					if less > 0 && (end == "closed" || s.epoch == epoch) || less > 2 {
						t.Fatalf("%s, byte %d: a check finds nothing, and %d events are missing", path, at, less)
					}
					missing = max(missing, less)
					s.Close()
				}
			}
			t.Logf("%d times a fault, %d times none", found, sound)
			if found == 0 || sound == 0 {
				t.Errorf("%d times a fault, %d times none", found, sound)
			}
		})
	}
}
