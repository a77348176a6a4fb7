package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/transcript"
	"sessionhub/protocol"
)

// SearchQuery looks for sessions. Text is looked for in titles and first messages; with
// InLogs, also in what people and the agent have said. Limit and After are those of the
// listing.
type SearchQuery struct {
	ListQuery
	Text   string
	InLogs bool
}

// Found is what a search has found, newest first. Next is where the search goes on; empty:
// it has seen all sessions. Unsearched are sessions whose logs were not read to the end.
type Found struct {
	Sessions   []store.Snapshot
	Next       string
	Unsearched []string
}

// Search looks through a bounded number of sessions: protocol.SearchScan, and with InLogs
// about protocol.SearchTextBytes of their logs.
func (x Inbox) Search(ctx context.Context, q SearchQuery) (out Found, err error) {
	want := strings.ToLower(strings.Join(strings.Fields(q.Text), " "))
	switch {
	case len(q.Text) > protocol.MaxSearchBytes || !utf8.ValidString(q.Text):
		return out, fmt.Errorf("%w: query must be UTF-8 of at most %d bytes", session.ErrInvalid, protocol.MaxSearchBytes)
	case want == "":
		return out, fmt.Errorf("%w: query is blank", session.ErrInvalid)
	}
	const page = 100
	list, looked, read := q.ListQuery, 0, 0
	list.Limit, list.Scan = page, protocol.SearchScan
	for {
		snaps, next, err := x.cmd.store.List(ctx, list)
		if err != nil {
			return Found{}, err
		}
		for i, s := range snaps {
			if len(out.Sessions) == q.Limit || read >= protocol.SearchTextBytes {
				out.Next, err = x.behind(ctx, list, i)
				return out, err
			}
			match := session.Matches(s.State, want)
			if !match && q.InLogs {
				var n int
				var whole bool
				match, n, whole, err = x.said(ctx, s, want, protocol.SearchTextBytes)
				if err != nil {
					return Found{}, err
				}
				if read += n; !match && !whole {
					out.Unsearched = append(out.Unsearched, s.State.Info.SessionID)
				}
			}
			if match {
				out.Sessions = append(out.Sessions, s)
			}
		}
		looked += max(len(snaps), 1)
		if next == "" || looked >= protocol.SearchScan || len(snaps) == 0 {
			out.Next = next
			return out, nil
		}
		list.After = next
	}
}

// behind is the place in a list behind the first n sessions of a page.
func (x Inbox) behind(ctx context.Context, page store.ListQuery, n int) (string, error) {
	if n == 0 {
		return page.After, nil
	}
	page.Limit = n
	_, next, err := x.cmd.store.List(ctx, page)
	return next, err
}

// said reports whether a text was said in a session's log, up to the snapshot's end. It
// reads at most about most bytes; whole is false if the log has more.
func (x Inbox) said(ctx context.Context, s store.Snapshot, want string, most int) (found bool, read int, whole bool, err error) {
	const events, bytes = 1000, 256 << 10
	f := transcript.Finder{Want: want}
	for after := uint64(0); after < s.Last; {
		page, err := x.cmd.store.Read(ctx, s.State.Info.SessionID, after, events, bytes)
		if errors.Is(err, session.ErrNotFound) {
			return false, read, true, nil // it was deleted meanwhile
		}
		if err != nil {
			return false, read, false, err
		}
		if len(page.Entries) == 0 {
			break
		}
		for _, e := range page.Entries {
			if read += e.JSONLen(); f.Event(e) {
				return true, read, true, nil
			}
			after = e.Seq
		}
		if read >= most && after < s.Last {
			return false, read, false, nil
		}
	}
	return false, read, true, nil
}
