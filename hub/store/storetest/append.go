package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func testAppendNumbers(f *fixture) {
	f.create("s1", "u1")
	f.create("s2", "u1") // numbers are each session's own
	one := f.append("s1", store.Batch{Events: outputs("a", "b", "c")})
	two := f.append("s1", store.Batch{Events: outputs("d")})
	if one.First != 2 || one.Last != 4 || two.First != 5 || two.Last != 5 {
		f.Errorf("numbered %+v and %+v, want 2 to 4 and 5", one, two)
	}
	if two.Time.Before(one.Time) {
		f.Errorf("the clock went back from %s to %s", one.Time, two.Time)
	}
	p := f.all("s1")
	f.contiguous(p, 0)
	if len(p.Entries) != 5 || p.First != 1 || p.Last != 5 {
		f.Fatalf("%d entries, %d to %d", len(p.Entries), p.First, p.Last)
	}
	for i, want := range []string{"a", "b", "c", "d"} {
		e := p.Entries[i+1]
		if got := f.text(e); got != want {
			f.Errorf("event %d is %q, want %q", e.Seq, got, want)
		}
		at := one.Time
		if want == "d" {
			at = two.Time
		}
		if got := f.decode(e).Time; !got.Equal(at.Truncate(time.Millisecond)) {
			f.Errorf("event %d has the time %s, its batch %s", e.Seq, got, at)
		}
	}
	if s := f.load("s1"); s.Last != 5 || !s.LastActivity.Equal(two.Time) {
		f.Errorf("snapshot: last %d, activity %s", s.Last, s.LastActivity)
	}
	if s := f.load("s2"); s.Last != 1 {
		f.Errorf("the other session has %d events", s.Last)
	}
	// A batch without events has no place in the log, and moves nothing.
	if none := f.append("s1", f.decide("s1", session.InCancel{})); none.Last >= none.First {
		f.Errorf("a batch without events is at %+v", none)
	}
	if s := f.load("s1"); s.Last != 5 {
		f.Errorf("a batch without events moved the end to %d", s.Last)
	}
}

func testAppendConflict(f *fixture) {
	f.create("s1", "u1")
	stale := f.decide("s1", message("m1"))
	first := f.load("s1")
	f.append("s1", f.decide("s1", message("m2")))
	after := f.load("s1")
	if after.Version != first.Version+1 {
		f.Errorf("version %d after %d", after.Version, first.Version)
	}
	if _, err := f.store.Append(f.ctx, "s1", stale); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a change of the version before: %v, want ErrConflict", err)
	}
	ahead := f.decide("s1", message("m3"))
	ahead.Expect++
	if _, err := f.store.Append(f.ctx, "s1", ahead); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a change of a version to come: %v, want ErrConflict", err)
	}
	other := f.decide("s1", message("m3"))
	other.Epoch = "another"
	if _, err := f.store.Append(f.ctx, "s1", other); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a change of a state of another epoch: %v, want ErrConflict", err)
	}
	if s := f.load("s1"); s.Version != after.Version || s.Last != after.Last {
		f.Errorf("a refused change moved the session from %+v to %+v", after, s)
	}
}

// 16 callers read, decide and write. Each message is in the log once, in the order of the
// versions.
func testAppendRace(f *fixture) {
	f.create("s1", "u1")
	const callers, each = 16, 8
	var wg sync.WaitGroup
	seqs := make([]uint64, callers*each)
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				n := c*each + i
				for {
					snap, err := f.store.Load(f.ctx, "s1")
					if err != nil {
						f.Error(err)
						return
					}
					ch, err := session.Step(snap.State, message(fmt.Sprintf("m%d", n)), policy, time.Now())
					if err != nil {
						f.Error(err)
						return
					}
					done, err := f.store.Append(f.ctx, "s1", store.Batch{
						State: ch.State, Expect: snap.Version, Events: ch.Events, Commands: ch.Commands, Notes: ch.Notes,
					})
					if errors.Is(err, store.ErrConflict) {
						continue
					}
					if err != nil {
						f.Error(err)
						return
					}
					seqs[n] = done.First
					break
				}
			}
		})
	}
	wg.Wait()
	s := f.load("s1")
	if len(s.State.Messages) != callers*each || s.State.NextCommand != callers*each {
		f.Errorf("%d messages and %d commands in the state, want %d", len(s.State.Messages), s.State.NextCommand, callers*each)
	}
	p := f.all("s1")
	f.contiguous(p, 0)
	in := make(map[uint64]string)
	for _, e := range p.Entries {
		if e.Type == protocol.EventMessage {
			var d protocol.MessageData
			if err := protocol.Decode(f.decode(e).Data, &d); err != nil {
				f.Fatal(err)
			}
			in[e.Seq] = d.MessageID
		}
	}
	if len(in) != callers*each {
		f.Errorf("%d messages in the log", len(in))
	}
	for n, seq := range seqs {
		if id := fmt.Sprintf("m%d", n); in[seq] != id {
			f.Errorf("%s was put at %d, where %q is", id, seq, in[seq])
		}
	}
	commands, err := f.store.Commands(f.ctx, "s1", 0)
	if err != nil || len(commands) != callers*each {
		f.Fatalf("%d commands, %v", len(commands), err)
	}
	for i, c := range commands {
		if c.Seq != uint64(i+1) {
			f.Fatalf("command %d has the seq %d", i, c.Seq)
		}
	}
}

