package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// costStore counts the calls of a store, and has each take a second of virtual time
// while slow is set: so the time of a command is the number of its waits.
type costStore struct {
	store.Store
	mu     sync.Mutex
	counts map[string]int
	slow   bool
	armErr error
	fail   func(call, of string) error // may refuse a call
}

func (s *costStore) refuses(call, of string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		return nil
	}
	return s.fail(call, of)
}

func (s *costStore) refuse(fail func(call, of string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *costStore) WorkerLease(ctx context.Context, name string) (time.Duration, bool, error) {
	s.call("WorkerLease")
	return s.Store.WorkerLease(ctx, name)
}

func (s *costStore) RenewWorker(ctx context.Context, w store.WorkerInfo, left time.Duration) error {
	s.call("RenewWorker")
	return s.Store.RenewWorker(ctx, w, left)
}

func (s *costStore) Held(ctx context.Context, worker string) ([]store.Holding, error) {
	s.call("Held")
	return s.Store.Held(ctx, worker)
}

func (s *costStore) Hold(ctx context.Context, worker string, h store.Holding) error {
	s.call("Hold")
	return s.Store.Hold(ctx, worker, h)
}

func (s *costStore) Unhold(ctx context.Context, worker string, h store.Holding) error {
	s.call("Unhold")
	return s.Store.Unhold(ctx, worker, h)
}

func (s *costStore) Settle(ctx context.Context, d store.Due, next time.Time) error {
	s.call("Settle")
	return s.Store.Settle(ctx, d, next)
}

func (s *costStore) call(name string) {
	s.mu.Lock()
	if s.counts == nil {
		s.counts = make(map[string]int)
	}
	s.counts[name]++
	slow := s.slow
	s.mu.Unlock()
	if slow {
		time.Sleep(time.Second)
	}
}

// taken gives the counts since it was called last.
func (s *costStore) taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	s.counts = nil
	return counts
}

func (s *costStore) Load(ctx context.Context, id string) (store.Snapshot, error) {
	s.call("Load")
	if err := s.refuses("Load", id); err != nil {
		return store.Snapshot{}, err
	}
	return s.Store.Load(ctx, id)
}

func (s *costStore) LoadNote(ctx context.Context, id, key string) (store.Snapshot, store.Noted, error) {
	s.call("LoadNote")
	return s.Store.LoadNote(ctx, id, key)
}

func (s *costStore) Note(ctx context.Context, id, key string) (string, uint64, bool, error) {
	s.call("Note")
	return s.Store.Note(ctx, id, key)
}

func (s *costStore) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	s.call("Append")
	return s.Store.Append(ctx, id, b)
}

func (s *costStore) Arm(ctx context.Context, id string, due time.Time) error {
	s.call("Arm")
	s.mu.Lock()
	err := s.armErr
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if s.refuses("Arm", id) != nil {
		return nil // lost
	}
	return s.Store.Arm(ctx, id, due)
}

func (s *costStore) Enqueue(ctx context.Context, w store.Waiting) error {
	s.call("Enqueue")
	return s.Store.Enqueue(ctx, w)
}

func (s *costStore) Dequeue(ctx context.Context, w store.Waiting) error {
	s.call("Dequeue")
	return s.Store.Dequeue(ctx, w)
}

func (s *costStore) Queued(ctx context.Context, provider, workspace string, n int) ([]store.Waiting, error) {
	s.call("Queued")
	return s.Store.Queued(ctx, provider, workspace, n)
}

func (s *costStore) TakeToken(ctx context.Context, key string, r store.Rate) (time.Duration, error) {
	s.call("TakeToken")
	return s.Store.TakeToken(ctx, key, r)
}

func (s *costStore) GiveToken(ctx context.Context, key string, r store.Rate) error {
	s.call("GiveToken")
	return s.Store.GiveToken(ctx, key, r)
}

