package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/transcript"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Bounds of one page that a fork copies.
const (
	copyPageEvents = 500
	copyPageBytes  = 512 << 10
)

// Forks makes sessions that go another way from where others are. All methods may be called
// concurrently.
type Forks struct{ cmd *Commands }

// Fork makes a session whose log begins with a copy of another's, and whose agent begins
// with a fork of the other's agent. key is that of Create. The errors are those of Create,
// ErrBusy and ErrCannotFork.
//
// Only an agent that can fork its own session makes an honest fork. A new agent that reads
// the log would know less than the old one: not what its tools gave it, nor what it thought.
func (f Forks) Fork(ctx context.Context, id, key string, r protocol.ForkRequest) (store.Snapshot, error) {
	if err := f.cmd.env.ReadyFor(id); err != nil {
		return store.Snapshot{}, err
	}
	if err := session.CheckOptional("title", r.Title, protocol.MaxTitleBytes); err != nil {
		return store.Snapshot{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	from, err := f.cmd.Load(ctx, id)
	if err != nil {
		return store.Snapshot{}, err
	}
	info := from.State.Info
	if err := f.cmd.allow(ctx, metrics.LimitSessionRate, info.UserID, f.cmd.cfg.Limits.Sessions); err != nil {
		return store.Snapshot{}, err
	}
	hash := session.HashJSON(protocol.Marshal([]any{"fork", id, r}))
	if key != "" {
		if snap, err := f.cmd.created(ctx, keyedID(key), hash); !errors.Is(err, session.ErrNotFound) {
			return snap, err
		}
	}
	source, err := session.CanFork(from.State)
	if err != nil {
		return store.Snapshot{}, err
	}
	info.SessionID, info.RequestHash, info.TakeUp, info.Fork = f.cmd.newID(), "", nil, &source
	info.CreatedAt, info.AgentOptions = time.Now().UTC().Truncate(time.Millisecond), from.State.AgentOptions()
	if info.AgentOptions.MCPServers, err = fleet.MCPOf(ctx, f.cmd.store, from.State); err != nil {
		return store.Snapshot{}, err
	}
	if info.Title = r.Title; info.Title == "" {
		info.Title = from.State.Title()
	}
	if key != "" {
		info.SessionID, info.RequestHash = keyedID(key), hash
	}
	err = f.cmd.engine.Create(ctx, info, f.cmd.cfg.Limits.SessionsPerUser)
	switch {
	case errors.Is(err, store.ErrExists) && key != "":
		return f.cmd.created(ctx, info.SessionID, hash)
	case errors.Is(err, store.ErrSessionLimit):
		f.cmd.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
		return store.Snapshot{}, err
	case err != nil:
		return store.Snapshot{}, err
	}
	if err := f.copyLog(ctx, from, info.SessionID); err != nil {
		undo, cancel := f.cmd.env.StoreCall()
		defer cancel()
		if e := f.cmd.store.Delete(undo, info.SessionID); e != nil { // nobody knows it
			f.cmd.cfg.Log.Error("delete a fork that was not made", "session", info.SessionID, "error", e)
		}
		return store.Snapshot{}, err
	}
	f.cmd.cfg.Metrics.SessionCreated(info.Provider)
	return f.cmd.store.Load(ctx, info.SessionID)
}

// copyLog copies the events of a session into its fork, and lets a worker have the fork.
func (f Forks) copyLog(ctx context.Context, from store.Snapshot, to string) error {
	id := from.State.Info.SessionID
	open := make(map[string]bool) // messages that are held: they did not run
	for _, m := range from.State.Messages {
		open[m.ID] = true
	}
	for after := uint64(0); after < from.Last; {
		page, err := f.cmd.store.Read(ctx, id, after, copyPageEvents, copyPageBytes)
		if err != nil {
			return err
		}
		if page.Epoch != from.Epoch() {
			return fmt.Errorf("%w: the log of %s has gone on in another epoch", store.ErrUnavailable, id)
		}
		if len(page.Entries) == 0 {
			break
		}
		var in session.InCopy
		for _, e := range page.Entries {
			if after = e.Seq; e.First() > from.Last {
				break
			}
			if err := copyEvent(&in, e, open); err != nil {
				return fmt.Errorf("copy event %d of %s: %w", e.Seq, id, err)
			}
		}
		if len(in.Events) > 0 {
			if _, _, err := f.cmd.engine.Change(ctx, to, in, nil); err != nil {
				return err
			}
		}
	}
	if err := f.copyAttachments(ctx, from.State, to); err != nil {
		return err
	}
	now, err := f.cmd.Load(ctx, id)
	if err != nil {
		return err
	}
	if now.State.Busy() || now.State.Finished != from.State.Finished || now.State.NextCommand != from.State.NextCommand {
		return session.ErrBusy // it went on meanwhile
	}
	_, err = f.cmd.engine.Decide(ctx, to, session.InCopied{}, engine.Terms{MaxOpen: f.cmd.cfg.Limits.SessionsPerUser})
	if errors.Is(err, store.ErrSessionLimit) {
		f.cmd.cfg.Metrics.LimitRejected(metrics.LimitSessionsPerUser)
	}
	return err
}

// copyAttachments gives a fork the files that the copied messages refer to, under their ids.
func (f Forks) copyAttachments(ctx context.Context, from *session.State, to string) error {
	for _, a := range from.Attachments.Used() {
		var data []byte
		for i := range a.Parts {
			part, err := store.ReadAttachment(ctx, f.cmd.store, from.Info.SessionID, a.ID, i)
			if err != nil {
				return err
			}
			data = append(data, part...)
		}
		in := session.InAttach{ID: a.ID, Name: a.Name, MediaType: a.MediaType, Data: data, MaxBytes: f.cmd.cfg.MaxAttachmentsBytes, Used: true}
		if _, _, err := f.cmd.engine.Change(ctx, to, in, nil); err != nil {
			return err
		}
	}
	return nil
}

// copied are the events that a fork has of its original. The others are about the agent and
// the worker of the original, or about a queue that the fork does not have.
var copied = []protocol.EventType{
	protocol.EventMessage, protocol.EventMessageEdited, protocol.EventSteered, protocol.EventOutput, protocol.EventToolCall, protocol.EventPlan,
	protocol.EventToolApproval, protocol.EventApprovalResolved, protocol.EventElicitation, protocol.EventElicitationResolved,
	protocol.EventNotice, protocol.EventAgentUpdate, protocol.EventComplete,
}

// copyEvent adds an event to those that are copied. Messages and their ends are marked as
// replay, so that nobody takes them for work of the fork.
func copyEvent(in *session.InCopy, e protocol.Entry, open map[string]bool) error {
	if !slices.Contains(copied, e.Type) {
		return nil
	}
	data, err := transcript.DataOf(e)
	if err != nil {
		return err
	}
	switch e.Type {
	case protocol.EventMessage:
		var m protocol.MessageData
		if err := protocol.Decode(data, &m); err != nil {
			return err
		}
		if open[m.MessageID] {
			return nil
		}
		m.Replay, m.Delivery = true, ""
		data = protocol.Marshal(m)
		in.Notes = append(in.Notes, session.Note{Key: session.MessageNote(m.MessageID), Value: session.HashJSON(m.Content), Event: len(in.Events)})
	case protocol.EventMessageEdited:
		var m protocol.MessageEditedData
		if protocol.Decode(data, &m) == nil && open[m.MessageID] {
			return nil
		}
	case protocol.EventComplete:
		var c protocol.CompleteData
		if err := protocol.Decode(data, &c); err != nil {
			return err
		}
		c.Replay, c.Usage, c.Cost = true, nil, nil
		data = protocol.Marshal(c)
	}
	in.Events = append(in.Events, session.NewEvent{Type: e.Type, Data: data})
	return nil
}
