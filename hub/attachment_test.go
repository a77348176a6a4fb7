package hub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

const png = "\x89PNG\r\n\x1a\n"

// attaching bounds attachments to 4 MiB, and those of a session to 6 MiB.
func attaching(c *hub.Config) { c.MaxAttachmentBytes, c.MaxAttachmentsBytes = 4<<20, 6<<20 }

func (w *world) attach(id, name, data string) protocol.Attachment {
	w.t.Helper()
	a, err := w.hub.Attach(w.ctx, id, name, "", []byte(data))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) sayWith(id, messageID string, attachments ...string) error {
	blocks := []protocol.AttachmentBlock{}
	for _, a := range attachments {
		blocks = append(blocks, protocol.AttachmentBlock{Type: protocol.BlockAttachment, AttachmentID: a})
	}
	_, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: protocol.Marshal(blocks), MessageID: messageID}, hub.Admission{})
	return err
}

func taking(worker string, sessions ...protocol.HelloSession) protocol.Hello {
	h := hello(worker, sessions...)
	h.Attachments = true
	return h
}

// parts are the attachment frames that the worker has, by attachment; it forgets nothing.
func (p *peer) parts() map[string]string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := make(map[string]string)
	for _, f := range p.frames {
		var a protocol.WorkerAttachment
		if f.Type != protocol.FrameAttachment {
			continue
		}
		if err := json.Unmarshal(f.Data, &a); err != nil {
			panic(err)
		}
		if a.Index == 0 {
			got[a.AttachmentID] = ""
		}
		got[a.AttachmentID] += string(a.Data)
	}
	return got
}

// content is that of the last message command which the worker has got.
func (p *peer) content() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	last := ""
	for _, f := range p.frames {
		var c struct {
			Type string
			Data struct{ Content json.RawMessage }
		}
		if f.Type == protocol.FrameCommand && json.Unmarshal(f.Data, &c) == nil && c.Type == string(protocol.WorkerMessage) {
			last = string(c.Data.Content)
		}
	}
	return last
}

// The worker has the bytes before the message that refers to them, once over each link, and
// again with the next assignment.
func TestAttachmentsComeBeforeTheMessage(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(taking("w1"))
		id := w.create()
		long := png + strings.Repeat("x", 2*protocol.AttachmentPartBytes)
		photo, unused := w.attach(id, "photo.png", long), w.attach(id, "unused.txt", "not sent")
		if err := w.sayWith(id, "m1", photo.AttachmentID); err != nil {
			t.Fatal(err)
		}
		at(time.Second)
		if got := p.parts(); got[photo.AttachmentID] != long || len(got) != 1 {
			t.Errorf("the worker got %d attachments, the first with %d bytes", len(got), len(got[photo.AttachmentID]))
		}
		want := `[{"type":"attachment","attachmentId":"` + photo.AttachmentID + `","name":"photo.png","mediaType":"image/png","size":1048584}]`
		if got := p.content(); got != want {
			t.Errorf("the message is %s\nwant %s", got, want)
		}
		p.want("welcome assign(1 after 0 resume=false) attachment attachment attachment message(1 m1)")
		p.complete(id, 1, 1, "m1")
		p.finish(id, 1, 1)
		notes := w.attach(id, "notes.txt", "read me")
		if err := w.sayWith(id, "m2", notes.AttachmentID, photo.AttachmentID); err != nil {
			t.Fatal(err)
		}
		at(time.Second)
		p.want("attachment message(2 m2) ack(1)")
		p.complete(id, 1, 2, "m2")
		p.finish(id, 1, 2)
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		synctest.Wait()
		w.say(id, "m3") // it refers to none; the agent's history does
		at(time.Second)
		p.want("assign(2 after 2 resume=true) attachment attachment attachment attachment message(3 m3) ack(2)")
		for _, e := range w.log(id) {
			if e.Type == protocol.EventMessage && strings.Contains(string(e.Data), unused.AttachmentID) {
				t.Error("a message refers to what was not sent")
			}
		}
	}, attaching)
}

// A worker of an earlier version gets the bytes in the message, as blocks that it knows.
func TestEarlierWorkerGetsAttachmentsInTheMessage(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		photo, notes, blob := w.attach(id, "p.png", png), w.attach(id, "n.txt", "read me"), w.attach(id, "b c", "\x00\x01")
		if err := w.sayWith(id, "m1", photo.AttachmentID, notes.AttachmentID, blob.AttachmentID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := `[{"data":"` + base64.StdEncoding.EncodeToString([]byte(png)) + `","mimeType":"image/png","type":"image"},` +
			`{"resource":{"mimeType":"text/plain","text":"read me","uri":"attachment:///` + notes.AttachmentID + `/n.txt"},"type":"resource"},` +
			`{"resource":{"blob":"AAE=","mimeType":"application/octet-stream","uri":"attachment:///` + blob.AttachmentID + `/b%20c"},"type":"resource"}]`
		if got := p.content(); got != want {
			t.Errorf("the message is %s\nwant %s", got, want)
		}
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
	}, attaching)
}

