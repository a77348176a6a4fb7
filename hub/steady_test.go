package hub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// farStore is a store in memory behind a network: every call takes a while, and none gets
// an answer while it is frozen.
type farStore struct {
	store.Store
	mu     sync.Mutex
	takes  time.Duration
	frozen bool
	only   string // of a partial freeze: the calls that get no answer; empty: all
}

// callTimeout is that of the Valkey store.
const callTimeout = 2 * time.Second

func (s *farStore) set(takes time.Duration, frozen bool, only string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.frozen, s.only = takes, frozen, only
}

func (s *farStore) travel(ctx context.Context, call string) error {
	s.mu.Lock()
	takes, frozen := s.takes, s.frozen && (s.only == "" || strings.Contains(s.only, call))
	s.mu.Unlock()
	if frozen {
		takes = callTimeout
	}
	select {
	case <-later(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if frozen {
		return fmt.Errorf("%s: %w", call, store.ErrUnreachable)
	}
	return nil
}

func (s *farStore) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if err := s.travel(ctx, "Load"); err != nil {
		return store.Snapshot{}, err
	}
	return s.Store.Load(ctx, id)
}

func (s *farStore) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	if err := s.travel(ctx, "Confirm"); err != nil {
		return store.Snapshot{}, err
	}
	return s.Store.Confirm(ctx, id)
}

func (s *farStore) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if err := s.travel(ctx, "Append"); err != nil {
		return store.Appended{}, err
	}
	return s.Store.Append(ctx, id, b)
}

func (s *farStore) Commands(ctx context.Context, id string, after uint64) ([]session.Command, error) {
	if err := s.travel(ctx, "Commands"); err != nil {
		return nil, err
	}
	return s.Store.Commands(ctx, id, after)
}

func (s *farStore) TakeDue(ctx context.Context, n int, hide time.Duration) ([]store.Due, time.Duration, error) {
	if err := s.travel(ctx, "TakeDue"); err != nil {
		return nil, 0, err
	}
	return s.Store.TakeDue(ctx, n, hide)
}

func (s *farStore) Settle(ctx context.Context, d store.Due, next time.Time) error {
	if err := s.travel(ctx, "Settle"); err != nil {
		return err
	}
	return s.Store.Settle(ctx, d, next)
}

func (s *farStore) RenewWorker(ctx context.Context, w store.WorkerInfo, left time.Duration) error {
	if err := s.travel(ctx, "RenewWorker"); err != nil {
		return err
	}
	return s.Store.RenewWorker(ctx, w, left)
}

func (s *farStore) WorkerLease(ctx context.Context, name string) (time.Duration, bool, error) {
	if err := s.travel(ctx, "WorkerLease"); err != nil {
		return 0, false, err
	}
	return s.Store.WorkerLease(ctx, name)
}

func (s *farStore) Held(ctx context.Context, worker string) ([]store.Holding, error) {
	if err := s.travel(ctx, "Held"); err != nil {
		return nil, err
	}
	return s.Store.Held(ctx, worker)
}

func (s *farStore) Unhold(ctx context.Context, worker string, h store.Holding) error {
	if err := s.travel(ctx, "Unhold"); err != nil {
		return err
	}
	return s.Store.Unhold(ctx, worker, h)
}

// inFar runs a test on a hub whose store is far away.
func inFar(t *testing.T, run func(*world, *farStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		far := &farStore{Store: store}
		w := newWorldOn(t, store, far)
		run(w, far)
		w.stop()
	})
}

// wantRunning wants no message of the sessions to have ended.
func (w *world) wantRunning(ids []string) {
	w.t.Helper()
	ended := 0
	var last protocol.CompleteData
	for _, id := range ids {
		if n, c := w.completes(id, "m1"); n > 0 {
			ended, last = ended+1, c
		}
	}
	if ended > 0 {
		w.t.Errorf("%d of %d turns have ended, the last with %+v", ended, len(ids), last)
	}
}

// run has a worker run a message in each of n sessions.
func (w *world) run(p *peer, n int) (ids []string, sessions []protocol.HelloSession) {
	w.t.Helper()
	for range n {
		id := w.create()
		w.say(id, "m1")
		ids = append(ids, id)
		sessions = append(sessions, protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Acked: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}})
	}
	at(time.Second)
	for _, id := range ids {
		p.output(id, 1, 1)
	}
	at(time.Second)
	p.script()
	return ids, sessions
}

