package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/excerpt"
	"sessionhub/protocol"
)

// question makes the input of a tool_approval. It reads the parts that the worker has
// sent before, and cuts the event's data to most bytes.
func (p publisher) question(ctx context.Context, s *heldSession, a protocol.ToolApprovalData, most int) (session.Input, error) {
	in := session.InToolApproval{}
	snap, err := p.fleet.store.Load(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if up := snap.State.Upload; up != nil && up.InteractionID == a.InteractionID {
		raw, err := store.ReadWhole(ctx, p.fleet.store, s.id, up.InteractionID, up.Parts)
		if err != nil && !errors.Is(err, store.ErrPartMissing) {
			return nil, err
		}
		if err == nil {
			err = wholeOf(raw, a, up, &in)
		}
		if err != nil { // the question is still asked if its event is complete
			p.problem(protocol.LinkInvalid, fmt.Sprintf("session %s: the content of a question: %v", s.id, err))
		}
	}
	asked := a
	if size := len(protocol.Marshal(a)); size > most {
		cut := excerpt.Approval(&a, most-approvalMargin)
		if n := len(protocol.Marshal(a)); n > most {
			in.Unfit = &session.Refusal{Code: protocol.LinkTooLarge, Detail: fmt.Sprintf("%d bytes of tool_approval data are over --max-event-bytes %d", size, most)}
			in.Data = a
			return in, nil
		}
		if cut && in.Whole == nil && !asked.Truncated {
			doc := session.ContentOf(asked).Encode()
			in.Parts = slices.Collect(slices.Chunk([]byte(doc), protocol.MaxContentPart))
			in.Whole = &session.Whole{Bytes: len(doc), Parts: len(in.Parts), Rule: session.RuleFor(asked)}
		}
	}
	if a.Truncated && in.Whole != nil {
		a.FullBytes = in.Whole.Bytes
	}
	if !a.Truncated {
		a.FullBytes = 0
	}
	in.Data = a
	return in, nil
}

// approvalMargin is room for the fields that the hub adds to a question.
const approvalMargin = 300

// wholeOf checks that the parts of a worker are the whole of its question, and sets
// in.Whole.
func wholeOf(raw []byte, a protocol.ToolApprovalData, up *session.Upload, in *session.InToolApproval) error {
	var c protocol.ApprovalContent
	if err := protocol.Decode(raw, &c); err != nil {
		return err
	}
	sameOption := func(a, b protocol.ApprovalOption) bool { return a.OptionID == b.OptionID && a.Kind == b.Kind }
	switch {
	case len(raw) != up.Bytes || c.FullBytes != up.Bytes:
		return fmt.Errorf("it says that it has %d bytes, and has %d", c.FullBytes, len(raw))
	case c.InteractionID != a.InteractionID || c.ToolCallID != a.ToolCallID || c.Kind != a.Kind || !slices.EqualFunc(c.Options, a.Options, sameOption):
		return errors.New("it is of another question")
	}
	if len(c.Content) == 0 {
		c.Content = nil // as in an event without any
	}
	rule := session.RuleFor(protocol.ToolApprovalData{Title: c.Title, Kind: c.Kind, Input: c.Input, Content: c.Content})
	in.Whole = &session.Whole{Bytes: up.Bytes, Parts: up.Parts, Rule: rule}
	return nil
}
