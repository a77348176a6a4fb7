package hub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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

// gateStore is a store whose appends of a worker's events wait while it is shut,
// and which keeps what they were.
type gateStore struct {
	store.Store

	mu      sync.Mutex
	gate    chan struct{} // nil while it is open
	appends []string      // first-last of each, with the session
	broken  int           // how many appends are still to fail after they were done
}

func (s *gateStore) shut() (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate = gate
	return func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	}
}

// seen gives the appends since the last call.
func (s *gateStore) seen() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.appends = nil }()
	return s.appends
}

func (s *gateStore) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	if b.Fence == nil {
		return s.Store.Append(ctx, id, b)
	}
	s.mu.Lock()
	s.appends = append(s.appends, fmt.Sprintf("%s:%d-%d", id, b.Fence.N, b.Fence.Last()))
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return store.Appended{}, ctx.Err()
		}
	}
	done, err := s.Store.Append(ctx, id, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.broken > 0 {
		s.broken--
		return store.Appended{}, errors.New("the answer was lost")
	}
	return done, err
}

// inGate runs a test with a gateStore and a worker that has n sessions at work.
func inGate(t *testing.T, n int, test func(w *world, s *gateStore, p *peer, ids []string), change ...func(*hub.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		s := &gateStore{Store: store}
		w := newWorldOn(t, store, s, change...)
		h := hello("w1")
		h.Capacity = max(h.Capacity, n)
		p := w.join(h)
		var ids []string
		for range n {
			id := w.create()
			w.say(id, "m1")
			ids = append(ids, id)
		}
		p.script()
		test(w, s, p, ids)
		w.stop()
	})
}

func (w *world) texts(id string) string {
	w.t.Helper()
	var out []string
	for _, e := range w.log(id) {
		var d protocol.OutputData
		if err := protocol.Decode(e.Data, &d); err != nil {
			w.t.Fatal(err)
		}
		switch e.Type {
		case protocol.EventOutput:
			out = append(out, strings.TrimPrefix(d.Text, "1/"))
		case protocol.EventComplete, protocol.EventToolApproval:
			out = append(out, string(e.Type))
		}
	}
	return strings.Join(out, " ")
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Nobody waits for company: an event that comes alone leaves alone, at once.
func TestLoneEventLeavesAtOnce(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		began := time.Now()
		for n := range uint64(3) {
			p.output(ids[0], 1, n+1)
			p.want(fmt.Sprintf("ack(%d)", n+1))
		}
		want(w.t, "appends", s.seen(), []string{ids[0] + ":1-1", ids[0] + ":2-2", ids[0] + ":3-3"})
		want(w.t, "time", time.Since(began), time.Duration(0))
	})
}

// What comes while the store is at work is stored in one step for each session, up
// to what is no plain event.
func TestEventsThatComeMeanwhileAreStoredTogether(t *testing.T) {
	inGate(t, 2, func(w *world, s *gateStore, p *peer, ids []string) {
		a, b := ids[0], ids[1]
		open := s.shut()
		p.output(a, 1, 1)
		synctest.Wait() // it is on its way alone
		for n := uint64(2); n <= 5; n++ {
			p.output(a, 1, n)
			p.output(b, 1, n-1)
		}
		p.ask(a, 1, 6, "i1")
		p.output(a, 1, 7)
		p.output(a, 1, 8)
		p.complete(a, 1, 9, "m1")
		p.finish(a, 1, 1)
		p.output(b, 1, 5)
		want(w.t, "appends of a shut store", s.seen(), []string{a + ":1-1"})
		if got := p.script(); got != "" {
			t.Errorf("before anything was stored the worker was told %q", got)
		}
		open()
		appends := s.seen() // of the sessions side by side
		slices.SortStableFunc(appends, func(x, y string) int { return strings.Compare(x[:len(a)], y[:len(a)]) })
		wanted := []string{a + ":2-5", a + ":6-6", a + ":7-8", a + ":9-9", b + ":1-5"}
		slices.SortStableFunc(wanted, func(x, y string) int { return strings.Compare(x[:len(a)], y[:len(a)]) })
		want(w.t, "appends", appends, wanted)
		want(w.t, "log", w.texts(a), "1 2 3 4 5 tool_approval 7 8 complete")
		want(w.t, "log", w.texts(b), "1 2 3 4 5")
		want(w.t, "stored", []uint64{w.load(a).N, w.load(b).N}, []uint64{9, 5})
		want(w.t, "status", w.status(b), protocol.StatusRunning)
		p.mu.Lock()
		acks := make(map[string]uint64)
		for _, f := range p.frames {
			var ack protocol.EventAck
			if err := protocol.Decode(f.Data, &ack); err != nil {
				t.Error(err)
			}
			if f.Type == protocol.FrameAck {
				acks[ack.SessionID] = ack.N
			}
		}
		p.mu.Unlock()
		want(w.t, "acknowledged", acks, map[string]uint64{a: 9, b: 5})
	})
}

