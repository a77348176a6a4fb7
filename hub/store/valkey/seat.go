package valkey

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// pendingLife is how long a seat may be pending. A node that takes a seat creates its
// session within a call or two. An older pending seat belongs to a node that died.
const pendingLife = 30 * time.Second

// seats are the seats of users' open sessions.
type seats struct{ *calls }

// seat is the answer of seat.lua.
type seat struct {
	time   int64 // microseconds: of the store's clock
	seated bool  // the seat is new
	listed bool  // the line in the user's list is new
}

// holderPage is how many holders of seats are read with one call.
const holderPage = 256

// takeSeat takes a seat among a user's open sessions. When all are taken, it checks their
// holders page by page before it refuses.
func (s *seats) takeSeat(ctx context.Context, user, id, sessionKey string, most int) (seat, error) {
	what := "create session " + id
	for from := 0; ; {
		call, cancel := s.deadline(ctx)
		r := seatScript.Exec(call, s.client, []string{s.openKey(user), s.sessionsKey(user)},
			[]string{id, strconv.Itoa(most), strconv.Itoa(from), strconv.Itoa(holderPage)})
		v, err := r.ToArray()
		cancel()
		if err != nil {
			return seat{}, s.unavailable(ctx, "create", what, err)
		}
		if len(v) < 2 {
			return seat{}, s.unavailable(ctx, "create", what, fmt.Errorf("the script gave %d values", len(v)))
		}
		now, err := v[0].AsInt64()
		if err != nil {
			return seat{}, s.unavailable(ctx, "create", what, err)
		}
		seated, err := v[1].AsInt64()
		if err != nil {
			return seat{}, s.unavailable(ctx, "create", what, err)
		}
		if seated >= 0 {
			listed, err := v[2].AsInt64()
			if err != nil {
				return seat{}, s.unavailable(ctx, "create", what, err)
			}
			return seat{time: now, seated: seated == 1, listed: listed == 1}, nil
		}
		if from == 0 {
			there, err := s.exists(ctx, sessionKey)
			if err != nil {
				return seat{}, s.unavailable(ctx, "create", what, err)
			}
			if there {
				return seat{}, fmt.Errorf("%s: %w", what, store.ErrExists)
			}
		}
		freed, err := s.verify(ctx, user, now, v[2:])
		if err != nil {
			return seat{}, s.unavailable(ctx, "create", what, err)
		}
		switch {
		case freed: // and so there is a seat, unless somebody else takes it: then from here on
		case len(v)-2 < 2*holderPage:
			return seat{}, fmt.Errorf("%w: the user has %d, which is the most", store.ErrSessionLimit, most)
		default:
			from += holderPage
		}
	}
}

func (s *seats) exists(ctx context.Context, key string) (bool, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	return s.client.Do(call, s.client.B().Exists().Key(key).Build()).AsBool()
}

// verify checks the holders of a user's seats (id, score, id, score, ...). It frees the
// seats of sessions that are closed, gone, or were never made.
func (s *seats) verify(ctx context.Context, user string, now int64, holders []valkey.ValkeyMessage) (freed bool, err error) {
	ids, scores := make([]string, 0, len(holders)/2), make([]string, 0, len(holders)/2)
	reads := make(valkey.Commands, 0, len(holders)/2)
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
		reads = append(reads, s.client.B().Hmget().Key(keys[0]).Field("user", "closed").Build())
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	var gone []string
	for i, r := range s.client.DoMulti(call, reads...) {
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

// giveBack gives back a seat whose session turned out to exist, unless that session has
// the seat. It ignores errors: verify frees what is left.
func (s *seats) giveBack(ctx context.Context, user, id, sessionKey string, p seat) {
	if !p.seated && !p.listed {
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
	if p.seated && (owner != user || closed != "") {
		releaseScript.Exec(call, s.client, []string{s.openKey(user)}, []string{id, "-" + score})
	}
	if p.listed && owner != user {
		releaseScript.Exec(call, s.client, []string{s.sessionsKey(user)}, []string{id, score})
	}
}

// leave frees the seat of a session that has closed. It ignores errors: verify frees what
// is left.
func (s *seats) leave(ctx context.Context, user, id string) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	s.client.Do(call, s.client.B().Zrem().Key(s.openKey(user)).Member(id).Build())
}
