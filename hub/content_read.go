package hub

import (
	"context"
	"errors"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// ApprovalContent gives the whole of a pending question as JSON (a
// protocol.ApprovalContent). With a user, the session notes that this user has read it.
func (cmd *Commands) ApprovalContent(ctx context.Context, id, interaction, user string) ([]byte, error) {
	if user == "" {
		snap, err := cmd.store.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		raw, err := cmd.contentOf(ctx, snap, interaction)
		if errors.Is(err, store.ErrConflict) {
			err = store.ErrPartMissing // its answer tells the caller to try again
		}
		return raw, err
	}
	var raw []byte
	judge := func(ctx context.Context, snap store.Snapshot, _ store.Noted) (err error) {
		raw, err = cmd.contentOf(ctx, snap, interaction)
		return err
	}
	_, err := cmd.engine.Decide(ctx, id, session.InContentRead{InteractionID: interaction, User: user}, engine.Terms{Judge: judge})
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// contentOf reads the whole of a question that is pending in a snapshot. ErrConflict: the
// snapshot is outdated.
func (cmd *Commands) contentOf(ctx context.Context, snap store.Snapshot, interaction string) ([]byte, error) {
	if _, err := store.Visible(snap, nil); err != nil {
		return nil, err
	}
	id := snap.State.Info.SessionID
	i := snap.State.Pending(interaction)
	if i < 0 {
		return nil, cmd.whyNotPending(ctx, id, interaction)
	}
	p := snap.State.Approvals[i]
	if p.Whole == nil {
		return session.ContentOf(p.Data).Encode(), nil
	}
	raw, err := store.ReadWhole(ctx, cmd.store, id, interaction, p.Whole.Parts)
	if errors.Is(err, store.ErrPartMissing) {
		if again, err := cmd.Load(ctx, id); err == nil && again.Version != snap.Version {
			return nil, store.ErrConflict // it was answered meanwhile
		}
	}
	return raw, err
}
