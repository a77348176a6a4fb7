package storetest

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func workerInfo(name, node string) store.WorkerInfo {
	return store.WorkerInfo{
		Name: name, Node: node, Workspace: "ws", Providers: []string{"demo", "codex"}, Capacity: 3,
		Details: map[string]protocol.ProviderDetails{"codex": {
			Title: "Codex \u00e9", Login: protocol.LoginFound, Capabilities: &protocol.ProviderCapabilities{AskingModes: []string{"read-only"}},
		}},
	}
}

// workers calls the registry of workers for the suite.
type workers struct{ *ground }

func (f workers) renew(w store.WorkerInfo, left time.Duration) {
	f.Helper()
	if err := f.store.RenewWorker(f.ctx, w, left); err != nil {
		f.Fatalf("renew %s: %v", w.Name, err)
	}
}

func (f workers) lease(name string) (time.Duration, bool) {
	f.Helper()
	left, lapsed, err := f.store.WorkerLease(f.ctx, name)
	if err != nil {
		f.Fatalf("lease of %s: %v", name, err)
	}
	return left, lapsed
}

func testWorkerLease(f *fixture) {
	if left, lapsed := f.lease("w"); left != 0 || lapsed {
		f.Errorf("a worker that never was: %s, %v", left, lapsed)
	}
	f.renew(workerInfo("w", "n1"), time.Hour)
	if left, _ := f.lease("w"); left > time.Hour || left < 59*time.Minute {
		f.Errorf("an hour is left: %s", left)
	}
	all, err := f.store.Workers(f.ctx)
	if err != nil || len(all) != 1 || all[0].Name != "w" || !slices.Equal(all[0].Providers, []string{"demo", "codex"}) || all[0].Capacity != 3 {
		f.Errorf("workers: %+v, %v", all, err)
	}
	if want := workerInfo("w", "n1").Details; len(all) == 1 && !reflect.DeepEqual(all[0].Details, want) {
		f.Errorf("details: %+v, want %+v", all[0].Details, want)
	}
	// A shorter renewal by another node leaves the lease as it is.
	f.renew(workerInfo("w", "n2"), time.Minute)
	if left, _ := f.lease("w"); left < 59*time.Minute {
		f.Errorf("another node has cut it: %s", left)
	}
	if err := f.store.ForgetWorker(f.ctx, workerInfo("w", "n2")); err != nil {
		f.Fatal(err)
	}
	if left, _ := f.lease("w"); left == 0 {
		f.Error("another node has ended it")
	}
	// The node that renewed it last may shorten it.
	f.renew(workerInfo("w", "n1"), time.Minute)
	if left, _ := f.lease("w"); left > time.Minute {
		f.Errorf("it was not cut: %s", left)
	}
	// A longer renewal by another node moves it.
	f.renew(workerInfo("w", "n2"), time.Hour)
	if err := f.store.ForgetWorker(f.ctx, workerInfo("w", "n2")); err != nil {
		f.Fatal(err)
	}
	if left, lapsed := f.lease("w"); left != 0 || lapsed {
		f.Errorf("forgotten: %s, %v", left, lapsed)
	}
	if all, err := f.store.Workers(f.ctx); err != nil || len(all) != 0 {
		f.Errorf("workers: %+v, %v", all, err)
	}
}

// Many callers see that a lease has ended; exactly one is told that it lapsed.
func testWorkerLapses(f *fixture) {
	f.renew(workerInfo("w", "n1"), 50*time.Millisecond)
	f.until("the end of the lease", func() bool {
		all, err := f.store.Workers(f.ctx)
		return err == nil && len(all) == 0
	})
	var told atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			left, lapsed, err := f.store.WorkerLease(f.ctx, "w")
			if err != nil || left != 0 {
				f.Errorf("lease: %s, %v", left, err)
			}
			if lapsed {
				told.Add(1)
			}
		})
	}
	wg.Wait()
	if told.Load() != 1 {
		f.Errorf("%d were told", told.Load())
	}
}

