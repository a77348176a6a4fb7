package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Bounds of what a caller may send along with a session or a message, in bytes.
const (
	maxNameBytes     = 256
	maxTitleBytes    = 1024
	maxPathBytes     = 4096
	maxMetadataBytes = 16 << 10
	maxMessageID     = 128 // characters
	maxReasonBytes   = 4096
)

// Create makes a session for a user. With a key, which names the caller and the
// request, a repeat gives the same session; ErrIdempotency if the request is
// another, or the session was deleted.
func (h *Hub) Create(ctx context.Context, user, key string, r protocol.CreateRequest) (Snapshot, error) {
	if err := h.Ready(); err != nil {
		return Snapshot{}, err
	}
	if err := h.allow(ctx, metrics.LimitSessionRate, user, h.cfg.Limits.Sessions); err != nil {
		return Snapshot{}, err
	}
	hash := hashJSON(protocol.Marshal(r))
	if key != "" {
		if snap, err := h.created(ctx, keyedID(key), hash); !errors.Is(err, ErrNotFound) {
			return snap, err
		}
	}
	info, err := h.newInfo(ctx, user, r)
	if err != nil {
		return Snapshot{}, err
	}
	if key != "" {
		info.SessionID, info.RequestHash = keyedID(key), hash
	}
	c, err := NewState(info, h.cfg.Policy, info.CreatedAt)
	if err != nil {
		return Snapshot{}, err
	}
	// Before it is there: an entry for a session that never was does no harm.
	if err := h.due.arm(ctx, info.SessionID, c.State.nextDue(info.CreatedAt, h.cfg.Timers)); err != nil {
		return Snapshot{}, err
	}
	_, err = h.store.Create(ctx, info.SessionID, Batch{State: c.State, Events: c.Events}, h.cfg.Limits.SessionsPerUser)
	switch {
	case errors.Is(err, ErrExists) && key != "": // the same request came twice at once
		return h.created(ctx, info.SessionID, hash)
	case errors.Is(err, ErrSessionLimit):
		h.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
		return Snapshot{}, err
	case err != nil:
		return Snapshot{}, err
	}
	for _, e := range c.Events {
		h.cfg.Metrics.EventAppended(e.Type)
	}
	h.cfg.Metrics.SessionCreated(info.Provider)
	return h.store.Load(ctx, info.SessionID)
}

// created gives the session that an earlier request with the same key made.
func (h *Hub) created(ctx context.Context, id, hash string) (Snapshot, error) {
	snap, err := h.store.Load(ctx, id)
	switch {
	case err != nil:
		return Snapshot{}, err
	case snap.State.Closed == protocol.ClosedDeleted:
		return Snapshot{}, fmt.Errorf("%w: its session was deleted", ErrIdempotency)
	case snap.State.Info.RequestHash != hash:
		return Snapshot{}, ErrIdempotency
	}
	return snap, nil
}

// keyedID is the id of the session that a key makes, so that two requests meet
// in one place whichever nodes they reach.
func keyedID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "s_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
}

func (h *Hub) newInfo(ctx context.Context, user string, r protocol.CreateRequest) (Info, error) {
	if r.Provider == "" {
		r.Provider = h.cfg.DefaultProvider
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"provider", r.Provider, maxNameBytes}, {"spaceId", r.SpaceID, maxNameBytes}, {"title", r.Title, maxTitleBytes},
		{"workingDirectory", r.WorkingDirectory, maxPathBytes}, {"userId", user, maxNameBytes},
		{"agentOptions.model", r.AgentOptions.Model, maxNameBytes}, {"agentOptions.mode", r.AgentOptions.Mode, maxNameBytes},
	} {
		if len(f.value) > f.most {
			return Info{}, fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, f.name, f.most)
		}
		if i := strings.IndexFunc(f.value, unicode.IsControl); i >= 0 {
			return Info{}, fmt.Errorf("%w: %s holds a control character at byte %d", ErrInvalid, f.name, i)
		}
	}
	if len(r.Metadata) > maxMetadataBytes {
		return Info{}, fmt.Errorf("%w: metadata is longer than %d bytes", ErrInvalid, maxMetadataBytes)
	}
	metadata := r.Metadata
	if len(metadata) > 0 && string(metadata) != "null" {
		var err error
		if metadata, err = protocol.Compact(metadata); err != nil || metadata[0] != '{' {
			return Info{}, fmt.Errorf("%w: metadata must be a JSON object", ErrInvalid)
		}
	} else {
		metadata = nil
	}
	if err := h.workers.known(ctx, r.Provider); err != nil {
		return Info{}, err
	}
	dir := r.WorkingDirectory
	if h.cfg.ResolveDirectory != nil {
		var err error
		if dir, err = h.cfg.ResolveDirectory(dir); err != nil {
			return Info{}, err
		}
	}
	return Info{
		SessionID: "s_" + strings.ToLower(rand.Text()), UserID: user, SpaceID: r.SpaceID, Provider: r.Provider,
		WorkingDirectory: dir, Title: r.Title, Metadata: metadata, AgentOptions: r.AgentOptions,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// Load reads a session. A deleted one is not found.
func (h *Hub) Load(ctx context.Context, id string) (Snapshot, error) {
	return visible(h.store.Load(ctx, id))
}

// visible is what a store gave, for users: a deleted session is not found.
func visible(snap Snapshot, err error) (Snapshot, error) {
	if err == nil && snap.State.Closed == protocol.ClosedDeleted {
		err = fmt.Errorf("session %s: %w", snap.State.Info.SessionID, ErrNotFound)
	}
	if err != nil {
		return Snapshot{}, err
	}
	return snap, nil
}

// View is a session as its users see it.
func (h *Hub) View(ctx context.Context, s Snapshot) (protocol.Session, error) {
	views, err := h.Views(ctx, []Snapshot{s})
	if err != nil {
		return protocol.Session{}, err
	}
	return views[0], nil
}

// Views are sessions as their users see them.
func (h *Hub) Views(ctx context.Context, snaps []Snapshot) ([]protocol.Session, error) {
	ids := make([]string, len(snaps))
	for i, s := range snaps {
		ids[i] = s.State.Info.SessionID
	}
	connections, err := h.store.Connections(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]protocol.Session, len(snaps))
	for i, s := range snaps {
		out[i] = h.view(s, connections[i])
	}
	return out, nil
}