// A batch is bounded, and so is what waits for the store: then the worker is
// not read.
func TestWaitingEventsAreBounded(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		const events = 600 // with what else is in the log, one page of history
		text := func(n uint64) string { return fmt.Sprintf("%d%s", n, strings.Repeat("x", 4500)) }
		id := ids[0]
		open := s.shut()
		var sent sync.WaitGroup
		var mu sync.Mutex
		var taken uint64
		sent.Go(func() {
			for n := uint64(1); n <= events; n++ {
				p.event(id, 1, n, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: text(n), Kind: "text"})
				mu.Lock()
				taken = n
				mu.Unlock()
			}
		})
		at(time.Second)
		mu.Lock()
		// 1 MiB waits, and of what is with the store there may be as much.
		if taken < 200 || taken > 460 {
			t.Errorf("%d frames were taken while the store stood still", taken)
		}
		waited := int(taken)
		mu.Unlock()
		at(time.Hour) // a slow store loses no worker
		if p.ended() {
			t.Fatal("the worker's link was ended")
		}
		open()
		sent.Wait()
		p.want(fmt.Sprintf("ack(%d)", events))
		appends := s.seen()
		ofWaiting := 0 // those behind them may come one by one
		for _, x := range appends {
			var first, last int
			if _, err := fmt.Sscanf(strings.TrimPrefix(x, id+":"), "%d-%d", &first, &last); err != nil || last-first >= 64 {
				t.Errorf("%s: %v", x, err)
			}
			if first <= waited {
				ofWaiting++
			}
		}
		if ofWaiting > waited/8 {
			t.Errorf("%d appends for %d events that waited: %v", ofWaiting, waited, appends)
		}
		texts := strings.Fields(w.texts(id))
		for i, text := range texts {
			if strings.TrimRight(text, "x") != fmt.Sprint(i+1) {
				t.Fatalf("event %d is %.20s", i+1, text)
			}
		}
		want(w.t, "events", len(texts), events)
	})
}

// What many sessions say in turn, while the store is at work, becomes one append for each
// of them: there is room for several small events of each. With a quarter of it, nearly
// every event was an append of its own, and on disk it cost half as much again.
func TestManySessionsWaitTogether(t *testing.T) {
	const sessions, events = 500, 4
	inGate(t, sessions, func(w *world, s *gateStore, p *peer, ids []string) {
		open := s.shut()
		p.output(ids[0], 1, 1)
		synctest.Wait() // it is on its way alone
		var sent sync.WaitGroup
		sent.Go(func() {
			for n := uint64(1); n <= events; n++ {
				for i, id := range ids {
					if i > 0 || n > 1 {
						p.output(id, 1, n)
					}
				}
			}
		})
		at(time.Second)
		s.seen()
		open()
		sent.Wait()
		want(w.t, "appends", len(s.seen()), sessions)
		for _, id := range ids {
			want(w.t, "stored of "+id, w.load(id).N, events)
		}
	})
}

// Long events go out in several steps.
func TestBatchIsBoundedInBytes(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		id := ids[0]
		open := s.shut()
		p.output(id, 1, 1)
		synctest.Wait()
		for n := uint64(2); n <= 5; n++ {
			p.event(id, 1, n, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: strings.Repeat("x", 25_000), Kind: "text"})
		}
		p.event(id, 1, 6, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: strings.Repeat("x", 100_000), Kind: "text"})
		p.output(id, 1, 7)
		open()
		want(w.t, "appends", s.seen(), []string{id + ":1-1", id + ":2-3", id + ":4-5", id + ":6-6", id + ":7-7"})
		p.want("ack(7)")
	})
}

