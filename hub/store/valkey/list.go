package valkey

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// listPage is how many lines of a list are read at a time, at most.
const listPage = 256

// unlistAfter is the age at which a line is dropped if its session does not exist. A line
// is written before its session.
const unlistAfter = 5 * time.Minute

// lists is a store.Lister: of all sessions, and of each user's.
type lists struct{ *calls }

// line is one line of a list: a session, and when it was created in microseconds.
type line struct {
	id string
	at int64
}

// List implements store.Lister. The lists are hints: List reads each session that they
// name.
func (s *lists) List(ctx context.Context, q store.ListQuery) ([]store.Snapshot, string, error) {
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
	var out []store.Snapshot
	var end line // of the last session in out
	for looked := 0; ; {
		missing := q.Limit - len(out) + 1 // one more shows whether the list goes on
		want := min(listPage, missing)
		if q.Filters() {
			want = listPage // few of them may match
		}
		lines, more, err := s.lines(ctx, key, after, want)
		if err != nil {
			return nil, "", s.unavailable(ctx, "list", "list sessions", err)
		}
		snaps, err := s.readLines(ctx, key, q, lines, missing)
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
		if looked += len(lines); q.Scan > 0 && looked >= q.Scan {
			return out, after.cursor(), nil
		}
	}
}

// lines reads n lines after a given line, newest first.
func (s *lists) lines(ctx context.Context, key string, after *line, n int) (out []line, more bool, err error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	from, want := "+inf", n
	if after != nil {
		from = strconv.FormatInt(after.at, 10)
		want++ // the given line comes again
	}
	for skip := 0; len(out) < n; {
		got, err := s.client.Do(call, s.client.B().Zrevrangebyscore().Key(key).Max(from).Min("-inf").Withscores().
			Limit(int64(skip), int64(want)).Build()).AsZScores()
		if err != nil {
			return nil, false, err
		}
		for _, z := range got {
			l := line{id: z.Member, at: int64(z.Score)}
			// Lines of the same time come in descending order of their ids.
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

// readLines reads the sessions of some lines, until it has found as many as are missing. A
// session that is gone, or that the query does not ask for, has no State.
func (s *lists) readLines(ctx context.Context, key string, q store.ListQuery, lines []line, missing int) ([]store.Snapshot, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	seen := len(lines)
	call, cancel := s.deadline(ctx)
	defer cancel()
	// A state can be long, so it is read only if the session will be shown.
	brief := make(valkey.Commands, len(lines))
	for i, l := range lines {
		keys, _ := s.keys(l.id)
		brief[i] = s.client.B().Hmget().Key(keys[0]).Field("user", "status", "closed", "marks").Build()
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
		marks, _ := v[3].ToString()
		if closed == protocol.ClosedDeleted || q.User != "" && user != q.User || !mayTake(q, protocol.Status(status), marks) {
			continue
		}
		keys, _ := s.keys(lines[i].id)
		full, at = append(full, s.client.B().Hmget().Key(keys[0]).Field(snapshotFields...).Build()), append(at, i)
		if len(full) == missing {
			seen = i + 1
			break
		}
	}
	out := make([]store.Snapshot, seen)
	if len(stale) > 0 {
		releaseScript.Exec(call, s.client, []string{key}, stale) // if it fails, a later listing does it again
	}
	if len(full) == 0 {
		return out, nil
	}
	for i, r := range s.client.DoMulti(call, full...) {
		snap, ok, err := parseSnapshot(r)
		if err != nil {
			return nil, err
		}
		// The session may have changed since the first read.
		if ok && q.Takes(snap.State) {
			out[at[i]] = snap
		}
	}
	return out, nil
}

// The letters of a session's field "marks". A node of an earlier version writes a state and
// leaves the field as it is. So a letter can be there wrongly, but not be missing: such a
// node sets neither mark.
const (
	markArchived = "a"
	markUnread   = "u"
)

// marksOf are the marks of a state.
func marksOf(s *session.State) (marks string) {
	if s.Archived {
		marks += markArchived
	}
	if s.Unread {
		marks += markUnread
	}
	return marks
}

// mayTake reports whether the query may ask for a session with this status and these marks.
// The state decides.
func mayTake(q store.ListQuery, status protocol.Status, marks string) bool {
	rests := status == protocol.StatusIdle || status == protocol.StatusEnded || status == protocol.StatusFailed
	switch {
	case q.Status != "" && status != q.Status,
		q.Archived != nil && *q.Archived && !strings.Contains(marks, markArchived),
		q.Class == store.Working && rests,
		q.Class == store.News && !(rests && strings.Contains(marks, markUnread)):
		return false
	}
	return true
}

// cursor names a line's place in its list.
func (l line) cursor() string { return strconv.FormatInt(l.at, 36) + "." + l.id }

func parseListCursor(text string) (line, error) {
	at, id, ok := strings.Cut(text, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil || n < 0 || id == "" {
		return line{}, fmt.Errorf("%w: cursor %q is not one of a listing", session.ErrInvalid, text)
	}
	return line{id: id, at: n}, nil
}
