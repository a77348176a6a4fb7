package storetest

import (
	"bytes"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// testAttachments adds files to a session by the rules. They stay while it lives, whatever
// happens in it, and go with it.
func testAttachments(f *fixture) {
	id := "attached"
	f.assigned(id)
	long := bytesOf(3*protocol.AttachmentPartBytes + 1)
	f.change(id, session.InAttach{ID: "f_1", Name: "a.bin", MediaType: "application/octet-stream", Data: long, MaxBytes: 1 << 30})
	f.change(id, session.InAttach{ID: "f_2", Name: "b", MediaType: "text/plain", Data: []byte("b"), MaxBytes: 1 << 30})
	read := func(attachment string, parts int) []byte {
		var all []byte
		for i := range parts {
			part, err := store.ReadAttachment(f.ctx, f.store, id, attachment, i)
			if err != nil {
				f.Errorf("attachment %s: %v", attachment, err)
			}
			all = append(all, part...)
		}
		return all
	}
	check := func(when string) {
		f.Helper()
		s := f.load(id).State
		if len(s.Attachments) != 2 || s.Attachments[0].Parts != 4 || s.Attachments[0].Size != int64(len(long)) {
			f.Errorf("%s: the state has %+v", when, s.Attachments)
		}
		if !bytes.Equal(read("f_1", 4), long) || string(read("f_2", 1)) != "b" {
			f.Errorf("%s: the bytes are others", when)
		}
	}
	check("added")
	f.change(id, session.InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}})
	f.change(id, session.InRelease{Reason: protocol.ReleaseIdle, Retry: true})
	check("the worker has left")
	f.change(id, session.InDelete{})
	check("deleted, and streams read on")
	s := f.load(id)
	f.append(id, store.Batch{State: s.State, Expect: s.Version, Forget: true})
	if f.part(id, session.AttachmentKey("f_1", 0)) != nil || f.part(id, session.AttachmentKey("f_2", 0)) != nil {
		f.Error("the bytes outlive their session")
	}
}
