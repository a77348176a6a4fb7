package storetest

import (
	"bytes"
	"errors"
	"strings"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// part reads a part, nil if there is none.
func (f *fixture) part(id, key string) []byte {
	f.Helper()
	data, ok, err := f.store.Part(f.ctx, id, key)
	if err != nil || ok != (data != nil) {
		f.Fatalf("part %s of %s: %d bytes, %v, %v", key, id, len(data), ok, err)
	}
	return data
}

// bytesOf holds every byte, also those that no text has.
func bytesOf(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i * 7)
	}
	return out
}

func testParts(f *fixture) {
	if _, _, err := f.store.Part(f.ctx, "s1", "k"); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("a part of no session: %v", err)
	}
	f.create("s1", "u1")
	f.create("s2", "u1")
	put := func(id string, parts []session.Part, dropped ...string) store.Batch {
		f.Helper()
		s := f.load(id)
		b := store.Batch{State: s.State, Expect: s.Version, Parts: parts, Dropped: dropped}
		if done := f.append(id, b); done.First <= done.Last || f.load(id).Last != s.Last || !f.load(id).LastActivity.Equal(s.LastActivity) {
			f.Errorf("parts are in the log, from %d to %d", done.First, done.Last)
		}
		return b
	}
	long := bytesOf(protocol.MaxContentPart)
	first := put("s1", []session.Part{{Key: "i/0", Data: long}, {Key: "i/1", Data: []byte("one")}, {Key: "an odd {key} \n/0", Data: []byte("x")}})
	if !bytes.Equal(f.part("s1", "i/0"), long) || string(f.part("s1", "i/1")) != "one" || string(f.part("s1", "an odd {key} \n/0")) != "x" {
		f.Error("a part is not what was put")
	}
	if f.part("s1", "i/2") != nil || f.part("s2", "i/0") != nil {
		f.Error("a part that was never put")
	}
	// A part is refused with its batch.
	if _, err := f.store.Append(f.ctx, "s1", first); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a batch for an older state: %v", err)
	}
	put("s1", []session.Part{{Key: "i/1", Data: []byte("two")}, {Key: "i/2", Data: []byte("gone")}}, "i/0", "i/2", "never")
	if f.part("s1", "i/0") != nil || string(f.part("s1", "i/1")) != "two" || f.part("s1", "i/2") != nil {
		f.Error("after a change and a drop")
	}
	// A part is no note, even under the same key.
	b := batchOf("a")
	b.Notes = []session.Note{{Key: "i/1", Value: "note"}}
	f.append("s1", b)
	if v, _, _, err := f.store.Note(f.ctx, "s1", "i/1"); err != nil || v != "note" || string(f.part("s1", "i/1")) != "two" {
		f.Errorf("note %q, part %q, %v", v, f.part("s1", "i/1"), err)
	}
	s := f.load("s1")
	f.append("s1", store.Batch{State: s.State, Expect: s.Version, Forget: true})
	if f.part("s1", "i/1") != nil {
		f.Error("a part outlives Forget")
	}
	put("s1", []session.Part{{Key: "i/1", Data: []byte("again")}})
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Fatal(err)
	}
	f.create("s1", "u1")
	if f.part("s1", "i/1") != nil {
		f.Error("a part outlives its session")
	}
	testPartsOfAQuestion(f)
}

// testPartsOfAQuestion takes a question through the rules on the store. No part of it
// stays, however the question ends.
func testPartsOfAQuestion(f *fixture) {
	for name, end := range map[string][]session.Input{
		"answered": {session.InApprove{
			Request: protocol.ApproveRequest{InteractionID: "i1", Decision: protocol.RejectOnce}, By: "u1",
		}},
		"cancelled":        {session.InCancel{}},
		"its turn ended":   {session.InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}}},
		"its worker lost":  {session.InLost{}},
		"its worker left":  {session.InRelease{Reason: protocol.ReleaseDraining, Retry: true}},
		"the session over": {session.InDelete{}},
	} {
		id := "q " + name
		f.assigned(id)
		for i := range 3 {
			f.change(id, session.InContent{Data: protocol.ApprovalContentData{InteractionID: "i1", Index: i, Data: []byte(strings.Repeat("x", i+1))}})
		}
		f.change(id, session.InToolApproval{
			Data: protocol.ToolApprovalData{
				InteractionID: "i1", Truncated: true, FullBytes: 6, Input: []byte("{}"),
				Options: []protocol.ApprovalOption{{OptionID: "n", Kind: protocol.RejectOnce}},
			},
			Whole: &session.Whole{Bytes: 6, Parts: 3},
		})
		// The same for a question that was about to be asked.
		f.change(id, session.InContent{Data: protocol.ApprovalContentData{InteractionID: "i2", Data: []byte("y")}})
		if string(f.part(id, "i1/2")) != "xxx" || string(f.part(id, "i2/0")) != "y" {
			f.Errorf("%s: a part is not there", name)
		}
		for _, in := range end {
			f.change(id, in)
		}
		for _, key := range []string{"i1/0", "i1/1", "i1/2"} {
			if f.part(id, key) != nil {
				f.Errorf("%s: the part %s stays", name, key)
			}
		}
		if s := f.load(id).State; len(s.Messages) == 0 && f.part(id, "i2/0") != nil {
			f.Errorf("%s: the part of what was not asked stays", name)
		}
	}
}
