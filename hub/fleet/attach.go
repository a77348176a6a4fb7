package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// maxInlineBytes bounds the attachments of one message that a worker of an earlier version
// gets in the message itself. Their base64 fits in a frame that such a worker reads.
const maxInlineBytes = 24 << 20

// deliveries are the attachments that are on their way to a link's worker. The writer starts
// one goroutine for a session at a time, so that other sessions do not wait for it. The
// link waits for the goroutines at its end.
type deliveries struct {
	wg   sync.WaitGroup
	busy chan struct{} // holds a token for each attachment that is being sent, at most 2
}

func newDeliveries() deliveries { return deliveries{busy: make(chan struct{}, 2)} }

// attached is what the link knows of a session's attachments. The link's mu guards it.
type attached struct {
	sent    map[string]bool // these are with the worker
	lost    map[string]bool // the store has lost a part of these
	sending bool
	stop    bool  // what is being sent is not needed any more
	failed  error // of a write to the worker: it ends the link
}

// deliverer brings the worker the attachments that a message refers to.
type deliverer struct{ writer }

// delivering makes sure that the worker has the attachments that messages refer to, before
// the next message. It reports whether the commands must wait: they are read again when the
// attachments are there.
func (w deliverer) delivering(ctx context.Context, s *heldSession, snap store.Snapshot, commands []session.Command, due hand) (wait bool, err error) {
	turn, _ := snap.State.Turn()
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.files.failed != nil {
		return true, writeError{s.files.failed}
	}
	// The worker stops at once what it has begun. What is on its way is not needed then.
	stops := snap.State.Closed != "" || turn.Cancelled && turn.Command <= s.message
	if s.files.sending {
		s.files.stop = s.files.stop || stops || turn.Cancelled
		return !stops, nil
	}
	if stops || !w.hello.Attachments || !w.carriesMessageLocked(s, commands, due) {
		return false, nil
	}
	var lacks []session.Attachment
	for _, a := range snap.State.Attachments.Used() {
		if !s.files.sent[a.ID] && !s.files.lost[a.ID] {
			lacks = append(lacks, a)
		}
	}
	if len(lacks) == 0 {
		return false, nil
	}
	s.files.sending, s.files.stop = true, turn.Cancelled
	w.deliveries.wg.Go(func() {
		err := w.guard(func() error { return w.deliver(ctx, s, lacks) })
		if err == nil && w.stopped(s) && w.isDue(s, session.Command{Type: protocol.WorkerMessage, Seq: due.message}, due) {
			err = w.takeBackCancelled(ctx, s, due.count)
		}
		w.mu.Lock()
		s.files.sending = false
		var failed writeError
		if errors.As(err, &failed) {
			s.files.failed = failed.error
		}
		w.mu.Unlock()
		if err != nil && s.files.failed == nil && ctx.Err() == nil { // of the store
			w.retry(s)
			return
		}
		w.markChanged(s)
	})
	return true, nil
}

// carriesMessageLocked reports whether one of the commands is a message that is due.
func (w deliverer) carriesMessageLocked(s *heldSession, commands []session.Command, due hand) bool {
	return slices.ContainsFunc(commands, func(c session.Command) bool {
		return (c.Type == protocol.WorkerMessage || c.Type == protocol.WorkerSteer) && s.isDueLocked(c, due)
	})
}

