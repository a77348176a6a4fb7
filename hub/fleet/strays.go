package fleet

import (
	"context"
	"time"

	"sessionhub/hub/store"
)

// strays finds sessions that the store lists for the link's worker, and that the link
// does not have. While the worker lives, no other part would run their messages or end
// them. A step that is stored late can make one: an assignment by a node that has died
// meanwhile, or a release that was lost with its node.
//
// A session that is a stray in two rounds is taken away. A lease lies between the rounds.
// So a node that was about to give the session to the link has done so by then.
//
// The worker can have left for another node without a word; then that node must judge. So
// a round finds nothing unless the worker has just spoken. A session that came to the
// list after that counts as seen for the first time.
//
// It belongs to one goroutine.
type strays struct {
	*link
	seen map[store.Holding]bool // strays of the last round
}

func newStrays(l *link) *strays { return &strays{link: l} }

// run makes one round in each lease, until ctx ends. ctx ends when the link hears nothing
// more.
func (s *strays) run(ctx context.Context) {
	tick := time.NewTicker(s.fleet.Timers.WorkerLease)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.round(ctx); err != nil && ctx.Err() == nil {
				s.seen = nil // the store may have been away since the last round
				s.fleet.Log.Error("look for sessions that a worker has not got", "worker", s.hello.Worker, "error", err)
			}
		}
	}
}

// speaks reports whether the worker has spoken within two heartbeats. A heartbeat is at
// most a third of a lease, so that was after the last round, and not right after it. A
// node that was frozen reads old frames when it wakes.
func (s *strays) speaks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.spoke) < 2*s.fleet.Timers.LinkHeartbeat
}

// round takes away the sessions that were strays in the last round too, and notes the
// others.
func (s *strays) round(ctx context.Context) error {
	if !s.speaks() {
		s.seen = nil
		return nil
	}
	held, err := s.fleet.store.Held(ctx, s.hello.Worker)
	if err != nil {
		return err
	}
	before := s.seen
	s.seen = make(map[store.Holding]bool)
	for _, h := range held {
		switch {
		case s.has(h), s.later.has(h.Session), store.Away(s.fleet.store, h.Session):
		case !before[h]:
			s.seen[h] = true
		default:
			if err := s.fleet.lose(ctx, s.hello.Worker, h); err != nil {
				return err
			}
		}
	}
	return nil
}
