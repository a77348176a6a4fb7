package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Queues are the actions of people on messages that wait. All methods may be called
// concurrently.
type Queues struct{ cmd *Commands }

// maxOrder bounds the messages that one order names.
const maxOrder = 1000

// Queue gives the messages that wait, the next one first.
func (q Queues) Queue(ctx context.Context, id string) (protocol.Queue, error) {
	for tries := 0; ; tries++ {
		snap, err := q.cmd.Load(ctx, id)
		if err != nil {
			return protocol.Queue{}, err
		}
		contents, err := contentsOf(ctx, q.cmd.store, snap)
		switch {
		case err == nil:
			return queueOf(snap.State, contents), nil
		case !errors.Is(err, store.ErrConflict) || tries == maxQueueReads:
			return protocol.Queue{}, err
		}
	}
}

// maxQueueReads bounds how often a queue is read again that changes in between.
const maxQueueReads = 100

// queueOf makes the answer about a queue. contents has what each message says.
func queueOf(s *session.State, contents session.Contents) protocol.Queue {
	out := protocol.Queue{Messages: []protocol.QueuedMessage{}}
	var held []protocol.QueuedMessage
	for _, m := range session.WaitingMessages(s) {
		data := contents[m.ID]
		q := protocol.QueuedMessage{MessageID: m.ID, Content: data.Content, UserID: data.UserID, Held: m.Held, Steering: m.Steer != 0}
		if m.Held {
			held = append(held, q)
		} else {
			out.Messages = append(out.Messages, q)
		}
	}
	out.Messages = append(out.Messages, held...)
	return out
}

// contentsOf reads what the open messages of a session say. ErrConflict: the session has
// changed since the snapshot.
func contentsOf(ctx context.Context, st store.Store, snap store.Snapshot) (session.Contents, error) {
	if len(snap.State.Messages) == 0 {
		return session.Contents{}, nil
	}
	commands, err := st.Commands(ctx, snap.State.Info.SessionID, snap.State.Messages[0].Command-1)
	if err != nil {
		return nil, err
	}
	by := make(map[uint64]session.Command, len(commands))
	for _, c := range commands {
		by[c.Seq] = c
	}
	out := make(session.Contents, len(snap.State.Messages))
	for _, m := range snap.State.Messages {
		var data protocol.MessageData
		if err := protocol.Decode(by[m.Command].Data, &data); err != nil || data.MessageID != m.ID {
			return nil, store.ErrConflict
		}
		out[m.ID] = data
	}
	return out, nil
}

// readContents reads what the open messages say, if a new message with this delivery goes
// in front of some of them.
func readContents(ctx context.Context, st store.Store, snap store.Snapshot, delivery string, into session.Contents) error {
	clear(into)
	behind := delivery == "" || delivery == protocol.DeliverQueue
	if behind && !slices.ContainsFunc(snap.State.Messages, func(m session.OpenMessage) bool { return m.Held }) {
		return nil
	}
	contents, err := contentsOf(ctx, st, snap)
	maps.Copy(into, contents)
	return err
}

// reasonAsMessage makes the reason of an answer a message, in the step that answers.
func reasonAsMessage(st store.Store, in *session.InApprove, terms *engine.Terms) error {
	if strings.TrimSpace(in.Request.Reason) == "" {
		return fmt.Errorf("%w: reasonAsMessage needs a reason", session.ErrInvalid)
	}
	content := protocol.Marshal(in.Request.Reason)
	in.Message = protocol.MessageData{MessageID: newMessageID(), Content: content, UserID: in.By}
	in.Hash, in.Contents = session.HashJSON(content), make(session.Contents)
	contents := in.Contents
	terms.Judge = func(ctx context.Context, snap store.Snapshot, _ store.Noted) error {
		return readContents(ctx, st, snap, protocol.DeliverSteer, contents)
	}
	return nil
}