func (h *Hub) view(s Snapshot, connections protocol.Connections) protocol.Session {
	i := s.State.Info
	metadata := i.Metadata
	if metadata == nil {
		metadata = []byte("{}")
	}
	expires := s.LastActivity.Add(h.cfg.Timers.SessionIdleTTL)
	if s.State.Closed != "" {
		expires = s.State.ClosedAt.Add(h.cfg.Timers.EndedRetention)
	}
	return protocol.Session{
		SessionID: i.SessionID, UserID: i.UserID, SpaceID: i.SpaceID, Provider: i.Provider,
		WorkingDirectory: i.WorkingDirectory, Title: i.Title, Metadata: metadata, AgentOptions: i.AgentOptions,
		Status: s.State.Status.Status, CreatedAt: i.CreatedAt, LastActivityAt: s.LastActivity.UTC().Truncate(time.Millisecond),
		ExpiresAt: expires.UTC().Truncate(time.Millisecond),
		LastSeq:   s.Last, Epoch: s.Epoch(), Connections: connections,
		PendingApprovals: len(s.State.Approvals),
	}
}

// List gives sessions, newest first.
func (h *Hub) List(ctx context.Context, q ListQuery) ([]Snapshot, string, error) {
	return h.store.List(ctx, q)
}

// Message accepts a user's message. With a MessageID that was accepted before
// it gives the first answer again.
func (h *Hub) Message(ctx context.Context, id, user string, r protocol.MessageRequest) (protocol.MessageResponse, error) {
	if err := h.Ready(); err != nil {
		return protocol.MessageResponse{}, err
	}
	if err := checkMessageID(r.MessageID); err != nil {
		return protocol.MessageResponse{}, err
	}
	content, err := checkContent(r.Content)
	if err != nil {
		return protocol.MessageResponse{}, err
	}
	if r.MessageID == "" {
		r.MessageID = "m_" + strings.ToLower(rand.Text())
	}
	hash := hashJSON(content)
	in := InMessage{Data: protocol.MessageData{MessageID: r.MessageID, Content: content, UserID: user}, Hash: hash}
	// What a user wrote is never split or cut, as an agent's output is.
	if n := len(protocol.Marshal(in.Data)); n > h.cfg.MaxEventBytes {
		return protocol.MessageResponse{}, fmt.Errorf("%w: the message makes an event of %d bytes, over the %d of --max-event-bytes", ErrTooLarge, n, h.cfg.MaxEventBytes)
	}
	allowed := false
	for range maxDecide {
		// The state before the note: whoever accepts the same message in
		// between changes the state, and this change is refused.
		snap, err := h.Load(ctx, id)
		if err != nil {
			return protocol.MessageResponse{}, err
		}
		known, seq, ok, err := h.store.Note(ctx, id, messageNote(r.MessageID))
		if err != nil {
			return protocol.MessageResponse{}, err
		}
		if ok && known != hash {
			return protocol.MessageResponse{}, fmt.Errorf("%w: message %q had another content", ErrIdempotency, r.MessageID)
		}
		if ok {
			return protocol.MessageResponse{MessageID: r.MessageID, Seq: seq, Duplicate: true}, nil
		}
		if !allowed { // a repeat costs nothing
			if err := h.allow(ctx, metrics.LimitMessageRate, snap.State.Info.UserID, h.cfg.Limits.Messages); err != nil {
				return protocol.MessageResponse{}, err
			}
			allowed = true
		}
		c, err := Step(snap.State, in, h.cfg.Policy, time.Now())
		if err != nil {
			if errors.Is(err, ErrQueueFull) {
				h.cfg.Metrics.LimitRejected(metrics.LimitQueuedMessages)
			}
			return protocol.MessageResponse{}, err
		}
		b := Batch{
			State: c.State, Expect: snap.Version, Epoch: snap.Epoch(), Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes,
		}
		done, err := h.commit(ctx, snap, b)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return protocol.MessageResponse{}, err
		}
		return protocol.MessageResponse{MessageID: r.MessageID, Seq: done.First}, nil
	}
	return protocol.MessageResponse{}, fmt.Errorf("session %s: %w: its state changes too fast", id, ErrUnavailable)
}

