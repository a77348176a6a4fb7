package client

import (
	"sync"
	"time"
)

// watchdog ends a connection on which nothing comes while somebody reads it. Between reads
// it sleeps: the next read gets what has come meanwhile. Without it, a read would wait
// without end for a peer that has vanished.
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

// first sets the limit until the first frame.
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

// stop ends the watch over a read. It returns true if the watchdog ended the connection.
func (w *watchdog) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
	return w.bitten
}
