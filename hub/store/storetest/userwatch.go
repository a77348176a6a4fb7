package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// heard collects what the watcher of a user was told.
type heard struct {
	*fixture
	user string
	stop func()

	mu       sync.Mutex
	sessions map[string]int
	lost     int
}

func (f *fixture) watchUser(user string) *heard {
	f.Helper()
	h := &heard{fixture: f, user: user, sessions: make(map[string]int)}
	h.stop = f.store.WatchUser(user, func(n store.UserNotice) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if n.Lost == (n.Session != "") {
			f.Errorf("the notice %+v says nothing, or two things", n)
		}
		if n.Lost {
			h.lost++
		} else {
			h.sessions[n.Session]++
		}
	})
	return h
}

func (h *heard) count(id string) (sessions, lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id], h.lost
}

// want makes a change of a session and waits for its notice, or for a Lost.
func (h *heard) want(id string, change func()) {
	h.Helper()
	before, lost := h.count(id)
	change()
	for deadline := time.Now().Add(watchTime); ; time.Sleep(time.Millisecond) {
		now, nowLost := h.count(id)
		if now > before || nowLost > lost {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("the watcher of %q was not told of %s in %s", h.user, id, watchTime)
		}
	}
}

// settle waits until a change gives its notice, and no Lost.
func (h *heard) settle(id string) {
	h.Helper()
	for deadline := time.Now().Add(watchTime); ; {
		before, _ := h.count(id)
		h.want(id, func() { h.listed(id) })
		if now, _ := h.count(id); now > before {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("the watcher of %q is told of losses alone", h.user)
		}
	}
}

// listed changes a session in a way that a listing shows.
func (f *fixture) listed(id string) {
	f.Helper()
	b := f.decide(id, session.InRename{Title: fmt.Sprint(time.Now().UnixNano())})
	b.Listed = true
	f.append(id, b)
}

func testWatchUser(f *fixture) {
	// Names that a store could take for something else.
	for i, user := range []string{"u1", "u 1}{:ü\n*", "queue", "s 1 e {s1}"} {
		id, quiet, others := fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i)
		h := f.watchUser(user)
		h.want(id, func() { f.create(id, user) })
		f.create(quiet, user)
		f.create(others, user+"'s other")
		h.settle(id)
		h.settle(quiet)

		before, _ := h.count(quiet)
		f.append(quiet, store.Batch{Events: outputs("a listing does not show it")})
		f.change(quiet, session.InRename{Title: "not marked"})
		f.listed(others)
		for range 20 {
			h.want(id, func() { f.listed(id) })
		}
		if now, _ := h.count(quiet); now != before {
			f.Errorf("the watcher of %q was told of a batch without Listed", user)
		}
		if n, _ := h.count(others); n > 0 {
			f.Errorf("the watcher of %q was told of a session of another user", user)
		}
		for _, gone := range []string{id, quiet} {
			h.want(gone, func() {
				if err := f.store.Delete(f.ctx, gone); err != nil {
					f.Fatal(err)
				}
			})
		}
		h.stop()
	}
}

// A read behind a notice finds the change. A watcher that stopped hears nothing more, and
// others go on.
func testWatchUserStop(f *fixture) {
	f.create("s1", "u1")
	stay := f.watchUser("u1")
	stay.settle("s1")
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				f.listed("s1")
			}
		}
	})
	for range 100 {
		var stopped atomic.Bool
		stop := f.store.WatchUser("u1", func(store.UserNotice) {
			if stopped.Load() {
				f.Error("a notice after stop has returned")
			}
		})
		stop()
		stopped.Store(true)
		stop() // may be called twice
	}
	close(end)
	wg.Wait()
	version := f.load("s1").Version
	found := make(chan uint64, 1000)
	wake := make(chan struct{}, 1000)
	stop := f.store.WatchUser("u1", func(store.UserNotice) { wake <- struct{}{} })
	go func() {
		defer close(found)
		for range wake {
			snap, err := f.store.Load(f.ctx, "s1")
			if err != nil {
				f.Error(err)
				return
			}
			found <- snap.Version
		}
	}()
	stay.want("s1", func() { f.listed("s1") })
	for deadline := time.After(watchTime); ; {
		select {
		case got := <-found:
			if got < version+1 {
				continue // the subscription alone
			}
		case <-deadline:
			f.Error("no read behind a notice found the change")
		}
		break
	}
	stop()
	close(wake)
	for range found {
	}
	stay.stop()
}
