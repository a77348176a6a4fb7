package stream

import (
	"context"
	"time"

	"sessionhub/hub/session"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// RecheckKeys has every open stream of this node checked against the API keys. It does
// not wait, and may be called at any time. A stream that starts or gets another token
// meanwhile checks its key itself.
func (ss *Streams) RecheckKeys() {
	select {
	case ss.keys <- struct{}{}:
	default: // a check that has not begun yet sees the new keys too
	}
}

// checkKeys runs after each change of the keys. It ends the streams whose API key was
// taken away. After endGrace it cuts those of them whose peer takes nothing. The sweeper
// is too late for that: it could come nearly two seconds later, and a key must take
// effect within 2 s.
func (ss *Streams) checkKeys(ctx context.Context) {
	grace := time.NewTimer(endGrace)
	grace.Stop()
	defer grace.Stop()
	waiting, again := false, false // waiting: grace runs; again: the keys changed meanwhile
	for {
		select {
		case <-ctx.Done():
			return
		case <-ss.keys:
			ss.eachGuarded((*tail).endForKeys)
			if again = waiting; !waiting {
				waiting = true
				grace.Reset(endGrace)
			}
		case <-grace.C:
			ss.eachGuarded((*tail).cutLate)
			if waiting, again = again, false; waiting {
				grace.Reset(endGrace)
			}
		}
	}
}

// eachGuarded calls f for every tail. A panic ends the streams of its tail alone.
func (ss *Streams) eachGuarded(f func(*tail)) {
	ss.tails.each(func(t *tail) {
		defer t.recoverSweep()
		f(t)
	})
}

// endForKeys ends the streams of a tail whose API key was taken away.
func (t *tail) endForKeys() {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.subs {
		if err := t.streams.checkGrant(t.user, s.grant, now); err != nil {
			s.endForLocked(err)
		}
	}
}

// cutLate cuts the streams that should have ended by now and are still busy.
func (t *tail) cutLate() {
	var cut []*Subscriber
	t.mu.Lock()
	since := t.streams.tails.now()
	for _, s := range t.subs {
		if s.lateLocked(since) {
			cut = append(cut, s)
		}
	}
	t.mu.Unlock()
	for _, s := range cut {
		s.sink.Cut()
	}
}

// lateLocked reports whether the stream should have ended endGrace ago. It marks the
// stream as ended; the caller cuts it. A drain has a time limit of its own. A stream that
// ends of age is not late: a slow reader gets the bytes that are being written.
func (s *Subscriber) lateLocked(since time.Duration) bool {
	e := s.ending
	return e != nil && e.cause != metrics.CloseDraining && e.cause != metrics.CloseMaxAge && s.busy && since-e.since >= endGrace && s.ended.CompareAndSwap(nil, e)
}

// endForLocked ends a stream whose grant no longer opens the session. why is from
// CheckGrant.
func (s *Subscriber) endForLocked(why error) {
	s.endLocked(protocol.CloseToken, why.Error(), metrics.CloseToken)
}

// CheckGrant says why a grant no longer opens its session: one of the ErrGrant and Key
// errors, or nil. s is the session's state as it was just read.
func (ss *Streams) CheckGrant(s *session.State, g session.Grant) error {
	if !s.TokenValid(g) {
		return session.ErrGrantRevoked
	}
	return ss.checkGrant(s.Info.UserID, g, time.Now())
}

// checkGrant is the part of CheckGrant that needs no state: the time, and the API keys of
// this node. It does not block. user is the session's user.
func (ss *Streams) checkGrant(user string, g session.Grant, now time.Time) error {
	switch {
	case g.Ended(now):
		return session.ErrGrantExpired
	case ss.keyHolds == nil || ss.keyHolds(user, g):
		return nil
	case g.KeyID != "":
		return session.ErrKeyGone
	}
	return session.ErrTokenKeyGone
}
