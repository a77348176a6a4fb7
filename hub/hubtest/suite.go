// Package hubtest holds every hub.Store to the text of its ports (hub/ports.go, hub/cluster.go): one suite
// that each implementation runs in its own test.
//
//	func TestStore(t *testing.T) {
//		hubtest.Run(t, func(t *testing.T, r hubtest.Retention) hub.Store { return mystore.New(...) })
//	}
package hubtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// Retention bounds each session's event log in the store under test. A bound of
// 0 is one that the test never reaches.
type Retention struct {
	MaxEvents int
	MaxBytes  int64 // of the events by JSONLen
}

// Open returns an empty store. What has to be closed is closed by t.Cleanup.
type Open func(t *testing.T, r Retention) hub.Store

// Run runs the suite. Each part opens a store of its own.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name      string
		retention Retention
		test      func(*fixture)
	}{
		{"Create", Retention{}, testCreate},
		{"CreateRace", Retention{}, testCreateRace},
		{"NotFound", Retention{}, testNotFound},
		{"AppendNumbers", Retention{}, testAppendNumbers},
		{"AppendConflict", Retention{}, testAppendConflict},
		{"AppendRace", Retention{}, testAppendRace},
		{"Confirm", Retention{}, testConfirm},
		{"AppendWithoutState", Retention{}, testAppendWithoutState},
		{"AppendAtomic", Retention{}, testAppendAtomic},
		{"StateIsKept", Retention{}, testStateIsKept},
		{"Fence", Retention{}, testFence},
		{"FenceOnly", Retention{}, testFenceOnly},
		{"FenceOfMany", Retention{}, testFenceOfMany},
		{"FenceOfNextAssignment", Retention{}, testFenceOfNextAssignment},
		{"FenceAfterClosed", Retention{}, testFenceAfterClosed},
		{"FenceRace", Retention{}, testFenceRace},
		{"Read", Retention{}, testRead},
		{"ReadBounds", Retention{}, testReadBounds},
		{"ReadWhileAppending", Retention{MaxEvents: 50}, testReadWhileAppending},
		{"TrimByCount", Retention{MaxEvents: 10}, testTrimByCount},
		{"TrimByBytes", Retention{MaxBytes: 4096}, testTrimByBytes},
		{"Commands", Retention{}, testCommands},
		{"Notes", Retention{MaxEvents: 5}, testNotes},
		{"Watch", Retention{}, testWatch},
		{"WatchStop", Retention{}, testWatchStop},
		{"List", Retention{}, testList},
		{"ListFilters", Retention{}, testListFilters},
		{"ListBadCursor", Retention{}, testListBadCursor},
		{"Delete", Retention{}, testDelete},
		{"SessionLimit", Retention{}, testSessionLimit},
		{"SessionLimitRace", Retention{}, testSessionLimitRace},
		{"Forget", Retention{}, testForget},
		{"TokenBucket", Retention{}, testTokenBucket},
		{"OddIDs", Retention{}, testOddIDs},
		{"OddNames", Retention{}, testOddNames},
		{"LargeEvents", Retention{}, testLargeEvents},
		{"Due", Retention{}, testDue},
		{"DueHides", Retention{}, testDueHides},
		{"DueSettle", Retention{}, testDueSettle},
		{"DueArmedMeanwhile", Retention{}, testDueArmedMeanwhile},
		{"DueRace", Retention{}, testDueRace},
		{"Queue", Retention{}, testQueue},
		{"QueueIsFair", Retention{}, testQueueIsFair},
		{"QueueWatch", Retention{}, testQueueWatch},
		{"Census", Retention{}, testCensus},
		{"WorkerLease", Retention{}, testWorkerLease},
		{"WorkerLapses", Retention{}, testWorkerLapses},
		{"Held", Retention{}, testHeld},
		{"Slots", Retention{}, testSlots},
		{"SlotsRace", Retention{}, testSlotsRace},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(&fixture{T: t, store: open(t, part.retention), ctx: t.Context()})
		})
	}
}

// policy is what the suite's states are made with.
var policy = hub.Policy{MaxQueuedMessages: 1000, ApprovalTimeout: time.Hour}

// fixture is one part of the suite with its store.
type fixture struct {
	*testing.T
	store hub.Store
	ctx   context.Context
}

// create makes a session with its first event, as the hub does.
func (f *fixture) create(id, user string) hub.Appended {
	f.Helper()
	done, err := f.store.Create(f.ctx, id, firstBatch(f.T, id, user), 0)
	if err != nil {
		f.Fatalf("create %s: %v", id, err)
	}
	return done
}

