package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Questions are what agents ask people, apart from approvals. All methods may be called
// concurrently.
type Questions struct{ rooms }

// Answer answers a pending question of the agent. The first answer wins.
// *session.InvalidAnswerError: the form does not take it. *session.AnsweredError: the
// question ended before. session.ErrQuestionExpired: nobody answered in time.
func (q *Questions) Answer(ctx context.Context, id, user string, r protocol.AnswerRequest) (protocol.AnswerResponse, error) {
	switch {
	case r.InteractionID == "":
		return protocol.AnswerResponse{}, fmt.Errorf("%w: interactionId is missing", session.ErrInvalid)
	case protocol.OutcomeOf(r.Action) == "":
		return protocol.AnswerResponse{}, fmt.Errorf("%w: want an action that is accept, decline or cancel", session.ErrInvalid)
	}
	if len(r.Content) > 0 {
		content, err := protocol.Compact(r.Content)
		if err != nil {
			return protocol.AnswerResponse{}, fmt.Errorf("%w: content: %w", session.ErrInvalid, err)
		}
		if r.Content = content; string(content) == "null" {
			r.Content = nil
		}
	}
	in := &session.InAnswer{Request: r, By: user}
	judge := func(ctx context.Context, snap store.Snapshot, _ store.Noted) (err error) {
		in.Whole, err = q.private(ctx, snap.State, r.InteractionID)
		return err
	}
	_, err := q.engine.Decide(ctx, id, in, engine.Terms{Judge: judge})
	if errors.Is(err, session.ErrNotPending) {
		err = q.whyAnswered(ctx, id, r.InteractionID)
	}
	if err != nil {
		return protocol.AnswerResponse{}, err
	}
	return protocol.AnswerResponse{InteractionID: r.InteractionID, Action: r.Action}, nil
}

// whyAnswered is the answer to an answer that no question waits for.
func (q *Questions) whyAnswered(ctx context.Context, id, interaction string) error {
	outcome, _, ok, err := q.store.Note(ctx, id, session.ElicitationNote(interaction))
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("question %q: %w", session.Clip(interaction), session.ErrNotFound)
	case outcome == protocol.OutcomeExpired:
		return fmt.Errorf("question %q: %w", session.Clip(interaction), session.ErrQuestionExpired)
	}
	return &session.AnsweredError{Outcome: outcome}
}

// Elicitations gives the pending questions of the agent, oldest first.
func (q *Questions) Elicitations(ctx context.Context, id string) (protocol.Elicitations, error) {
	snap, err := store.Visible(q.store.Load(ctx, id))
	if err != nil {
		return protocol.Elicitations{}, err
	}
	out := protocol.Elicitations{Elicitations: make([]protocol.ElicitationData, 0, len(snap.State.Elicitations))}
	for _, pending := range snap.State.Elicitations {
		out.Elicitations = append(out.Elicitations, pending.Data)
	}
	return out, nil
}

// Elicitation gives a pending question of the agent, also the whole of a private one.
// ErrNotFound: there is none, or it has ended.
func (q *Questions) Elicitation(ctx context.Context, id, interaction string) (protocol.ElicitationData, error) {
	snap, err := store.Visible(q.store.Load(ctx, id))
	if err != nil {
		return protocol.ElicitationData{}, err
	}
	i := snap.State.Elicitation(interaction)
	if i < 0 {
		return protocol.ElicitationData{}, fmt.Errorf("question %q: %w", session.Clip(interaction), session.ErrNotFound)
	}
	whole, err := q.private(ctx, snap.State, interaction)
	if err != nil || whole == nil {
		return snap.State.Elicitations[i].Data, err
	}
	return *whole, nil
}

// private reads a private question that is open; nil: there is no such one.
func (q *Questions) private(ctx context.Context, s *session.State, interaction string) (*protocol.ElicitationData, error) {
	i := s.Elicitation(interaction)
	if i < 0 || !s.Elicitations[i].Data.Private {
		return nil, nil
	}
	raw, ok, err := q.store.Part(ctx, s.Info.SessionID, session.PartKey(interaction, 0))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("session %s, question %q: %w", s.Info.SessionID, session.Clip(interaction), store.ErrPartMissing)
	}
	var whole protocol.ElicitationData
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, fmt.Errorf("session %s, question %q: it cannot be read", s.Info.SessionID, session.Clip(interaction)) // without its text
	}
	return &whole, nil
}
