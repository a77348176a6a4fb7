package client

import (
	"sync"
	"time"
)

// watchdog ends a connection on which nothing is heard while somebody reads it.
// Between reads it sleeps: what has arrived meanwhile is heard by the next one.
// A TCP connection whose other end has vanished would otherwise be waited for
// without end.
type watchdog struct {
	bite func()

	mu      sync.Mutex // guards the fields below
	limit   time.Duration
	timer   *time.Timer
	reading int // which read this is; a timer of an earlier one does nothing
	bitten  bool
}

func newWatchdog(bite func()) *watchdog {
	return &watchdog{bite: bite, limit: silence(firstHeartbeat)}
}

// first sets the limit for what has not been heard of yet.
func (w *watchdog) first(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = d
}

func (w *watchdog) every(d time.Duration) {
	if d <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = silence(d)
}

func (w *watchdog) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading++
	now := w.reading
	w.timer = time.AfterFunc(w.limit, func() {
		w.mu.Lock()
		due := w.reading == now && w.timer != nil
		w.bitten = w.bitten || due
		w.mu.Unlock()
		if due {
			w.bite()
		}
	})
}

func (w *watchdog) heard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil && !w.bitten {
		w.timer.Reset(w.limit)
	}
}

// stop ends the watch over a read; true: it was the watchdog that ended it.
func (w *watchdog) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
	return w.bitten
}
