package store

import (
	"context"
	"fmt"

	"sessionhub/hub/session"
)

// Parts reads the pieces in which a store keeps long questions and attachments.
type Parts interface {
	// Part reads one piece. ok is false if there is none.
	Part(ctx context.Context, id, key string) (data []byte, ok bool, err error)
}

// ErrPartMissing says that a question was answered and its parts are gone.
var ErrPartMissing = fmt.Errorf("%w: a part of the question is missing", ErrUnavailable)

// ReadWhole reads a question of n parts. It fails with ErrPartMissing if one is gone.
func ReadWhole(ctx context.Context, from Parts, id, interaction string, n int) ([]byte, error) {
	var all []byte
	for i := range n {
		part, ok, err := from.Part(ctx, id, session.PartKey(interaction, i))
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("session %s, question %q: %w", id, session.Clip(interaction), ErrPartMissing)
		}
		all = append(all, part...)
	}
	return all, nil
}

// ErrAttachmentMissing says that the store has lost a part of an attachment.
var ErrAttachmentMissing = fmt.Errorf("%w: a part of the attachment is missing", ErrUnavailable)

// ReadAttachment reads one part of an attachment, whose parts count from 0. It fails with
// ErrAttachmentMissing if the part is gone, as are those of a deleted session.
func ReadAttachment(ctx context.Context, from Parts, id, attachment string, index int) ([]byte, error) {
	part, ok, err := from.Part(ctx, id, session.AttachmentKey(attachment, index))
	if err == nil && !ok {
		err = fmt.Errorf("session %s, attachment %q: %w", id, session.Clip(attachment), ErrAttachmentMissing)
	}
	return part, err
}