// A first message waits three times for the store, a later one twice, with the rate
// and with the judgement of its caller. It was seven times.
func TestMessageWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		w := newWorldOn(t, s, cost, func(c *hub.Config) { c.Limits.Messages = store.Rate{PerSecond: 0.0001, Burst: 3} })
		id := w.create()
		other := w.create()
		judged := 0
		send := func(id, message, owner string) (protocol.MessageResponse, time.Duration, error) {
			cost.mu.Lock()
			cost.slow = true
			cost.mu.Unlock()
			began := time.Now()
			r, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: message},
				hub.Admission{Owner: owner, Check: func(hub.Snapshot) error { judged++; return nil }})
			cost.mu.Lock()
			cost.slow = false
			cost.mu.Unlock()
			return r, time.Since(began), err
		}
		for _, c := range []struct {
			id, message, owner string
			repeat             bool
			waits              time.Duration
		}{
			{id, "m1", "u1", false, 3 * time.Second},
			{id, "m2", "u1", false, 2 * time.Second},
			// While it waits for a worker, a repeat puts right what may have been lost,
			// and gives its token back.
			{id, "m2", "", true, 4 * time.Second},
			{other, "m1", "", false, 4 * time.Second}, // a service: whose it is was not known here
		} {
			judged = 0
			r, waits, err := send(c.id, c.message, c.owner)
			if err != nil || r.Duplicate != c.repeat || judged != 1 || waits != c.waits {
				t.Errorf("%s for %q: %+v, %v, judged %d times, %v; want %v", c.message, c.owner, r, err, judged, waits, c.waits)
			}
		}
		// All three tokens are spent, and a repeat is answered all the same.
		var rate *hub.RateError
		if _, _, err := send(id, "m3", ""); !errors.As(err, &rate) {
			t.Errorf("one more than the rate: %v", err)
		}
		if r, _, err := send(id, "m1", "u1"); err != nil || !r.Duplicate {
			t.Errorf("a repeat without a token: %+v, %v", r, err)
		}
	})
}

// A message that is refused costs its user no token, whoever sent it.
func TestRefusedMessageGivesItsTokenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy, func(c *hub.Config) { c.Limits.Messages = store.Rate{PerSecond: 0.0001, Burst: 1} })
		id := w.create()
		no := errors.New("not yours")
		r := protocol.MessageRequest{Content: []byte(`"hi"`)}
		for range 5 {
			if _, err := w.hub.Message(w.ctx, id, "u1", r, hub.Admission{Owner: "u1", Check: func(hub.Snapshot) error { return no }}); !errors.Is(err, no) {
				t.Fatal(err)
			}
			if _, err := w.hub.Message(w.ctx, "s_none", "u1", r, hub.Admission{Owner: "u1"}); !errors.Is(err, session.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if _, err := w.hub.Message(w.ctx, id, "u1", r, hub.Admission{Owner: "u1"}); err != nil {
			t.Errorf("the one token was not given back: %v", err)
		}
	})
}

// The due-index is told of a first message while it is stored. When that fails, or the
// node dies before the queue has it, the repeat of the message puts both right.
func TestRepeatedMessageIsQueuedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		w := newWorldOn(t, s, cost)
		id := w.create()
		away := errors.New("the due-index is away")
		cost.armErr = away
		r := protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: "m1"}
		if _, err := w.hub.Message(w.ctx, id, "u1", r, hub.Admission{}); !errors.Is(err, away) {
			t.Fatalf("stored without an entry in the due-index: %v", err)
		}
		lost := store.Waiting{ID: id, User: "u1", Provider: "demo"}
		if err := s.Dequeue(w.ctx, lost); err != nil {
			t.Fatal(err)
		}
		cost.mu.Lock()
		cost.armErr = nil
		cost.mu.Unlock()
		if got, err := w.hub.Message(w.ctx, id, "u1", r, hub.Admission{}); err != nil || !got.Duplicate {
			t.Fatalf("the repeat: %+v, %v", got, err)
		}
		if q, err := s.Queued(w.ctx, "demo", "", 10); err != nil || len(q) != 1 {
			t.Errorf("queued: %v, %v", q, err)
		}
		if err := s.Dequeue(w.ctx, lost); err != nil {
			t.Fatal(err)
		}
		time.Sleep(session.RecheckQueued + 2*time.Second)
		if q, err := s.Queued(w.ctx, "demo", "", 10); err != nil || len(q) != 1 {
			t.Errorf("the due-index was not told: %v, %v", q, err)
		}
	})
}

