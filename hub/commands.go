package hub

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Bounds of the values that a caller may send with a session or a message, in bytes.
const (
	maxPathBytes     = 4096
	maxMetadataBytes = 16 << 10
)

// Commands are the actions of people on sessions. All methods may be called concurrently.
type Commands struct {
	rooms
	owners owners
}

// Create makes a session for a user. A key names the caller and the request; a repeat
// with the same key gives the same session. ErrIdempotency: the key was used for another
// request, or its session was deleted. TakenUpError: see takeUp.
func (cmd *Commands) Create(ctx context.Context, user, key string, r protocol.CreateRequest) (store.Snapshot, error) {
	if err := cmd.env.Ready(); err != nil {
		return store.Snapshot{}, err
	}
	if err := cmd.allow(ctx, metrics.LimitSessionRate, user, cmd.cfg.Limits.Sessions); err != nil {
		return store.Snapshot{}, err
	}
	hash := session.HashJSON(protocol.Marshal(r))
	if key != "" {
		if snap, err := cmd.created(ctx, keyedID(key), hash); !errors.Is(err, session.ErrNotFound) {
			return snap, err
		}
	}
	info, err := cmd.newInfo(ctx, user, r)
	if err != nil {
		return store.Snapshot{}, err
	}
	if err := (AgentSessions{cmd}).takeUp(ctx, &info, r); err != nil {
		return store.Snapshot{}, err
	}
	if key != "" {
		info.SessionID, info.RequestHash = keyedID(key), hash
	}
	made, err := (Worktrees{cmd}).make(ctx, &info, r)
	if err != nil {
		return store.Snapshot{}, err
	}
	err = cmd.engine.Create(ctx, info, cmd.cfg.Limits.SessionsPerUser)
	switch {
	case errors.Is(err, store.ErrExists) && key != "": // the same request came twice at once
		return cmd.created(ctx, info.SessionID, hash)
	case errors.Is(err, store.ErrSessionLimit):
		cmd.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
		cmd.treeEnded(&session.State{Info: info})
		return store.Snapshot{}, err
	case err != nil:
		return store.Snapshot{}, err // the worktree stays: the session may be there
	}
	cmd.cfg.Metrics.SessionCreated(info.Provider)
	snap, err := cmd.store.Load(ctx, info.SessionID)
	if err != nil || made.Directory == "" {
		return snap, err
	}
	if err := (Worktrees{cmd}).note(ctx, snap.State, made); err != nil {
		return store.Snapshot{}, err
	}
	return cmd.store.Load(ctx, info.SessionID)
}

// created gives the session that an earlier request with the same key made.
func (cmd *Commands) created(ctx context.Context, id, hash string) (store.Snapshot, error) {
	snap, err := cmd.store.Load(ctx, id)
	switch {
	case err != nil:
		return store.Snapshot{}, err
	case snap.State.Closed == protocol.ClosedDeleted:
		return store.Snapshot{}, fmt.Errorf("%w: its session was deleted", ErrIdempotency)
	case snap.State.Info.RequestHash != hash:
		return store.Snapshot{}, ErrIdempotency
	}
	return snap, nil
}

// keyedID is the id of the session that a key makes. Two requests with one key get the
// same id, whichever nodes they reach.
func keyedID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "s_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
}