// deliver sends attachments to the worker, a part at a time. Between two parts other frames
// go out.
func (w deliverer) deliver(ctx context.Context, s *heldSession, all []session.Attachment) error {
	select {
	case w.deliveries.busy <- struct{}{}:
		defer func() { <-w.deliveries.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, a := range all {
		whole, err := w.deliverOne(ctx, s, a)
		if err != nil || w.stopped(s) {
			return err
		}
		w.mu.Lock()
		note := &s.files.sent
		if !whole {
			note = &s.files.lost
		}
		if *note == nil {
			*note = make(map[string]bool)
		}
		(*note)[a.ID] = true
		w.mu.Unlock()
	}
	return nil
}

// deliverOne sends one attachment. whole is false if the store has lost a part of it, or
// nobody needs it any more.
func (w deliverer) deliverOne(ctx context.Context, s *heldSession, a session.Attachment) (whole bool, err error) {
	for i := range a.Parts {
		if w.stopped(s) {
			return false, nil
		}
		part, err := store.ReadAttachment(ctx, w.fleet.store, s.id, a.ID, i)
		if errors.Is(err, store.ErrAttachmentMissing) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if err := w.send(ctx, protocol.FrameAttachment, protocol.WorkerAttachment{
			SessionID: s.id, Assignment: s.assignment, AttachmentID: a.ID, Name: a.Name, MediaType: a.MediaType, Size: a.Size, Index: i, Data: part,
		}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// stopped reports whether nobody needs the attachments that are being sent.
func (w deliverer) stopped(s *heldSession) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.gone || s.files.stop
}

// takeBackCancelled ends a message that was cancelled while its attachments were on their way:
// its worker has not received it. handed is State.Handed as of its hand. Nothing changes in
// any other case.
func (w deliverer) takeBackCancelled(ctx context.Context, s *heldSession, handed uint64) error {
	_, _, err := w.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: session.InTakeBack{Handed: handed}}, nil)
	if errors.Is(err, session.ErrFenced) || errors.Is(err, session.ErrNotFound) {
		return nil
	}
	return err
}

// undeliverable is why no worker of this link can get a message, for people.
type undeliverable struct{ detail string }

func (e undeliverable) Error() string { return e.detail }

// withAttachments returns a command as the worker takes it. A worker of an earlier version
// gets attachments as images, sounds and resources. The error is an undeliverable, or one of
// the store.
func (w deliverer) withAttachments(ctx context.Context, s *heldSession, state *session.State, c session.Command) (session.Command, error) {
	if c.Type != protocol.WorkerMessage && c.Type != protocol.WorkerSteer || len(state.Attachments) == 0 ||
		!bytes.Contains(c.Data, []byte(protocol.BlockAttachment)) {
		return c, nil
	}
	var data map[string]json.RawMessage
	if err := protocol.Decode(c.Data, &data); err != nil {
		return c, err
	}
	inlined := int64(0)
	content, err := protocol.MapAttachments(data["content"], func(_ int, b protocol.AttachmentBlock) (json.RawMessage, error) {
		a, err := state.Attachments.ByID(b.AttachmentID)
		switch inlined += a.Size; {
		case err != nil, w.hello.Attachments && w.isLost(s, a.ID):
			return nil, undeliverable{fmt.Sprintf("the hub has lost the attachment %q: send it again", b.Name)}
		case w.hello.Attachments:
			return protocol.Marshal(b), nil
		case inlined > maxInlineBytes:
			return nil, undeliverable{fmt.Sprintf("the session's worker is of an earlier version, and takes at most %d bytes of attachments with a message", maxInlineBytes)}
		}
		bytes, err := w.readWhole(ctx, s.id, a)
		if err != nil {
			return nil, err
		}
		return inline(a, bytes), nil
	})
	if err != nil || w.hello.Attachments {
		return c, err
	}
	data["content"] = content
	c.Data = protocol.Marshal(data)
	return c, nil
}

// isLost reports whether the store has lost a part of an attachment.
func (w deliverer) isLost(s *heldSession, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.files.lost[id]
}

// readWhole reads an attachment.
func (w deliverer) readWhole(ctx context.Context, id string, a session.Attachment) ([]byte, error) {
	all := make([]byte, 0, a.Size)
	for i := range a.Parts {
		part, err := store.ReadAttachment(ctx, w.fleet.store, id, a.ID, i)
		if errors.Is(err, store.ErrAttachmentMissing) {
			return nil, undeliverable{fmt.Sprintf("the hub has lost the attachment %q: send it again", a.Name)}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// inline is an attachment as a content block of ACP.
func inline(a session.Attachment, data []byte) json.RawMessage {
	kind, _, _ := strings.Cut(a.MediaType, "/")
	if mediatype.ForModel(a.MediaType, a.Size) || kind == "audio" {
		return protocol.Marshal(map[string]string{"type": kind, "mimeType": a.MediaType, "data": base64.StdEncoding.EncodeToString(data)})
	}
	resource := map[string]string{"uri": "attachment:///" + a.ID + "/" + url.PathEscape(a.Name), "mimeType": a.MediaType}
	if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		resource["text"] = string(data)
	} else {
		resource["blob"] = base64.StdEncoding.EncodeToString(data)
	}
	return protocol.Marshal(map[string]any{"type": "resource", "resource": resource})
}

// refuseMessage ends a message, or the steering by one, that the worker cannot get.
func (w deliverer) refuseMessage(ctx context.Context, s *heldSession, c session.Command, why undeliverable) error {
	var in session.Input = session.InUndeliverable{Command: c.Seq, Detail: why.detail}
	if c.Type == protocol.WorkerSteer {
		var d protocol.SteerCommand
		if err := protocol.Decode(c.Data, &d); err != nil {
			return err
		}
		in = session.InSteered{Data: protocol.SteeredData{MessageID: d.MessageID, Into: d.Into, Outcome: protocol.SteerQueued, Detail: why.detail}}
	}
	_, _, err := w.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: in}, nil)
	return err
}