// ChangeQueue changes the messages that no worker has received, and gives the queue as it
// is then. ErrMessageRunning: a worker has the message, or it is over.
func (q Queues) ChangeQueue(ctx context.Context, id, user string, r protocol.QueueRequest) (protocol.Queue, error) {
	cmd := q.cmd
	if err := cmd.env.ReadyFor(id); err != nil {
		return protocol.Queue{}, err
	}
	if err := checkQueue(user, &r, cmd.cfg.MaxEventBytes); err != nil {
		return protocol.Queue{}, err
	}
	in := session.InQueue{Request: r, By: user, Contents: make(session.Contents)}
	// What is taken back is bounded by what was sent. Everything else costs a message.
	limit := cmd.cfg.Limits.Messages
	if r.Action == protocol.QueueRemove || r.Action == protocol.QueueDiscard {
		limit = store.Rate{}
	}
	rate := cmd.claim(ctx, metrics.LimitMessageRate, cmd.owners.of(id), limit)
	defer rate.end(cmd)
	judge := func(ctx context.Context, snap store.Snapshot, _ store.Noted) error {
		if _, err := store.Visible(snap, nil); err != nil {
			return err
		}
		if r.Action == protocol.QueueEdit {
			if err := cmd.fitsFilled(snap, protocol.MessageData{MessageID: r.MessageID, Content: r.Content, UserID: user}); err != nil {
				return err
			}
		}
		clear(in.Contents)
		contents, err := contentsOf(ctx, cmd.store, snap)
		if err != nil {
			return err
		}
		maps.Copy(in.Contents, contents)
		cmd.owners.remember(id, snap.State.Info.UserID)
		return rate.use(ctx, cmd, snap.State.Info.UserID)
	}
	var unknown *session.NoMessageError
	done, err := cmd.engine.Decide(ctx, id, in, engine.Terms{Judge: judge, MaxOpen: cmd.cfg.Limits.SessionsPerUser})
	switch {
	case errors.As(err, &unknown):
		return protocol.Queue{}, q.whyNotWaiting(ctx, id, unknown)
	case errors.Is(err, store.ErrSessionLimit):
		cmd.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
		return protocol.Queue{}, err
	case err != nil:
		return protocol.Queue{}, err
	}
	rate.spend()
	if r.Action == protocol.QueueEdit {
		data := in.Contents[r.MessageID]
		if data.Content, err = done.Snapshot.State.Attachments.Fill(r.Content); err != nil {
			return protocol.Queue{}, err
		}
		in.Contents[r.MessageID] = data
	}
	return queueOf(done.Snapshot.State, in.Contents), nil
}

// whyNotWaiting tells a message that is over from one that never was.
func (q Queues) whyNotWaiting(ctx context.Context, id string, unknown *session.NoMessageError) error {
	_, _, ok, err := q.cmd.store.Note(ctx, id, session.MessageNote(unknown.ID))
	switch {
	case err != nil:
		return err
	case ok:
		return fmt.Errorf("message %q: %w", unknown.ID, session.ErrMessageRunning)
	}
	return unknown
}

// checkQueue checks a request alone, before the session is read.
func checkQueue(user string, r *protocol.QueueRequest, maxEventBytes int) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{session.ErrInvalid}, args...)...)
	}
	switch r.Action {
	case protocol.QueueEdit, protocol.QueueRemove, protocol.QueueSendNow:
		if r.MessageID == "" {
			return invalid("%s needs a messageId", r.Action)
		}
	case protocol.QueueOrder:
		if len(r.MessageIDs) == 0 || len(r.MessageIDs) > maxOrder {
			return invalid("order needs 1 to %d messageIds", maxOrder)
		}
	case protocol.QueueHold, protocol.QueueRelease, protocol.QueueDiscard:
	default:
		return invalid("action %q is none of edit, remove, order, hold, release, discard and send_now", session.Clip(r.Action))
	}
	for _, id := range append(r.MessageIDs, r.MessageID) {
		if err := checkMessageID(id); err != nil {
			return err
		}
	}
	if r.Action != protocol.QueueEdit {
		return nil
	}
	content, err := session.CheckContent(r.Content)
	if err != nil {
		return err
	}
	r.Content = content
	return fits(protocol.MessageData{MessageID: r.MessageID, Content: content, UserID: user}, maxEventBytes)
}

// fits reports whether a message can be one event. A user's text is never split or cut; an
// agent's output can be.
func fits(data protocol.MessageData, maxEventBytes int) error {
	if n := len(protocol.Marshal(data)); n > maxEventBytes {
		return fmt.Errorf("%w: the message makes an event of %d bytes, over the %d of --max-event-bytes; scale pictures down before they are sent, or raise that and --max-message-bytes", session.ErrTooLarge, n, maxEventBytes)
	}
	return nil
}

// fitsFilled is fits for a message as the session will log it, with what it knows of the
// message's attachments. ErrNotFound: the session has no such attachment.
func (cmd *Commands) fitsFilled(snap store.Snapshot, data protocol.MessageData) error {
	if snap.State.Closed != "" {
		return nil // the rules refuse it
	}
	had := len(data.Content)
	filled, err := snap.State.Attachments.Fill(data.Content)
	if err != nil || len(filled) == had {
		return err
	}
	data.Content = filled
	return fits(data, cmd.cfg.MaxEventBytes)
}

func newMessageID() string { return "m_" + strings.ToLower(rand.Text()) }

func checkDelivery(delivery string) error {
	switch delivery {
	case "", protocol.DeliverQueue, protocol.DeliverSteer, protocol.DeliverNow:
		return nil
	}
	return fmt.Errorf("%w: delivery %q is none of queue, steer and now", session.ErrInvalid, session.Clip(delivery))
}
