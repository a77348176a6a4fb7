package app

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

func TestMemoryGoesBackOnlyWhenItIsNotNeededSoon(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		before, now memoryUse
		want        bool
	}{
		"a wave has ended": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 201 * mb, objects: 70 * mb, live: 60 * mb, free: 50 * mb}, true,
		},
		"a wave is under way": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 230 * mb, objects: 70 * mb, live: 60 * mb, free: 50 * mb}, false,
		},
		"everybody has left": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 200 * mb, objects: 60 * mb, live: 60 * mb, free: 0}, false,
		},
		"everybody has left, and it was collected": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 200 * mb, objects: 5 * mb, live: 5 * mb, free: 80 * mb}, true,
		},
		"a small hub": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 200 * mb, objects: 5 * mb, live: 4 * mb, free: 2 * mb}, false,
		},
		"little beside what is live": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 200 * mb, objects: 900 * mb, live: 900 * mb, free: 20 * mb}, false,
		},
		"more live than there are objects, while it is swept": {
			memoryUse{allocated: 200 * mb}, memoryUse{allocated: 200 * mb, objects: 50 * mb, live: 60 * mb, free: 0}, false,
		},
	} {
		if got := c.now.worthGiving(c.before); got != c.want {
			t.Errorf("%s: give %v, want %v (spare %d)", name, got, c.want, c.now.spare())
		}
	}
}

// A node that was busy and is idle now holds no more than it needs.
func TestMemoryIsGivenBackToTheSystem(t *testing.T) {
	released := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { giveMemoryBack(ctx, slog.New(slog.DiscardHandler)) })
	defer wg.Wait()
	defer cancel()

	const size = 64 << 20
	block := make([]byte, size)
	for i := range block {
		block[i] = 1 // so that the system has to find pages for it
	}
	runtime.KeepAlive(block)
	runtime.GC() // as the runtime itself does every two minutes
	before := released()
	judge.Within(t, 30*time.Second, "half of the memory is released", func() bool { return released() >= before+size/2 })
}
