package valkeystore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// listPage is how many lines of a list are read at a time, at most.
const listPage = 256

// unlistAfter is how old a line about a session that is not there must be before
// it is dropped: it is written before the session.
const unlistAfter = 5 * time.Minute

// line is a line of a list: a session and the time when it was created,
// microseconds.
type line struct {
	id string
	at int64
}

// List implements hub.Store. The lists are hints: what they name is looked at.
func (s *Store) List(ctx context.Context, q hub.ListQuery) ([]hub.Snapshot, string, error) {
	key := s.allKey()
	if q.User != "" {
		key = s.sessionsKey(q.User)
	}
	var after *line
	if q.After != "" {
		l, err := parseListCursor(q.After)
		if err != nil {
			return nil, "", err
		}
		after = &l
	}
	var out []hub.Snapshot
	var end line // of the last session in out
	for {
		missing := q.Limit - len(out) + 1 // one more tells whether the list goes on
		want := min(listPage, missing)
		if q.Status != "" {
			want = listPage // few of them may match
		}
		lines, more, err := s.lines(ctx, key, after, want)
		if err != nil {
			return nil, "", s.unavailable(ctx, "list", "list sessions", err)
		}
		snaps, err := s.look(ctx, key, q, lines, missing)
		if err != nil {
			return nil, "", s.unavailable(ctx, "list", "list sessions", err)
		}
		more, lines = more || len(snaps) < len(lines), lines[:len(snaps)]
		for i, snap := range snaps {
			if snap.State == nil {
				continue
			}
			if len(out) == q.Limit {
				return out, end.cursor(), nil
			}
			out, end = append(out, snap), lines[i]
		}
		if !more {
			return out, "", nil
		}
		after = &lines[len(lines)-1]
	}
}

// lines reads n lines behind one, newest first.
func (s *Store) lines(ctx context.Context, key string, after *line, n int) (out []line, more bool, err error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	from, want := "+inf", n
	if after != nil {
		from = strconv.FormatInt(after.at, 10)
		want++ // the line itself comes again
	}
	for skip := 0; len(out) < n; {
		got, err := s.client.Do(call, s.client.B().Zrevrangebyscore().Key(key).Max(from).Min("-inf").Withscores().
			Limit(int64(skip), int64(want)).Build()).AsZScores()
		if err != nil {
			return nil, false, err
		}
		for _, z := range got {
			l := line{id: z.Member, at: int64(z.Score)}
			// Of one time they come in the descending order of their ids.
			if after == nil || l.at < after.at || l.id < after.id {
				out = append(out, l)
			}
		}
		skip += len(got)
		if more = len(got) == want; !more {
			break
		}
	}
	return out, more, nil
}

// look reads the sessions of some lines, until it has seen as many as are missing.
// Those that are gone, or that the query does not ask for, have no State.
func (s *Store) look(ctx context.Context, key string, q hub.ListQuery, lines []line, missing int) ([]hub.Snapshot, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	seen := len(lines)
	call, cancel := s.deadline(ctx)
	defer cancel()
	// A state can be long: it is read only of those that will be shown.
	brief := make(valkey.Commands, len(lines))
	for i, l := range lines {
		keys, _ := s.keys(l.id)
		brief[i] = s.client.B().Hmget().Key(keys[0]).Field("user", "status", "closed").Build()
	}
	var stale []string
	full, at := make(valkey.Commands, 0, len(lines)), make([]int, 0, len(lines))
	for i, r := range s.client.DoMulti(call, brief...) {
		v, err := r.ToArray()
		if err != nil {
			return nil, err
		}
		if v[0].IsNil() {
			if time.Since(time.UnixMicro(lines[i].at)) > unlistAfter {
				stale = append(stale, lines[i].id, strconv.FormatInt(lines[i].at, 10))
			}
			continue
		}
		user, _ := v[0].ToString()
		status, _ := v[1].ToString()
		closed, _ := v[2].ToString()
		if closed == protocol.ClosedDeleted || q.User != "" && user != q.User || q.Status != "" && protocol.Status(status) != q.Status {
			continue
		}
		keys, _ := s.keys(lines[i].id)
		full, at = append(full, s.client.B().Hmget().Key(keys[0]).Field(snapshotFields...).Build()), append(at, i)
		if len(full) == missing {
			seen = i + 1
			break
		}
	}
	out := make([]hub.Snapshot, seen)
	if len(stale) > 0 {
		releaseScript.Exec(call, s.client, []string{key}, stale) // again, when it fails
	}
	if len(full) == 0 {
		return out, nil
	}
	for i, r := range s.client.DoMulti(call, full...) {
		snap, ok, err := parseSnapshot(r)
		if err != nil {
			return nil, err
		}
		// It may have changed since.
		if ok && snap.State.Closed != protocol.ClosedDeleted && (q.Status == "" || snap.State.Status.Status == q.Status) {
			out[at[i]] = snap
		}
	}
	return out, nil
}

// cursor names a line's place in its list.
func (l line) cursor() string { return strconv.FormatInt(l.at, 36) + "." + l.id }

func parseListCursor(text string) (line, error) {
	at, id, ok := strings.Cut(text, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil || n < 0 || id == "" {
		return line{}, fmt.Errorf("%w: cursor %q is not one of a listing", hub.ErrInvalid, text)
	}
	return line{id: id, at: n}, nil
}