// resting gives a worker sessions that have had a turn, and waits until nothing is
// left to do.
func (w *world) resting(p *peer, n int) (ids []string) {
	w.t.Helper()
	for range n {
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.complete(id, 1, 1, "m1")
		p.finish(id, 1, 1)
		ids = append(ids, id)
	}
	at(4 * time.Minute) // and their logs are compacted
	for _, id := range ids {
		if s := w.load(id).State; s.Worker == "" || s.Busy() {
			w.t.Fatalf("session %s does not rest with a worker: %+v", id, s)
		}
	}
	return ids
}

// A session that rests with a worker costs no call of the store, however long. It was
// looked at with every lease of its worker: 12 calls a minute.
func TestSessionAtRestCostsNothing(t *testing.T) {
	calls := make(map[int]int)
	for _, sessions := range []int{1, 100} {
		synctest.Test(t, func(t *testing.T) {
			s := mem.New(roomy)
			cost := &costStore{Store: s}
			w := newWorldOn(t, s, cost)
			many := hello("w1")
			many.Capacity = 100
			w.resting(w.join(many), sessions)
			cost.taken()
			at(10 * time.Minute)
			got := cost.taken()
			for call, n := range got {
				calls[sessions] += n
				if call != "RenewWorker" && call != "Arm" && call != "WorkerLease" && call != "Settle" && call != "Held" {
					t.Errorf("%d sessions at rest: %d calls of %s", sessions, n, call)
				}
			}
			// Of the worker: each lease of 15 s a look, its settlement and an entry, and its list.
			if n := got["Arm"] + got["WorkerLease"] + got["Settle"] + got["Held"]; n > 10*4*(2*2+1+1) {
				t.Errorf("%d sessions at rest: %v", sessions, got)
			}
		})
	}
	// The worker's own calls differ by when its entry falls. One call for each session would
	// make 99 more.
	if calls[100] > calls[1]+40 {
		t.Errorf("one session at rest: %d calls in 10 minutes, 100 sessions: %d", calls[1], calls[100])
	}
}

// All that a lost worker had is taken away, also when whoever began it got not to the
// end: a server that is away, or a node that dies. The lease lapses once.
func TestLostWorkerLosesRestingSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		w := newWorldOn(t, s, cost)
		p := w.join(hello("w1"))
		ids := w.resting(p, 3)
		_ = p.conn.Close()
		cost.refuse(func(call, of string) error {
			if call == "Load" && of != ids[0] {
				return store.ErrUnreachable
			}
			return nil
		})
		at(time.Minute)
		if worker := w.load(ids[1]).State.Worker; worker != "w1" {
			t.Fatalf("the session has the worker %q: nothing was left undone", worker)
		}
		cost.refuse(nil)
		at(time.Minute)
		for _, id := range ids {
			if s := w.load(id).State; s.Worker != "" {
				t.Errorf("session %s is with the lost worker: %+v", id, s)
			}
		}
		held, err := s.Held(w.ctx, "w1")
		if err != nil || len(held) != 0 {
			t.Errorf("held: %v, %v", held, err)
		}
		// There is nothing more to look at.
		cost.taken()
		at(10 * time.Minute)
		if got := cost.taken(); len(got) != 0 {
			t.Errorf("calls for a worker that is gone: %v", got)
		}
	})
}