// A worker comes back with hundreds of sessions while a store call takes its time.
// Its lease was renewed once before they were taken in, one after the other, and no
// ping went out: all its turns ended with worker_lost although it was connected.
func TestWorkerComesBackWithManySessionsOnASlowStore(t *testing.T) {
	for _, takes := range []time.Duration{70 * time.Millisecond, 1900 * time.Millisecond} {
		inFar(t, func(w *world, far *farStore) {
			many := hello("w1")
			many.Capacity = 300
			p := w.join(many)
			ids, sessions := w.run(p, 300)
			_ = p.conn.Close()
			synctest.Wait()
			far.set(takes, false, "")
			many.Sessions = sessions
			p = w.join(many)
			most := time.Duration(0)
			for range 240 {
				at(500 * time.Millisecond)
				most = max(most, p.silence())
			}
			if p.ended() {
				t.Fatalf("calls of %s: the link has ended", takes)
			}
			if most >= 15*time.Second {
				t.Errorf("calls of %s: the worker heard nothing for %s", takes, most)
			}
			w.wantRunning(ids)
			far.set(0, false, "")
			p.complete(ids[299], 1, 2, "m1")
			at(5 * time.Second)
			if n, c := w.completes(ids[299], "m1"); n != 1 || c.StopReason != protocol.StopEndTurn {
				t.Errorf("%d completes, %+v", n, c)
			}
		})
	}
}

// While the store is frozen the pings go out, so the worker stays. When the store
// is back, every lease is a whole one, also if it froze between the looks at two
// sessions that were due.
func TestFrozenStoreLosesNoWorker(t *testing.T) {
	for began := time.Duration(0); began < 15*time.Second; began += 700 * time.Millisecond {
		inFar(t, func(w *world, far *farStore) {
			many := hello("w1")
			many.Capacity = 60
			p := w.join(many)
			ids, _ := w.run(p, 60)
			far.set(30*time.Millisecond, false, "")
			at(30*time.Second + began)
			for _, id := range ids { // which the link's writer has to look at, one after the other
				w.say(id, "m2")
			}
			far.set(0, true, "")
			p.output(ids[0], 1, 2) // work that waits for the store
			most := time.Duration(0)
			for range 40 { // less than a batch of looks takes, each waiting for a call
				at(time.Second)
				most = max(most, p.silence())
			}
			if p.ended() {
				t.Fatal("the link has ended")
			}
			if most > 6*time.Second {
				t.Errorf("the worker heard nothing for %s", most)
			}
			far.set(10*time.Millisecond, false, "")
			at(time.Minute)
			w.wantRunning(ids)
			// A worker that is really gone is still found out.
			_ = p.conn.Close()
			at(25 * time.Second)
			if n, c := w.completes(ids[1], "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
				t.Errorf("%d completes, %+v", n, c)
			}
		})
	}
}

// Where only the registry of workers is away (a server of a cluster), nobody can
// renew a lease: none has ended when it is back.
func TestRegistryAwayLosesNoWorker(t *testing.T) {
	inFar(t, func(w *world, far *farStore) {
		p := w.join(hello("w1"))
		ids, _ := w.run(p, 3)
		far.set(10*time.Millisecond, true, "RenewWorker WorkerLease")
		at(time.Minute)
		far.set(10*time.Millisecond, false, "")
		at(time.Minute)
		w.wantRunning(ids)
		if p.ended() {
			t.Error("the link has ended")
		}
	})
}

// A link breaks behind the assignment and before the message is written: nobody has
// received it, so it goes to the next worker at once.
func TestLinkThatBreaksBeforeItWritesLosesNoMessage(t *testing.T) {
	inFar(t, func(w *world, far *farStore) {
		p := w.join(hello("w1"))
		far.set(0, true, "Commands") // which the writer reads before it writes
		id := w.create()
		w.say(id, "m1")
		at(time.Second)
		if got := w.load(id).State; got.Worker != "w1" || got.Running != 1 {
			t.Fatalf("the state is %+v", got)
		}
		_ = p.conn.Close()
		at(3 * time.Second)
		if got := w.status(id); got != protocol.StatusQueued {
			t.Errorf("the status is %s", got)
		}
		far.set(0, false, "")
		next := w.join(hello("w2"))
		at(2 * time.Second)
		next.want("welcome assign(2 after 0 resume=true) message(1 m1)")
		at(time.Minute)
		if n, c := w.completes(id, "m1"); n != 0 {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}