// More than such a worker can take fails the message, with the reason, and nothing else.
func TestTooMuchForAnEarlierWorker(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		first, second := w.attach(id, "a", strings.Repeat("a", 20<<20)), w.attach(id, "b", strings.Repeat("b", 20<<20))
		if err := w.sayWith(id, "m1", first.AttachmentID, second.AttachmentID); err != nil {
			t.Fatal(err)
		}
		w.say(id, "m2")
		at(time.Second)
		if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || !strings.Contains(c.Error.Message, "earlier version") {
			t.Errorf("%d completes, %+v", n, c.Error)
		}
		p.want("welcome assign(1 after 0 resume=false) message(2 m2)")
	}, func(c *hub.Config) { c.MaxAttachmentBytes, c.MaxAttachmentsBytes = 64<<20, 64<<20 })
}

// The store has lost a part of an attachment: the message says so.
func TestLostAttachmentFailsItsMessage(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		for _, h := range []protocol.Hello{taking("w1"), hello("w2")} {
			p := w.join(h)
			id := w.create()
			a := w.attach(id, "a.txt", "text")
			s := w.load(id)
			if _, err := w.store.Append(w.ctx, id, store.Batch{State: s.State, Expect: s.Version, Dropped: []string{session.AttachmentKey(a.AttachmentID, 0)}}); err != nil {
				t.Fatal(err)
			}
			if err := w.sayWith(id, "m1", a.AttachmentID); err != nil {
				t.Fatal(err)
			}
			at(time.Second)
			if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Message != `the hub has lost the attachment "a.txt": send it again` {
				t.Errorf("%s: %d completes, %+v", h.Worker, n, c.Error)
			}
			b := w.attach(id, "b.txt", "text")
			if err := w.sayWith(id, "m2", b.AttachmentID); err != nil {
				t.Fatal(err)
			}
			at(time.Second)
			want := "welcome assign(1 after 0 resume=false) message(2 m2)"
			if h.Attachments {
				want = "welcome assign(1 after 0 resume=false) attachment message(2 m2)"
			}
			p.want(want)
			_ = p.conn.Close()
			synctest.Wait()
		}
	}, attaching)
}

// A message that is cancelled while its attachments are on their way never reaches the
// worker.
func TestCancelledWhileAttachmentsAreOnTheirWay(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(taking("w1"))
		id := w.create()
		a := w.attach(id, "a", strings.Repeat("a", 4<<20))
		synctest.Wait()
		p.conn.slow.Store(int64(100 * time.Millisecond))
		if err := w.sayWith(id, "m1", a.AttachmentID); err != nil {
			t.Fatal(err)
		}
		at(300 * time.Millisecond)
		if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{MessageID: "m1"}); err != nil {
			t.Fatal(err)
		}
		at(2 * time.Second)
		if n, c := w.completes(id, "m1"); n != 1 || c.StopReason != protocol.StopCancelled {
			t.Errorf("%d completes, %+v", n, c)
		}
		if got := p.script(); strings.Contains(got, "m1") || strings.Count(got, "attachment") > 5 {
			t.Errorf("the worker was told %s", got)
		}
		w.say(id, "m2")
		at(2 * time.Second)
		if got := p.script(); !strings.Contains(got, "m2") {
			t.Errorf("the worker was told %s", got)
		}
	}, attaching)
}

// A turn that is cancelled while the files of a steering message are on their way is stopped
// at once, and its worker ends it.
func TestCancelOfATurnWhileFilesForItAreOnTheirWay(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(taking("w1"))
		id := w.create()
		a := w.attach(id, "a", strings.Repeat("a", 4<<20))
		w.say(id, "m1")
		synctest.Wait()
		p.event(id, 1, 1, protocol.EventAgentStarted, protocol.AgentStartedData{History: protocol.HistoryNew, Steering: true})
		p.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		p.conn.slow.Store(int64(100 * time.Millisecond))
		blocks := protocol.Marshal([]protocol.AttachmentBlock{{Type: protocol.BlockAttachment, AttachmentID: a.AttachmentID}})
		r := protocol.MessageRequest{Content: blocks, MessageID: "m2", Delivery: protocol.DeliverSteer}
		if _, err := w.hub.Message(w.ctx, id, "u1", r, hub.Admission{}); err != nil {
			t.Fatal(err)
		}
		at(250 * time.Millisecond)
		if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{MessageID: "m1"}); err != nil {
			t.Fatal(err)
		}
		at(450 * time.Millisecond)
		if got := p.script(); !strings.HasSuffix(got, "cancel(4 m1)") || strings.Count(got, "attachment") > 4 {
			t.Errorf("the worker was told %s", got)
		}
		if n, _ := w.completes(id, "m1"); n != 0 {
			t.Error("the hub has ended a turn that its worker runs")
		}
	}, attaching)
}