// A failover can lose a worker's entry, and a node of an earlier version drops it. The
// next lease of a worker with a link brings it back.
func TestLostEntryOfAWorkerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		cost.refuse(func(call, of string) error { // lost
			if call == "Arm" && strings.HasPrefix(of, "worker:") {
				return store.ErrUnreachable
			}
			return nil
		})
		w := newWorldOn(t, s, cost)
		p := w.join(hello("w1"))
		ids := w.resting(p, 2)
		cost.refuse(nil)
		at(20 * time.Second)
		_ = p.conn.Close()
		at(40 * time.Second)
		for _, id := range ids {
			if s := w.load(id).State; s.Worker != "" {
				t.Errorf("session %s is with the lost worker", id)
			}
		}
	})
}

// Without any entry of its worker, a session that gets a message looks at the lease
// itself: the turn ends, whatever was lost.
func TestTurnEndsWithoutAnEntryOfItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		cost.refuse(func(call, of string) error {
			if call == "Arm" && strings.HasPrefix(of, "worker:") {
				return store.ErrUnreachable
			}
			return nil
		})
		w := newWorldOn(t, s, cost)
		p := w.join(hello("w1"))
		id := w.resting(p, 1)[0]
		w.say(id, "m2")
		synctest.Wait()
		if err := s.Unhold(w.ctx, "w1", store.Holding{Session: id, Assignment: 1}); err != nil { // lost, too
			t.Fatal(err)
		}
		_ = p.conn.Close()
		at(40 * time.Second)
		if n, c := w.completes(id, "m2"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%d completes, %+v", n, c)
		}
	})
}

// An assignment costs one read of one queue, however many providers, workspaces and
// workers there are, and so does a place that becomes free: none where nothing waits.
// Each read 2 x providers x workspaces.
func TestAssignmentReadsOneQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		w := newWorldOn(t, s, cost)
		of := func(worker int) protocol.Hello {
			h := hello(fmt.Sprint("w", worker))
			h.Workspace = fmt.Sprint("ws", worker%10)
			for i := range 9 {
				h.Providers = append(h.Providers, fmt.Sprint("p", i))
			}
			return h
		}
		var peers []*peer
		for i := range 20 {
			peers = append(peers, w.join(of(i)))
		}
		id := w.create()
		synctest.Wait()
		cost.taken()
		w.say(id, "m1")
		synctest.Wait()
		got := cost.taken()
		// The writer of the link reads the session once, too.
		for call, most := range map[string]int{"Queued": 1, "Hold": 1, "Append": 2, "Dequeue": 1, "Load": 3, "Unhold": 0, "Note": 0} {
			if got[call] > most {
				t.Errorf("an assignment: %d calls of %s, want at most %d", got[call], call, most)
			}
		}
		worker := w.load(id).State.Worker
		for i, p := range peers {
			if worker == fmt.Sprint("w", i) {
				p.complete(id, 1, 1, "m1")
				p.finish(id, 1, 1)
				synctest.Wait()
				if n := cost.taken()["Queued"]; n != 0 {
					t.Errorf("a place that becomes free: %d reads of queues in which nothing waits", n)
				}
				p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseDrained, Retry: true})
				synctest.Wait()
				if n := cost.taken()["Queued"]; n != 0 {
					t.Errorf("a drain: %d reads of queues in which nothing waits", n)
				}
			}
		}
		w.join(of(30))
		synctest.Wait()
		if n := cost.taken()["Queued"]; n != 0 {
			t.Errorf("a join: %d reads of queues in which nothing waits", n)
		}
	})
}

// What is put into a queue while that is read, and found empty, is found.
func TestSessionQueuedWhileItsQueueIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(roomy)
		cost := &costStore{Store: s}
		w := newWorldOn(t, s, cost)
		id := w.create()
		cost.mu.Lock()
		cost.slow = true
		cost.mu.Unlock()
		p := w.join(hello("w1")) // its queues are being read
		for range 20 {
			at(500 * time.Millisecond)
			if n := len(w.load(id).State.Messages); n == 0 {
				w.say(id, "m1")
			}
		}
		cost.mu.Lock()
		cost.slow = false
		cost.mu.Unlock()
		at(5 * time.Second)
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
	})
}