// An event that is refused, in the middle of others: it counts, and it alone is
// not stored. So does one that is split.
func TestRefusedInTheMiddleOfABatch(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		id := ids[0]
		open := s.shut()
		p.output(id, 1, 1)
		synctest.Wait()
		p.output(id, 1, 2)
		p.event(id, 1, 3, protocol.EventOutput, "no object")
		p.output(id, 1, 4)
		p.event(id, 1, 5, protocol.EventClosed, protocol.ClosedData{Reason: "deleted"})
		p.output(id, 1, 6)
		p.event(id, 1, 7, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: strings.Repeat("x", 1500), Kind: "text"})
		p.output(id, 1, 8)
		p.event(id, 1, 9, protocol.EventPlan, protocol.PlanData{MessageID: strings.Repeat("x", 2000)})
		p.output(id, 1, 10)
		open()
		synctest.Wait()
		want(w.t, "told", p.script(), "error(invalid) error(forbidden) error(invalid) ack(10)")
		got := strings.Fields(w.texts(id))
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "x") })
		want(w.t, "log", got, []string{"1", "2", "4", "6", "8", "10"})
		want(w.t, "x", strings.Count(w.texts(id), "x"), 1500)
		want(w.t, "stored", w.load(id).N, 10)
	}, func(c *hub.Config) { c.MaxEventBytes = 1024 })
}

// A hole behind others: they are stored, and the link is closed.
func TestHoleInTheMiddleOfABatch(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		id := ids[0]
		open := s.shut()
		p.output(id, 1, 1)
		synctest.Wait()
		for _, n := range []uint64{2, 3, 2, 3, 4, 6, 7} {
			p.output(id, 1, n)
		}
		open()
		if !p.ended() {
			t.Error("the link is still open")
		}
		want(w.t, "log", w.texts(id), "1 2 3 4")
		if got := p.script(); !strings.Contains(got, "error(hole)") {
			t.Errorf("the worker was told %q", got)
		}
	})
}

// When the answer to a batch is lost, the batch is sent again and found to be
// stored.
func TestBatchWhoseAnswerIsLost(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		id := ids[0]
		open := s.shut()
		p.output(id, 1, 1)
		synctest.Wait()
		for n := uint64(2); n <= 5; n++ {
			p.output(id, 1, n)
		}
		s.mu.Lock()
		s.broken = 2
		s.mu.Unlock()
		open()
		at(time.Second)
		p.output(id, 1, 6)
		p.want("ack(6)")
		want(w.t, "log", w.texts(id), "1 2 3 4 5 6")
	})
}

// The link before this one may have stored a part of a batch at the last moment:
// the rest of it is stored all the same.
func TestBatchOfWhichAnotherLinkStoredAPart(t *testing.T) {
	inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
		id := ids[0]
		open := s.shut()
		p.output(id, 1, 1)
		synctest.Wait()
		for n := uint64(2); n <= 6; n++ {
			p.output(id, 1, n)
		}
		synctest.Wait()
		var b store.Batch
		for n := 1; n <= 3; n++ {
			b.Events = append(b.Events, session.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m", Text: fmt.Sprintf("1/%d", n), Kind: "text"})})
		}
		b.Fence = &store.Fence{Assignment: 1, N: 1, Count: 3}
		if _, err := w.store.Append(w.ctx, id, b); err != nil {
			t.Fatal(err)
		}
		open()
		p.want("ack(6)")
		want(w.t, "log", w.texts(id), "1 2 3 4 5 6")
	})
}

// A worker that breaks the link's rules hears so at once, also while the store
// does not answer for what it sent before. One that only goes is not forgotten:
// what had come is stored.
func TestFaultDoesNotWaitForTheStore(t *testing.T) {
	for name, fault := range map[string]error{
		"too large": protocol.LinkError{Code: protocol.LinkTooLarge, Detail: "a frame over the limit"},
		"gone":      io.EOF,
	} {
		t.Run(name, func(t *testing.T) {
			inGate(t, 1, func(w *world, s *gateStore, p *peer, ids []string) {
				open := s.shut()
				for n := uint64(1); n <= 3; n++ {
					p.output(ids[0], 1, n)
				}
				p.fail <- fault
				synctest.Wait()
				var want protocol.LinkError
				if errors.As(fault, &want) {
					if !p.ended() {
						t.Error("the link waits for the store")
					}
					if got := p.script(); got != "error("+want.Code+")" {
						t.Errorf("the worker was told %q", got)
					}
					open()
					return
				}
				open()
				if !p.ended() {
					t.Error("the link is still open")
				}
				if got := w.texts(ids[0]); got != "1 2 3" {
					t.Errorf("log %q", got)
				}
			})
		})
	}
}