func testHeld(f *fixture) {
	hold := func(worker, id string, assignment uint64) {
		if err := f.store.Hold(f.ctx, worker, store.Holding{Session: id, Assignment: assignment}); err != nil {
			f.Fatal(err)
		}
	}
	hold("w", "a", 1)
	hold("w", "b", 1)
	hold("w", "a", 1)
	hold("w", "b", 12)
	hold("w", "a", 0)
	hold("w2", "c", 1)
	of := func(id string, assignment uint64) store.Holding {
		return store.Holding{Session: id, Assignment: assignment}
	}
	for _, h := range []store.Holding{of("a", 1), of("a", 1), of("b", 1), of("b", 2), of("c", 1)} {
		if err := f.store.Unhold(f.ctx, "w", h); err != nil {
			f.Fatal(err)
		}
	}
	for worker, want := range map[string][]store.Holding{"w": {of("a", 0), of("b", 12)}, "w2": {of("c", 1)}, "none": nil} {
		got, err := f.store.Held(f.ctx, worker)
		slices.SortFunc(got, func(a, b store.Holding) int { return strings.Compare(a.Session, b.Session) })
		if err != nil || !slices.Equal(got, want) {
			f.Errorf("held by %s: %v, %v", worker, got, err)
		}
	}
}

func testSlots(f *fixture) {
	take := func(session, user string, enc protocol.Encoding) error {
		return f.store.TakeSlot(f.ctx, store.Slot{Session: session, User: user, Encoding: enc}, 2, 3)
	}
	for i, c := range []struct {
		session, user string
		enc           protocol.Encoding
		want          error
	}{
		{"s1", "u", protocol.WebSocket, nil}, {"s1", "u", protocol.SSE, nil}, {"s1", "u", protocol.SSE, store.ErrSessionFull},
		{"s2", "u", protocol.SSE, nil}, {"s2", "u", protocol.SSE, store.ErrUserFull}, {"s3", "v", protocol.SSE, nil},
	} {
		if err := take(c.session, c.user, c.enc); !errors.Is(err, c.want) {
			f.Errorf("slot %d: %v, want %v", i, err, c.want)
		}
	}
	want := []protocol.Connections{{WebSocket: 1, SSE: 1}, {SSE: 1}, {}}
	f.until("the connections", func() bool { // a slot that was refused for the user counts for the session for a moment
		got, err := f.store.Connections(f.ctx, []string{"s1", "s2", "none"})
		return err == nil && slices.Equal(got, want)
	})
	f.store.GiveSlot(store.Slot{Session: "s1", User: "u", Encoding: protocol.SSE})
	f.until("the place", func() bool { return take("s1", "u", protocol.WebSocket) == nil })
	if got, err := f.store.Connections(f.ctx, []string{"s1"}); err != nil || got[0] != (protocol.Connections{WebSocket: 2}) {
		f.Errorf("connections: %+v, %v", got, err)
	}
	// A connection for many sessions counts for its user, a subscription for its session.
	if err := take("", "v", protocol.SharedSSE); err != nil {
		f.Errorf("a slot without a session: %v", err)
	}
	for _, want := range []error{nil, store.ErrUserFull} {
		if err := take("", "v", protocol.SharedWebSocket); !errors.Is(err, want) {
			f.Errorf("a slot without a session: %v, want %v", err, want)
		}
	}
	for _, want := range []error{nil, store.ErrSessionFull} {
		if err := take("s3", "", protocol.SharedSSE); !errors.Is(err, want) {
			f.Errorf("a slot without a user: %v, want %v", err, want)
		}
	}
	if got, err := f.store.Connections(f.ctx, []string{"s3"}); err != nil || got[0] != (protocol.Connections{SSE: 2}) {
		f.Errorf("connections: %+v, %v", got, err)
	}
	f.store.GiveSlot(store.Slot{User: "v", Encoding: protocol.SharedSSE})
	f.until("the user's place", func() bool { return take("", "v", protocol.SharedSSE) == nil })
	f.store.GiveSlot(store.Slot{Session: "s3", Encoding: protocol.SharedSSE})
	f.until("the session's place", func() bool { return take("s3", "", protocol.SharedWebSocket) == nil })
	if got, err := f.store.Connections(f.ctx, nil); err != nil || len(got) != 0 {
		f.Errorf("connections of none: %+v, %v", got, err)
	}
}

func testSlotsRace(f *fixture) {
	const most = 5
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			switch err := f.store.TakeSlot(f.ctx, store.Slot{Session: "s", User: "u"}, most, 0); {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, store.ErrSessionFull):
				f.Errorf("take a slot: %v", err)
			}
		})
	}
	wg.Wait()
	if taken.Load() != most {
		f.Errorf("%d were let in, want %d", taken.Load(), most)
	}
}
