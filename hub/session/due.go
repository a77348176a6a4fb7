package session

import (
	"time"

	"sessionhub/protocol"
)

// RecheckQueued is how soon a session that waits for a worker is checked again: it could
// be missing from the queue.
const RecheckQueued = 10 * time.Second

// Due is when a session must be checked next. lease is how much is left of its worker's
// lease, if it has a worker. That counts only while the session has something open. For
// resting sessions, the worker has a due entry of its own.
func (s *State) Due(lastActivity time.Time, p Policy, now time.Time, lease time.Duration) time.Time {
	due := s.NextDue(lastActivity, p)
	if s.NeedsWorker() {
		due = earlier(due, now.Add(p.recheckQueued()))
	}
	if s.Worker != "" && s.Busy() {
		due = earlier(due, now.Add(lease))
	}
	return due
}

// recheckQueued is RecheckQueued, or CompactAfter if that is shorter: the check also
// finds that the session's log has something to compact.
func (p Policy) recheckQueued() time.Duration {
	if p.CompactAfter > 0 {
		return min(RecheckQueued, p.CompactAfter)
	}
	return RecheckQueued
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// NextDue is the next time at which the rules have something to do: people are to be told of
// a change, a question expires, the session has idled too long, or the retention of an ended
// session is over.
func (s *State) NextDue(lastActivity time.Time, p Policy) time.Time {
	switch {
	case s.Closed == protocol.ClosedDeleted && !s.Forgotten:
		return s.ClosedAt.Add(p.DeletedLinger)
	case s.Closed != "":
		return s.ClosedAt.Add(p.EndedRetention)
	case len(s.Options.Untold) > 0:
		return lastActivity
	}
	var due time.Time
	for _, a := range s.Approvals {
		if e := a.Data.ExpiresAt; e != nil && (due.IsZero() || e.Before(due)) {
			due = *e
		}
	}
	for _, q := range s.Elicitations {
		if e := q.Data.ExpiresAt; e != nil && (due.IsZero() || e.Before(due)) {
			due = *e
		}
	}
	if due.IsZero() {
		return lastActivity.Add(p.SessionIdleTTL)
	}
	return due
}
