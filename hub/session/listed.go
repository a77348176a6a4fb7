package session

import (
	"maps"
	"time"

	"sessionhub/protocol"
)

// Listed reports whether a change of the state shows in a listing of sessions. What a
// listing reads from the log's end does not count: lastSeq, lastActivityAt.
func Listed(before, after *State) bool {
	return before != after && (entryOf(before) != entryOf(after) ||
		!sameQuestions(before, after) || !sameUsage(before.Usage, after.Usage) || !maps.Equal(before.Options.Chosen, after.Options.Chosen))
}

// entry is what a listing shows of a state and can be compared. Finished is not shown: it
// tells that a turn has ended although the status is the same again.
type entry struct {
	title, closed, mode string
	status              protocol.Status
	closedAt            time.Time
	approvals, asked    int
	finished            uint64
	modes, asking       bool
	pinned, archived    bool
	unread              bool
	tree                Tree
}

func entryOf(s *State) entry {
	e := entry{
		title: s.Title(), closed: s.Closed, mode: s.Options.Mode, status: s.Status.Status, closedAt: s.ClosedAt,
		approvals: len(s.Approvals), asked: len(s.Elicitations), finished: s.Finished, modes: s.Options.Asking != nil, tree: s.Tree,
		pinned: s.Pinned, archived: s.Archived, unread: s.Unread,
	}
	if e.modes {
		e.asking = *s.Options.Asking
	}
	return e
}

// sameQuestions reports whether the same questions are open. Their numbers are equal.
func sameQuestions(a, b *State) bool {
	if len(a.Approvals) != len(b.Approvals) || len(a.Elicitations) != len(b.Elicitations) {
		return false
	}
	for i := range a.Approvals {
		if a.Approvals[i].Data.InteractionID != b.Approvals[i].Data.InteractionID {
			return false
		}
	}
	for i := range a.Elicitations {
		if a.Elicitations[i].Data.InteractionID != b.Elicitations[i].Data.InteractionID {
			return false
		}
	}
	return true
}

func sameUsage(a, b *Usage) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	x, y := a.SessionUsage, b.SessionUsage
	same := equal(x.Used, y.Used) && equal(x.Size, y.Size) && equal(x.Cost, y.Cost)
	x.Used, x.Size, x.Cost, y.Used, y.Size, y.Cost = nil, nil, nil, nil, nil, nil
	return same && x == y
}

// equal reports whether two optional values are the same.
func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
