package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// create makes a session with its first event, as the hub does.
func (f *fixture) create(id, user string) store.Appended {
	f.Helper()
	done, err := f.store.Create(f.ctx, id, firstBatch(f.T, id, user), 0)
	if err != nil {
		f.Fatalf("create %s: %v", id, err)
	}
	return done
}

func firstBatch(t *testing.T, id, user string) store.Batch {
	t.Helper()
	info := session.Info{
		SessionID: id, UserID: user, Provider: "demo", WorkingDirectory: "/w", Title: "a title",
		Metadata: []byte(`{"a":1}`), CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	c, err := session.NewState(info, policy, info.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	return store.Batch{State: c.State, Events: c.Events}
}

func (f *fixture) load(id string) store.Snapshot {
	f.Helper()
	s, err := f.store.Load(f.ctx, id)
	if err != nil {
		f.Fatalf("load %s: %v", id, err)
	}
	return s
}

// decide returns the batch that the rules make of an input in the session's present state.
func (f *fixture) decide(id string, in session.Input) store.Batch {
	f.Helper()
	snap := f.load(id)
	c, err := session.Step(snap.State, in, policy, time.Now().UTC())
	if err != nil {
		f.Fatalf("%T: %v", in, err)
	}
	return store.Batch{State: c.State, Expect: snap.Version, Epoch: snap.Epoch(), Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes, Parts: c.Parts, Dropped: c.Dropped}
}

// change decides and appends.
func (f *fixture) change(id string, in session.Input) store.Appended {
	f.Helper()
	return f.append(id, f.decide(id, in))
}

func (f *fixture) append(id string, b store.Batch) store.Appended {
	f.Helper()
	done, err := f.store.Append(f.ctx, id, b)
	if err != nil {
		f.Fatalf("append to %s: %v", id, err)
	}
	return done
}

func (f *fixture) message(id, messageID string) store.Appended {
	f.Helper()
	return f.change(id, message(messageID))
}

func message(id string) session.InMessage {
	return session.InMessage{Data: protocol.MessageData{MessageID: id, Content: []byte(`"hi"`), UserID: "u1"}, Hash: "hash of " + id}
}

// assigned makes a session with a message that a worker has. It returns the assignment.
func (f *fixture) assigned(id string) uint64 {
	f.Helper()
	f.create(id, "u1")
	f.message(id, "m1")
	f.change(id, session.InAssign{Worker: "w1", Workspace: "ws"})
	return f.load(id).State.Assignment
}

func outputs(texts ...string) []session.NewEvent {
	var out []session.NewEvent
	for _, s := range texts {
		out = append(out, session.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: s, Kind: "text"})})
	}
	return out
}

// fill appends n outputs of size bytes of text, one batch each.
func (f *fixture) fill(id string, n, size int) {
	f.Helper()
	for i := range n {
		f.append(id, store.Batch{Events: outputs(fmt.Sprintf("%d %s", i, strings.Repeat("x", size)))})
	}
}