func checkMessageID(s string) error {
	if len(s) > maxMessageID {
		return fmt.Errorf("%w: messageId is longer than %d characters", ErrInvalid, maxMessageID)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("%w: messageId must be printable ASCII", ErrInvalid)
		}
	}
	return nil
}

// Approve answers a pending question.
func (h *Hub) Approve(ctx context.Context, id, user string, r protocol.ApproveRequest) (protocol.ApproveResponse, error) {
	switch {
	case r.InteractionID == "":
		return protocol.ApproveResponse{}, fmt.Errorf("%w: interactionId is missing", ErrInvalid)
	case (r.OptionID == "") == (r.Decision == ""):
		return protocol.ApproveResponse{}, fmt.Errorf("%w: want either optionId or decision", ErrInvalid)
	case len(r.Reason) > maxReasonBytes:
		return protocol.ApproveResponse{}, fmt.Errorf("%w: reason is longer than %d bytes", ErrInvalid, maxReasonBytes)
	}
	var chosen protocol.ApproveResponse
	_, _, err := h.change(ctx, id, InApprove{Request: r, By: user, Chosen: &chosen}, nil)
	if errors.Is(err, errNotPending) {
		return protocol.ApproveResponse{}, h.whyNotPending(ctx, id, r.InteractionID)
	}
	return chosen, err
}

func (h *Hub) whyNotPending(ctx context.Context, id, interaction string) error {
	value, _, ok, err := h.store.Note(ctx, id, approvalNote(interaction))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("interaction %q: %w", clip(interaction), ErrNotFound)
	}
	outcome, option, _ := strings.Cut(value, " ")
	if outcome == protocol.OutcomeExpired {
		return fmt.Errorf("interaction %q: %w", clip(interaction), ErrApprovalExpired)
	}
	return &ResolvedError{Outcome: outcome, OptionID: option}
}

// Approvals gives the pending questions, oldest first.
func (h *Hub) Approvals(ctx context.Context, id string) (protocol.Approvals, error) {
	snap, err := h.Load(ctx, id)
	if err != nil {
		return protocol.Approvals{}, err
	}
	out := protocol.Approvals{Approvals: make([]protocol.ToolApprovalData, 0, len(snap.State.Approvals))}
	for _, a := range snap.State.Approvals {
		out.Approvals = append(out.Approvals, a.Data)
	}
	return out, nil
}

// Cancel stops the turn of a message, or the present one. That nothing runs is
// no error; a message that never was is.
func (h *Hub) Cancel(ctx context.Context, id string, r protocol.CancelRequest) error {
	if err := checkMessageID(r.MessageID); err != nil {
		return err
	}
	snap, _, err := h.change(ctx, id, InCancel{MessageID: r.MessageID}, nil)
	if err != nil {
		return err
	}
	if snap.State.Closed != "" {
		return snap.State.ended()
	}
	if r.MessageID == "" || slices.ContainsFunc(snap.State.Messages, func(m OpenMessage) bool { return m.ID == r.MessageID }) {
		return nil
	}
	_, _, ok, err := h.store.Note(ctx, id, messageNote(r.MessageID))
	if err == nil && !ok {
		err = fmt.Errorf("message %q: %w", r.MessageID, ErrNotFound)
	}
	return err
}

// Delete ends a session. When it returns nil, the end is decided: streams read
// to the last event, and the worker is told to end every process.
func (h *Hub) Delete(ctx context.Context, id string) error {
	if _, err := h.Load(ctx, id); err != nil {
		return err
	}
	_, _, err := h.change(ctx, id, InDelete{}, nil)
	return err
}

// validUTF8 is used where text from outside is logged or kept.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