// An append that changes no state leaves the version as it is, so no other decision is
// refused because of it.
func testAppendWithoutState(f *fixture) {
	f.create("s1", "u1")
	decided := f.decide("s1", message("m1"))
	f.append("s1", store.Batch{Events: outputs("a")})
	if v := f.load("s1").Version; v != decided.Expect {
		f.Errorf("version %d after an output, want %d", v, decided.Expect)
	}
	f.append("s1", decided)
}

// A refused batch leaves no part of itself.
func testAppendAtomic(f *fixture) {
	a := f.assigned("s1")
	before, commands, log := f.load("s1"), f.commands("s1", 0), f.all("s1")
	for name, b := range map[string]store.Batch{
		"conflict": {State: &session.State{}, Expect: before.Version + 7},
		"fenced":   {Fence: &store.Fence{Assignment: a + 1, N: 1}},
		"hole":     {Fence: &store.Fence{Assignment: a, N: 2}},
		"conflict behind a good fence": {
			State: &session.State{}, Expect: before.Version - 1, Fence: &store.Fence{Assignment: a, N: 1},
		},
		"fenced with a good version": {
			State: before.State, Expect: before.Version, Fence: &store.Fence{Assignment: a - 1, N: 1},
		},
	} {
		b.Events = outputs("x", "y")
		b.Commands = []session.Command{{Seq: 99, Type: protocol.WorkerCancel, Data: []byte("{}")}}
		b.Drop = []uint64{1}
		b.Notes = []session.Note{{Key: "k", Value: "v"}}
		if _, err := f.store.Append(f.ctx, "s1", b); err == nil {
			f.Fatalf("%s: it was not refused", name)
		}
		after := f.load("s1")
		if after.Last != before.Last || after.Version != before.Version || after.N != before.N || !after.LastActivity.Equal(before.LastActivity) {
			f.Errorf("%s: %+v became %+v", name, before, after)
		}
		if got := f.commands("s1", 0); len(got) != len(commands) || len(got) != 1 || got[0].Seq != commands[0].Seq {
			f.Errorf("%s: commands %+v became %+v", name, commands, got)
		}
		if p := f.all("s1"); len(p.Entries) != len(log.Entries) {
			f.Errorf("%s: the log grew", name)
		}
		if _, _, ok, err := f.store.Note(f.ctx, "s1", "k"); ok || err != nil {
			f.Errorf("%s: the note is there, %v", name, err)
		}
	}
	// The place of the worker has not moved either.
	f.append("s1", store.Batch{Events: outputs("z"), Fence: &store.Fence{Assignment: a, N: 1}})
}

// A decided state is read back the same, in every field.
func testStateIsKept(f *fixture) {
	f.assigned("s1")
	expires := time.Now().Add(time.Hour).UTC()
	b := f.decide("s1", session.InToolApproval{Data: protocol.ToolApprovalData{
		InteractionID: "i1", ToolCallID: "t1", Kind: "execute", Input: []byte(`{"n":12345678901234567890.10,"s":"<&>"}`),
		Options: []protocol.ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: protocol.AllowAlways}}, ExpiresAt: &expires,
	}})
	f.append("s1", b)
	f.change("s1", session.InApprove{Request: protocol.ApproveRequest{InteractionID: "i1", OptionID: "o1"}, By: "u1"})
	f.message("s1", "m2")
	b = f.decide("s1", session.InCancel{MessageID: "m1"})
	f.append("s1", b)
	want, err := json.Marshal(b.State)
	if err != nil {
		f.Fatal(err)
	}
	got, err := json.Marshal(f.load("s1").State)
	if err != nil {
		f.Fatal(err)
	}
	if string(got) != string(want) {
		f.Errorf("stored\n%s\nread\n%s", want, got)
	}
}

// Where no server has failed, Confirm gives what Load gives.
func testConfirm(f *fixture) {
	f.assigned("s1")
	f.create("s2", "u1")
	var wg sync.WaitGroup
	for i := range 40 { // more than a store may ask for at once
		wg.Go(func() {
			id := fmt.Sprintf("s%d", 1+i%2)
			want, err := f.store.Load(f.ctx, id)
			if err != nil {
				f.Error(err)
				return
			}
			got, err := f.store.Confirm(f.ctx, id)
			if err != nil || !reflect.DeepEqual(got, want) {
				f.Errorf("confirmed %+v, %v\nloaded %+v", got, err, want)
			}
		})
	}
	wg.Wait()
}
