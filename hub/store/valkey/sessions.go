package valkey

import (
	"context"
	"errors"
	"fmt"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// sessions keeps the states, the logs, the notes and the parts.
type sessions struct {
	*calls
	*seats
}

// Create implements store.Writer. The user's seats and the session are in different hash
// slots, so Create takes several steps. It takes a pending seat and lists the session,
// creates the session, and confirms the seat. A node can die after each step. It leaves
// hints about a session that does not exist, which their readers verify.
func (s *sessions) Create(ctx context.Context, id string, b store.Batch, maxOpen int) (store.Appended, error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Appended{}, fmt.Errorf("%w: %q cannot be the id of a session", session.ErrInvalid, id)
	}
	user := b.State.Info.UserID
	p, err := s.takeSeat(ctx, user, id, keys[0], maxOpen)
	if err != nil {
		return store.Appended{}, err
	}
	call, cancel := s.deadline(ctx)
	err = s.client.Do(call, s.client.B().Zadd().Key(s.allKey()).Nx().ScoreMember().ScoreMember(float64(p.time), id).Build()).Error()
	cancel()
	if err != nil {
		return store.Appended{}, s.unavailable(ctx, "create", "list session "+id, err)
	}
	b.Expect = 0
	done, err := s.run(ctx, "create", keys, id, user, b)
	switch {
	case errors.Is(err, store.ErrExists):
		s.giveBack(ctx, user, id, keys[0], p)
	case err == nil && p.seated:
		// If this fails, nothing is lost: see verify.
		call, cancel := s.deadline(ctx)
		defer cancel()
		s.client.Do(call, s.client.B().Zadd().Key(s.openKey(user)).Xx().ScoreMember().ScoreMember(float64(p.time), id).Build())
	}
	return done, err
}

// Delete implements store.Writer.
func (s *sessions) Delete(ctx context.Context, id string) error {
	keys, ok := s.keys(id)
	if !ok {
		return nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	user, err := deleteScript.Exec(call, s.client, append(keys[:], s.channel(id)+":streams"), []string{s.userChannel(""), newEpoch()}).ToString()
	if valkey.IsValkeyNil(err) {
		return nil
	}
	if err != nil {
		return s.unavailable(ctx, "delete", "delete session "+id, err)
	}
	// The session is gone: these are hints about it, which List and verify drop when they
	// read them.
	s.client.DoMulti(call,
		s.client.B().Zrem().Key(s.openKey(user)).Member(id).Build(),
		s.client.B().Zrem().Key(s.sessionsKey(user)).Member(id).Build(),
		s.client.B().Zrem().Key(s.allKey()).Member(id).Build())
	return nil
}
