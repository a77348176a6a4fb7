package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
)

// pendingLife is how long a place may be pending. Who takes one creates its
// session within a call or two, so an older one belongs to a node that died.
const pendingLife = 30 * time.Second

// Create implements hub.Store. The user's places and the session lie in different
// slots, so it goes in steps, and each may be the last one of a node that dies:
// take a place (pending) and list the session, create it, confirm the place. What
// is left behind is a hint about nothing, which those who read it see.
func (s *Store) Create(ctx context.Context, id string, b hub.Batch, maxOpen int) (hub.Appended, error) {
	keys, ok := s.keys(id)
	if !ok {
		return hub.Appended{}, fmt.Errorf("%w: %q cannot be the id of a session", hub.ErrInvalid, id)
	}
	user := b.State.Info.UserID
	p, err := s.takePlace(ctx, user, id, keys[0], maxOpen)
	if err != nil {
		return hub.Appended{}, err
	}
	call, cancel := s.deadline(ctx)
	err = s.client.Do(call, s.client.B().Zadd().Key(s.allKey()).Nx().ScoreMember().ScoreMember(float64(p.time), id).Build()).Error()
	cancel()
	if err != nil {
		return hub.Appended{}, s.unavailable(ctx, "create", "list session "+id, err)
	}
	b.Expect = 0
	done, err := s.run(ctx, "create", keys, id, user, b)
	switch {
	case errors.Is(err, hub.ErrExists):
		s.giveBack(ctx, user, id, keys[0], p)
	case err == nil && p.placed:
		// Losing this is no harm: see verify.
		call, cancel := s.deadline(ctx)
		defer cancel()
		s.client.Do(call, s.client.B().Zadd().Key(s.openKey(user)).Xx().ScoreMember().ScoreMember(float64(p.time), id).Build())
	}
	return done, err
}

// place is what place.lua did.
type place struct {
	time   int64 // microseconds: of the store's clock
	placed bool  // the place is new
	listed bool  // the line in the user's list is new
}

// holderPage is how many holders of places are looked at with one call.
const holderPage = 256

// takePlace takes a place among a user's open sessions. When all are taken, it
// looks at who has them before it says so, page by page.
func (s *Store) takePlace(ctx context.Context, user, id, sessionKey string, most int) (place, error) {
	what := "create session " + id
	for from := 0; ; {
		call, cancel := s.deadline(ctx)
		r := placeScript.Exec(call, s.client, []string{s.openKey(user), s.sessionsKey(user)},
			[]string{id, strconv.Itoa(most), strconv.Itoa(from), strconv.Itoa(holderPage)})
		v, err := r.ToArray()
		cancel()
		if err != nil {
			return place{}, s.unavailable(ctx, "create", what, err)
		}
		if len(v) < 2 {
			return place{}, s.unavailable(ctx, "create", what, fmt.Errorf("the script gave %d values", len(v)))
		}
		now, err := v[0].AsInt64()
		if err != nil {
			return place{}, s.unavailable(ctx, "create", what, err)
		}
		placed, err := v[1].AsInt64()
		if err != nil {
			return place{}, s.unavailable(ctx, "create", what, err)
		}
		if placed >= 0 {
			listed, err := v[2].AsInt64()
			if err != nil {
				return place{}, s.unavailable(ctx, "create", what, err)
			}
			return place{time: now, placed: placed == 1, listed: listed == 1}, nil
		}
		if from == 0 {
			there, err := s.exists(ctx, sessionKey)
			if err != nil {
				return place{}, s.unavailable(ctx, "create", what, err)
			}
			if there {
				return place{}, fmt.Errorf("%s: %w", what, hub.ErrExists)
			}
		}
		freed, err := s.verify(ctx, user, now, v[2:])
		if err != nil {
			return place{}, s.unavailable(ctx, "create", what, err)
		}
		switch {
		case freed: // and so there is a place, unless somebody else takes it: then from here on
		case len(v)-2 < 2*holderPage:
			return place{}, fmt.Errorf("%w: the user has %d, which is the most", hub.ErrSessionLimit, most)
		default:
			from += holderPage
		}
	}
}

