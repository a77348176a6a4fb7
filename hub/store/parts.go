package store

import (
	"context"
	"fmt"

	"sessionhub/hub/session"
)

// Parts reads the pieces in which a store keeps a long question.
type Parts interface {
	// Part reads one piece of a question. ok is false if there is none.
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