func TestAttachRefuses(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id, other := w.create(), w.create()
		for _, c := range []struct {
			name, declared, data string
			want                 error
		}{
			{"a", "", "", session.ErrInvalid},
			{"a/b", "", "x", session.ErrInvalid},
			{`a\b`, "", "x", session.ErrInvalid},
			{"..", "", "x", session.ErrInvalid},
			{"a\nb", "", "x", session.ErrInvalid},
			{"a\u202Egnp.exe", "", "x", session.ErrInvalid},
			{"a\xff", "", "x", session.ErrInvalid},
			{strings.Repeat("n", 256), "", "x", session.ErrInvalid},
			{"a.png", "image/png", "no picture", hub.ErrMediaType},
			{"a", "no type", "x", hub.ErrMediaType},
			{"a", "", strings.Repeat("x", 4<<20+1), session.ErrTooLarge},
		} {
			if _, err := w.hub.Attach(w.ctx, id, c.name, c.declared, []byte(c.data)); !errors.Is(err, c.want) {
				t.Errorf("%q, %s: %v, want %v", c.name, c.declared, err, c.want)
			}
		}
		for declared, want := range map[string]string{
			"": "image/png", "image/jpeg": "image/png", "text/html": "image/png",
		} {
			if a, err := w.hub.Attach(w.ctx, id, "p", declared, []byte(png)); err != nil || a.MediaType != want {
				t.Errorf("a picture that is called %q: %q, %v", declared, a.MediaType, err)
			}
		}
		if a := w.attach(other, "", "text"); a.Name != "attachment.txt" || a.MediaType != "text/plain" {
			t.Errorf("without a name: %+v", a)
		}
		mine := w.attach(id, "é 日本.txt", "x")
		if err := w.sayWith(other, "m", mine.AttachmentID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("an attachment of another session: %v", err)
		}
		if err := w.sayWith(id, "m", mine.AttachmentID, mine.AttachmentID); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("twice: %v", err)
		}
		w.attach(id, "big", strings.Repeat("x", 4<<20))
		if _, err := w.hub.Attach(w.ctx, id, "more", "", bytes.Repeat([]byte("x"), 2<<20)); !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), "--max-attachments-bytes") {
			t.Errorf("over the limit of the session: %v", err)
		}
		snap := w.load(id)
		_, from, err := w.hub.Attachment(snap, mine.AttachmentID)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := from.Next(w.ctx); string(data) != "x" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		if _, err := from.Next(w.ctx); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		for n := len(snap.State.Attachments); n < protocol.MaxAttachments; n++ {
			w.attach(id, "small", "x")
		}
		if _, err := w.hub.Attach(w.ctx, id, "one more", "", []byte("x")); !errors.Is(err, session.ErrTooLarge) {
			t.Errorf("over the number: %v", err)
		}
		at(24*time.Hour + time.Minute)
		if _, err := w.hub.Attach(w.ctx, other, "a", "", []byte("x")); !errors.Is(err, session.ErrSessionEnded) {
			t.Errorf("to an expired session: %v", err)
		}
		if _, from, err := w.hub.Attachment(w.load(other), w.load(other).State.Attachments[0].ID); err != nil {
			t.Errorf("of an expired session: %v", err)
		} else if data, err := from.Next(w.ctx); string(data) != "text" {
			t.Errorf("of an expired session: %q, %v", data, err)
		}
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := w.hub.Attach(w.ctx, id, "a", "", []byte("x")); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("to a deleted session: %v", err)
		}
		at(3 * time.Minute)
		if part, ok, err := w.store.Part(w.ctx, id, session.AttachmentKey(mine.AttachmentID, 0)); ok {
			t.Errorf("the bytes outlive their session: %q, %v", part, err)
		}
	}, attaching)
}

// A message that waits can get another attachment, and a repeat of a message is one.
func TestAttachmentsOfAWaitingMessage(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		a, b := w.attach(id, "a", "a"), w.attach(id, "b", "b")
		for range 2 {
			if err := w.sayWith(id, "m1", a.AttachmentID); err != nil {
				t.Fatal(err)
			}
		}
		edit := protocol.QueueRequest{Action: protocol.QueueEdit, MessageID: "m1", Content: protocol.Marshal([]protocol.AttachmentBlock{{Type: protocol.BlockAttachment, AttachmentID: b.AttachmentID}})}
		q, err := w.hub.ChangeQueue(w.ctx, id, "u1", edit)
		if err != nil || len(q.Messages) != 1 || !strings.Contains(string(q.Messages[0].Content), `"name":"b"`) {
			t.Errorf("the queue is %+v, %v", q, err)
		}
		edit.Content = protocol.Marshal([]protocol.AttachmentBlock{{Type: protocol.BlockAttachment, AttachmentID: "f_none"}})
		if _, err := w.hub.ChangeQueue(w.ctx, id, "u1", edit); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("an edit with what is not there: %v", err)
		}
		p := w.join(taking("w1"))
		at(time.Second)
		if got := p.parts(); got[b.AttachmentID] != "b" {
			t.Errorf("the worker got %v", got)
		}
	}, attaching)
}