func (cmd *Commands) newInfo(ctx context.Context, user string, r protocol.CreateRequest) (session.Info, error) {
	if r.Provider == "" {
		r.Provider = cmd.cfg.DefaultProvider
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"provider", r.Provider, protocol.MaxNameBytes}, {"spaceId", r.SpaceID, protocol.MaxNameBytes}, {"title", r.Title, protocol.MaxTitleBytes},
		{"workingDirectory", r.WorkingDirectory, maxPathBytes}, {"userId", user, protocol.MaxNameBytes},
		{"agentOptions.model", r.AgentOptions.Model, protocol.MaxNameBytes}, {"agentOptions.mode", r.AgentOptions.Mode, protocol.MaxNameBytes},
	} {
		if err := session.CheckOptional(f.name, f.value, f.most); err != nil {
			return session.Info{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
		}
	}
	if len(r.Metadata) > maxMetadataBytes {
		return session.Info{}, fmt.Errorf("%w: metadata is longer than %d bytes", session.ErrInvalid, maxMetadataBytes)
	}
	metadata := r.Metadata
	if len(metadata) > 0 && string(metadata) != "null" {
		var err error
		if metadata, err = protocol.Compact(metadata); err != nil || metadata[0] != '{' {
			return session.Info{}, fmt.Errorf("%w: metadata must be a JSON object", session.ErrInvalid)
		}
	} else {
		metadata = nil
	}
	if err := checkConfig(&r.AgentOptions); err != nil {
		return session.Info{}, err
	}
	if err := protocol.CheckMCPServers(r.AgentOptions.MCPServers); err != nil {
		return session.Info{}, fmt.Errorf("%w: agentOptions.%w", session.ErrInvalid, err)
	}
	if err := cmd.fleet.Known(ctx, user, r.Provider); err != nil {
		return session.Info{}, err
	}
	if err := cmd.fleet.AllowsMCP(ctx, user, r.Provider, r.AgentOptions.MCPServers); err != nil {
		return session.Info{}, err
	}
	dir := r.WorkingDirectory
	if cmd.cfg.ResolveDirectory != nil && r.AgentSession == "" { // else the worker that has it judges
		var err error
		if dir, err = cmd.cfg.ResolveDirectory(dir); err != nil {
			return session.Info{}, err
		}
	}
	return session.Info{
		SessionID: cmd.newID(), UserID: user, SpaceID: r.SpaceID, Provider: r.Provider,
		WorkingDirectory: dir, Title: r.Title, Metadata: metadata, AgentOptions: r.AgentOptions,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// newID makes the id of a new session. It prefers an id whose server of the store can be
// reached.
func (cmd *Commands) newID() (id string) {
	const most = 32 // with one of three servers there, all are of the others in 0.0003 % of cases
	for range most {
		if id = "s_" + strings.ToLower(rand.Text()); cmd.store.Available(id) == nil {
			break
		}
	}
	return id
}

// Load reads a session. A deleted one is not found.
func (cmd *Commands) Load(ctx context.Context, id string) (store.Snapshot, error) {
	return store.Visible(cmd.store.Load(ctx, id))
}

// View is a session as its users see it.
func (cmd *Commands) View(ctx context.Context, s store.Snapshot) (protocol.Session, error) {
	views, err := cmd.Views(ctx, []store.Snapshot{s})
	if err != nil {
		return protocol.Session{}, err
	}
	return views[0], nil
}

// Views are sessions as their users see them.
func (cmd *Commands) Views(ctx context.Context, snaps []store.Snapshot) ([]protocol.Session, error) {
	ids := make([]string, len(snaps))
	for i, s := range snaps {
		ids[i] = s.State.Info.SessionID
	}
	connections, err := cmd.store.Connections(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]protocol.Session, len(snaps))
	for i, s := range snaps {
		out[i] = cmd.view(s, connections[i])
	}
	return out, nil
}

func (cmd *Commands) view(s store.Snapshot, connections protocol.Connections) protocol.Session {
	i := s.State.Info
	metadata := i.Metadata
	if metadata == nil {
		metadata = []byte("{}")
	}
	expires := s.LastActivity.Add(cmd.cfg.Policy.SessionIdleTTL)
	if s.State.Closed != "" {
		expires = s.State.ClosedAt.Add(cmd.cfg.Policy.EndedRetention)
	}
	return protocol.Session{
		SessionID: i.SessionID, UserID: i.UserID, SpaceID: i.SpaceID, Provider: i.Provider,
		WorkingDirectory: i.WorkingDirectory, Title: s.State.Title(), Metadata: metadata, AgentOptions: s.State.AgentOptions(),
		Status: s.State.Status.Status, CreatedAt: i.CreatedAt, LastActivityAt: s.LastActivity.UTC().Truncate(time.Millisecond),
		ExpiresAt: expires.UTC().Truncate(time.Millisecond),
		LastSeq:   s.Last, Epoch: s.Epoch(), Connections: connections,
		PendingApprovals: len(s.State.Approvals), PendingElicitations: len(s.State.Elicitations),
		Usage: usageOf(s.State),
		Mode:  s.State.Options.Mode, Asking: s.State.Options.Asking,
		Worktree: session.ViewOfTree(s.State),
		Pinned:   s.State.Pinned, Archived: s.State.Archived, Unread: s.State.Unread,
	}
}

// List gives sessions, newest first.
func (cmd *Commands) List(ctx context.Context, q store.ListQuery) ([]store.Snapshot, string, error) {
	return cmd.store.List(ctx, q)
}

// Admission judges whether a caller may do what the request asks. It is checked on the
// same state that the request is decided on, so it needs no read of its own. The zero
// Admission is for a caller who was judged before.
type Admission struct {
	Check func(Snapshot) error // an error refuses the request, and is its answer
	Owner string               // the one user whose sessions Check allows; empty: any user's
}

// Message accepts a user's message. A repeat of an accepted MessageID gets the first
// answer again. Faults of the request itself are reported before the session is read.
func (cmd *Commands) Message(ctx context.Context, id, user string, r protocol.MessageRequest, may Admission) (protocol.MessageResponse, error) {
	if err := cmd.env.ReadyFor(id); err != nil {
		return protocol.MessageResponse{}, err
	}
	if err := checkMessageID(r.MessageID); err != nil {
		return protocol.MessageResponse{}, err
	}
	if err := checkDelivery(r.Delivery); err != nil {
		return protocol.MessageResponse{}, err
	}
	content, err := session.CheckContent(r.Content)
	if err != nil {
		return protocol.MessageResponse{}, err
	}
	if r.MessageID == "" {
		r.MessageID = newMessageID()
	}
	hash := session.HashJSON(content)
	in := session.InMessage{
		Data: protocol.MessageData{MessageID: r.MessageID, Content: content, UserID: user, Delivery: r.Delivery}, Hash: hash, Contents: make(session.Contents),
	}
	if err := fits(in.Data, cmd.cfg.MaxEventBytes); err != nil {
		return protocol.MessageResponse{}, err
	}
	owner := may.Owner
	if owner == "" {
		owner = cmd.owners.of(id)
	}
	rate := cmd.claim(ctx, metrics.LimitMessageRate, owner, cmd.cfg.Limits.Messages)
	defer rate.end(cmd)
	var repeat *protocol.MessageResponse
	judge := func(ctx context.Context, snap store.Snapshot, note store.Noted) error {
		if _, err := store.Visible(snap, nil); err != nil {
			return err
		}
		if may.Check != nil {
			if err := may.Check(snap); err != nil {
				return err
			}
		}
		cmd.owners.remember(id, snap.State.Info.UserID)
		switch {
		case note.OK && note.Value != hash:
			return fmt.Errorf("%w: message %q had another content", ErrIdempotency, r.MessageID)
		case note.OK:
			repeat = &protocol.MessageResponse{MessageID: r.MessageID, Seq: note.Seq, Duplicate: true}
			return cmp.Or(cmd.engine.Again(ctx, snap), store.ErrRepeat)
		}
		if err := cmd.fitsFilled(snap, in.Data); err != nil {
			return err
		}
		if err := readContents(ctx, cmd.store, snap, in.Data.Delivery, in.Contents); err != nil {
			return err
		}
		return rate.use(ctx, cmd, snap.State.Info.UserID)
	}
	done, err := cmd.engine.Decide(ctx, id, in, engine.Terms{
		Judge: judge, Note: session.MessageNote(r.MessageID), Repeated: true, MaxOpen: cmd.cfg.Limits.SessionsPerUser,
	})
	switch {
	case err == nil:
		rate.spend()
		answer := protocol.MessageResponse{MessageID: r.MessageID, Seq: done.Appended.First}
		if r.Delivery != "" { // who asked for nothing has a repeat give the first answer again
			answer.Delivery = done.Result.Deliver
		}
		return answer, nil
	case errors.Is(err, store.ErrRepeat):
		return *repeat, nil // a repeat costs nothing
	case errors.Is(err, session.ErrQueueFull):
		cmd.cfg.Metrics.LimitRejected(metrics.LimitQueuedMessages)
	case errors.Is(err, store.ErrSessionLimit): // it was asleep
		cmd.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
	}
	return protocol.MessageResponse{}, err
}

func checkMessageID(s string) error {
	if len(s) > protocol.MaxMessageIDBytes {
		return fmt.Errorf("%w: messageId is longer than %d characters", session.ErrInvalid, protocol.MaxMessageIDBytes)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("%w: messageId must be printable ASCII", session.ErrInvalid)
		}
	}
	return nil
}