func (s *Store) exists(ctx context.Context, key string) (bool, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	return s.client.Do(call, s.client.B().Exists().Key(key).Build()).AsBool()
}

// verify looks at the holders of a user's places (id, score, id, score, ...) and
// frees those of sessions that are closed, gone, or were never made.
func (s *Store) verify(ctx context.Context, user string, now int64, holders []valkey.ValkeyMessage) (freed bool, err error) {
	ids, scores := make([]string, 0, len(holders)/2), make([]string, 0, len(holders)/2)
	look := make(valkey.Commands, 0, len(holders)/2)
	for i := 0; i+1 < len(holders); i += 2 {
		id, err := holders[i].ToString()
		if err != nil {
			return false, err
		}
		score, err := holders[i+1].AsFloat64()
		if err != nil {
			return false, err
		}
		keys, _ := s.keys(id)
		ids, scores = append(ids, id), append(scores, strconv.FormatFloat(score, 'f', 0, 64))
		look = append(look, s.client.B().Hmget().Key(keys[0]).Field("user", "closed").Build())
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	var gone []string
	for i, r := range s.client.DoMulti(call, look...) {
		v, err := r.ToArray()
		if err != nil {
			return false, err
		}
		score, _ := strconv.ParseInt(scores[i], 10, 64)
		open := false
		if v[0].IsNil() {
			open = score < 0 && now+score < pendingLife.Microseconds() // about to be made
		} else {
			owner, _ := v[0].ToString()
			closed, _ := v[1].ToString()
			open = owner == user && closed == ""
		}
		if !open {
			gone = append(gone, ids[i], scores[i])
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	return true, releaseScript.Exec(call, s.client, []string{s.openKey(user)}, gone).Error()
}

// giveBack gives back the place for a session that turned out to exist, unless it
// is that session's own. Errors are left to those who verify.
func (s *Store) giveBack(ctx context.Context, user, id, sessionKey string, p place) {
	if !p.placed && !p.listed {
		return
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	v, err := s.client.Do(call, s.client.B().Hmget().Key(sessionKey).Field("user", "closed").Build()).ToArray()
	if err != nil || v[0].IsNil() {
		return
	}
	owner, _ := v[0].ToString()
	closed, _ := v[1].ToString()
	score := strconv.FormatInt(p.time, 10)
	if p.placed && (owner != user || closed != "") {
		releaseScript.Exec(call, s.client, []string{s.openKey(user)}, []string{id, "-" + score})
	}
	if p.listed && owner != user {
		releaseScript.Exec(call, s.client, []string{s.sessionsKey(user)}, []string{id, score})
	}
}

// leave frees the place of a session that has closed. Errors are left to verify.
func (s *Store) leave(ctx context.Context, user, id string) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	s.client.Do(call, s.client.B().Zrem().Key(s.openKey(user)).Member(id).Build())
}

// Delete implements hub.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	keys, ok := s.keys(id)
	if !ok {
		return nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	user, err := deleteScript.Exec(call, s.client, append(keys[:], s.channel(id)+":streams"), nil).ToString()
	if valkey.IsValkeyNil(err) {
		return nil
	}
	if err != nil {
		return s.unavailable(ctx, "delete", "delete session "+id, err)
	}
	// The session is gone: these are hints about it, which List and verify drop
	// when they meet them.
	s.client.DoMulti(call,
		s.client.B().Zrem().Key(s.openKey(user)).Member(id).Build(),
		s.client.B().Zrem().Key(s.sessionsKey(user)).Member(id).Build(),
		s.client.B().Zrem().Key(s.allKey()).Member(id).Build())
	return nil
}
