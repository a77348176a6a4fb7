package fleet

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// watched is a store that counts its watches.
type watched struct {
	store.Store
	watches atomic.Int64
}

func (s *watched) Watch(id string, notify func(store.Notice)) func() {
	s.watches.Add(1)
	stop := s.Store.Watch(id, notify)
	return func() { s.watches.Add(-1); stop() }
}

func newTestFleet(s store.Store) *Fleet {
	set := metrics.New(prometheus.NewRegistry(), metrics.Build{}, nil)
	env := engine.NewEnv("n1", engine.DefaultTimers, set, slog.New(slog.DiscardHandler), s.Available)
	return NewFleet(env, engine.NewEngine(env, session.DefaultPolicy, s), s, FleetConfig{})
}

func newTestLink(f *Fleet) *link {
	return &link{
		fleet: f, hello: protocol.Hello{Worker: "w1"}, left: make(chan struct{}), wake: make(chan struct{}, 1), answers: newAnswers(),
		sessions: make(map[string]*heldSession), dirty: make(map[string]struct{}),
	}
}

// A session that a link got again, before it knew that the earlier assignment was over,
// left that one behind: its watch never ended, and its end took the new one off the
// worker's list.
func TestSessionThatALinkGetsAgain(t *testing.T) {
	s := &watched{Store: mem.New(store.Retention{})}
	l := newTestLink(newTestFleet(s))
	ctx := t.Context()
	first, second := &heldSession{id: "s1", assignment: 1}, &heldSession{id: "s1", assignment: 2}
	now := second.holding()
	if err := s.Hold(ctx, "w1", now); err != nil {
		t.Fatal(err)
	}
	if !l.add(first) || !l.add(second) {
		t.Fatal("not added")
	}
	if n := s.watches.Load(); n != 1 || !l.forgotten(first) || l.forgotten(second) {
		t.Errorf("%d watches; forgotten: %v, %v", n, l.forgotten(first), l.forgotten(second))
	}
	l.drop(ctx, first, true) // a timer of it, say
	if held, err := s.Held(ctx, "w1"); err != nil || len(held) != 1 || held[0] != now || !l.has(now) || len(l.answers.revoked) != 0 {
		t.Errorf("on the list are %v, %v; the link has it: %v", held, err, l.has(now))
	}
	l.drop(ctx, second, true)
	if held, err := s.Held(ctx, "w1"); err != nil || len(held) != 0 || s.watches.Load() != 0 {
		t.Errorf("in the end on the list are %v, %v; %d watches", held, err, s.watches.Load())
	}
}