// Approve answers a pending question.
func (cmd *Commands) Approve(ctx context.Context, id, user string, r protocol.ApproveRequest) (protocol.ApproveResponse, error) {
	switch {
	case r.InteractionID == "":
		return protocol.ApproveResponse{}, fmt.Errorf("%w: interactionId is missing", session.ErrInvalid)
	case (r.OptionID == "") == (r.Decision == ""):
		return protocol.ApproveResponse{}, fmt.Errorf("%w: want either optionId or decision", session.ErrInvalid)
	case len(r.Reason) > protocol.MaxReasonBytes:
		return protocol.ApproveResponse{}, fmt.Errorf("%w: reason is longer than %d bytes", session.ErrInvalid, protocol.MaxReasonBytes)
	}
	in := session.InApprove{Request: r, By: user}
	var terms engine.Terms
	if r.ReasonAsMessage {
		if err := reasonAsMessage(cmd.store, &in, &terms); err != nil {
			return protocol.ApproveResponse{}, err
		}
	}
	done, err := cmd.engine.Decide(ctx, id, in, terms)
	if errors.Is(err, session.ErrNotPending) {
		return protocol.ApproveResponse{}, cmd.whyNotPending(ctx, id, r.InteractionID)
	}
	return done.Result.Chosen, err
}

