package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
)

// brokenQueue is a store that panics when its queue is read.
type brokenQueue struct{ store.Store }

func (brokenQueue) Queued(context.Context, string, string, int) ([]store.Waiting, error) {
	panic("a fault in Queued")
}

// A dispatcher whose node stops while it rests behind a panic was not run again, and its
// timers went on.
func TestTimersEndWithADispatcherThatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFleet(brokenQueue{mem.New(store.Retention{})})
		l := newTestLink(f)
		l.offer.set(offer{providers: []string{"demo"}})
		l.joined = true
		f.links[l] = struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Run(ctx); close(ended) }()
		synctest.Wait() // it has met the panic
		cancel()
		<-ended
		var ran atomic.Bool
		f.alarms.After(time.Second, func() { ran.Store(true) })
		time.Sleep(engine.LoopPause + time.Minute) // the fake clock
		if ran.Load() {
			t.Error("a timer of the dispatcher went off behind its end")
		}
	})
}
