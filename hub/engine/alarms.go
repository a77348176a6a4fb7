package engine

import (
	"sync"
	"time"
)

// Alarms are the timers of one owner. The owner stops them all when it ends. All methods
// may be called concurrently. The zero value is ready.
type Alarms struct {
	mu      sync.Mutex
	pending map[*time.Timer]struct{}
	stopped bool
	running sync.WaitGroup
}

// After calls f in a goroutine of its own when d has passed, unless Stop comes first.
func (a *Alarms) After(d time.Duration, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	if a.pending == nil {
		a.pending = make(map[*time.Timer]struct{})
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		_, ok := a.pending[timer]
		delete(a.pending, timer)
		if ok {
			a.running.Add(1)
		}
		a.mu.Unlock()
		if ok {
			defer a.running.Done()
			f()
		}
	})
	a.pending[timer] = struct{}{}
}

// Stop ends all timers and waits for the calls that have begun. It may be called twice,
// but not from within such a call.
func (a *Alarms) Stop() {
	a.mu.Lock()
	a.stopped = true
	for timer := range a.pending {
		timer.Stop()
	}
	clear(a.pending)
	a.mu.Unlock()
	a.running.Wait()
}