func (cmd *Commands) whyNotPending(ctx context.Context, id, interaction string) error {
	value, _, ok, err := cmd.store.Note(ctx, id, session.ApprovalNote(interaction))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("interaction %q: %w", session.Clip(interaction), session.ErrNotFound)
	}
	outcome, option, _ := strings.Cut(value, " ")
	if outcome == protocol.OutcomeExpired {
		return fmt.Errorf("interaction %q: %w", session.Clip(interaction), session.ErrApprovalExpired)
	}
	return &session.ResolvedError{Outcome: outcome, OptionID: option}
}

// Approvals gives the pending questions, oldest first.
func (cmd *Commands) Approvals(ctx context.Context, id string) (protocol.Approvals, error) {
	snap, err := cmd.Load(ctx, id)
	if err != nil {
		return protocol.Approvals{}, err
	}
	out := protocol.Approvals{Approvals: make([]protocol.ToolApprovalData, 0, len(snap.State.Approvals))}
	for _, a := range snap.State.Approvals {
		out.Approvals = append(out.Approvals, a.Data)
	}
	return out, nil
}

// Cancel stops the turn of a message, or the present turn when r names none. It is no
// error if nothing runs. A message that never existed is session.ErrNotFound. With Hold,
// what waits is held.
func (cmd *Commands) Cancel(ctx context.Context, id string, r protocol.CancelRequest) error {
	if err := checkMessageID(r.MessageID); err != nil {
		return err
	}
	var terms engine.Terms
	if r.MessageID != "" {
		terms.Note = session.MessageNote(r.MessageID)
		terms.Judge = func(_ context.Context, snap store.Snapshot, note store.Noted) error {
			if snap.State.Closed == "" && !note.OK {
				return fmt.Errorf("message %q: %w", r.MessageID, session.ErrNotFound)
			}
			return nil
		}
	}
	done, err := cmd.engine.Decide(ctx, id, session.InCancel{MessageID: r.MessageID, Hold: r.Hold}, terms)
	if err != nil {
		return err
	}
	if s := done.Snapshot.State; s.Closed != "" {
		return s.Ended()
	}
	return nil
}

// Delete ends a session. When it returns nil, the end is stored. Open streams read to the
// last event, and the worker is told to end every process.
func (cmd *Commands) Delete(ctx context.Context, id string) error {
	snap, err := cmd.Load(ctx, id)
	if err != nil {
		return err
	}
	if _, _, err = cmd.engine.Change(ctx, id, session.InDelete{}, nil); err == nil {
		cmd.treeEnded(snap.State)
	}
	return err
}