func firstBatch(t *testing.T, id, user string) hub.Batch {
	t.Helper()
	info := hub.Info{
		SessionID: id, UserID: user, Provider: "demo", WorkingDirectory: "/w", Title: "a title",
		Metadata: []byte(`{"a":1}`), CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	c, err := hub.NewState(info, policy, info.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	return hub.Batch{State: c.State, Events: c.Events}
}

func (f *fixture) load(id string) hub.Snapshot {
	f.Helper()
	s, err := f.store.Load(f.ctx, id)
	if err != nil {
		f.Fatalf("load %s: %v", id, err)
	}
	return s
}

// decide is what the rules make of an input in the session's present state.
func (f *fixture) decide(id string, in hub.Input) hub.Batch {
	f.Helper()
	snap := f.load(id)
	c, err := hub.Step(snap.State, in, policy, time.Now().UTC())
	if err != nil {
		f.Fatalf("%T: %v", in, err)
	}
	return hub.Batch{State: c.State, Expect: snap.Version, Epoch: snap.Epoch(), Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes}
}

// change decides and appends.
func (f *fixture) change(id string, in hub.Input) hub.Appended {
	f.Helper()
	return f.append(id, f.decide(id, in))
}

func (f *fixture) append(id string, b hub.Batch) hub.Appended {
	f.Helper()
	done, err := f.store.Append(f.ctx, id, b)
	if err != nil {
		f.Fatalf("append to %s: %v", id, err)
	}
	return done
}

func (f *fixture) message(id, messageID string) hub.Appended {
	f.Helper()
	return f.change(id, message(messageID))
}

func message(id string) hub.InMessage {
	return hub.InMessage{Data: protocol.MessageData{MessageID: id, Content: []byte(`"hi"`), UserID: "u1"}, Hash: "hash of " + id}
}

// assigned makes a session with a message that a worker has, and returns the
// assignment.
func (f *fixture) assigned(id string) uint64 {
	f.Helper()
	f.create(id, "u1")
	f.message(id, "m1")
	f.change(id, hub.InAssign{Worker: "w1", Workspace: "ws"})
	return f.load(id).State.Assignment
}

func outputs(texts ...string) []hub.NewEvent {
	var out []hub.NewEvent
	for _, s := range texts {
		out = append(out, hub.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: s, Kind: "text"})})
	}
	return out
}

// fill appends n outputs of size bytes of text, one batch each.
func (f *fixture) fill(id string, n, size int) {
	f.Helper()
	for i := range n {
		f.append(id, hub.Batch{Events: outputs(fmt.Sprintf("%d %s", i, strings.Repeat("x", size)))})
	}
}

func (f *fixture) read(id string, after uint64, maxEvents, maxBytes int) hub.Page {
	f.Helper()
	p, err := f.store.Read(f.ctx, id, after, maxEvents, maxBytes)
	if err != nil {
		f.Fatalf("read %s after %d: %v", id, after, err)
	}
	return p
}

// all reads the whole log in one page.
func (f *fixture) all(id string) hub.Page { f.Helper(); return f.read(id, 0, 1<<20, 1<<30) }

// decode reads an entry as a client does.
func (f *fixture) decode(e protocol.Entry) protocol.Event {
	f.Helper()
	var out protocol.Event
	if err := protocol.Decode(e.AppendJSON(nil), &out); err != nil {
		f.Fatalf("entry %d is no event: %v: %s", e.Seq, err, e.AppendJSON(nil))
	}
	if out.Seq != e.Seq || out.Type != e.Type {
		f.Fatalf("entry %d %s says it is %d %s", e.Seq, e.Type, out.Seq, out.Type)
	}
	return out
}

func (f *fixture) text(e protocol.Entry) string {
	f.Helper()
	var d protocol.OutputData
	if err := protocol.Decode(f.decode(e).Data, &d); err != nil {
		f.Fatal(err)
	}
	return d.Text
}

// contiguous fails unless entries follow each other and stand between after and
// the page's end.
func (f *fixture) contiguous(p hub.Page, after uint64) {
	f.Helper()
	for i, e := range p.Entries {
		if i > 0 && e.First() != p.Entries[i-1].Seq+1 {
			f.Fatalf("entry %d comes after %d", e.First(), p.Entries[i-1].Seq)
		}
		if e.Seq <= after || e.Seq > p.Last || e.First() < p.First && e.From == 0 {
			f.Fatalf("entry %d in a page after %d of a log from %d to %d", e.Seq, after, p.First, p.Last)
		}
	}
}
