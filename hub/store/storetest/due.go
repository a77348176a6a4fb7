package storetest

import (
	"fmt"
	"sync"
	"time"

	"sessionhub/hub/store"
)

// dueIndex calls the due-index for the suite.
type dueIndex struct{ *ground }

// take takes what is due now, by id.
func (f dueIndex) take(n int, hide time.Duration) map[string]store.Due {
	f.Helper()
	taken, _, err := f.store.TakeDue(f.ctx, n, hide)
	if err != nil {
		f.Fatalf("take what is due: %v", err)
	}
	out := make(map[string]store.Due, len(taken))
	for _, d := range taken {
		out[d.ID] = d
	}
	return out
}

func (f dueIndex) arm(id string, in time.Duration) {
	f.Helper()
	if err := f.store.Arm(f.ctx, id, time.Now().Add(in)); err != nil {
		f.Fatalf("arm %s: %v", id, err)
	}
}

func (f dueIndex) settle(d store.Due, next time.Time) {
	f.Helper()
	if err := f.store.Settle(f.ctx, d, next); err != nil {
		f.Fatalf("settle %s: %v", d.ID, err)
	}
}

// takeWithin takes due sessions until the one with the id comes.
func (f dueIndex) takeWithin(id string, most time.Duration) store.Due {
	f.Helper()
	for deadline := time.Now().Add(most); ; {
		if d, ok := f.take(10, time.Minute)[id]; ok {
			return d
		}
		if time.Now().After(deadline) {
			f.Fatalf("%s did not become due in %s", id, most)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func testDue(f *fixture) {
	f.arm("later", time.Hour)
	f.arm("now", -time.Second)
	f.arm("both", time.Hour)
	f.arm("both", -2*time.Second)
	f.arm("both", time.Minute) // the earlier one stays
	_, wait, err := f.store.TakeDue(f.ctx, 0, time.Minute)
	if err != nil || wait != 0 {
		f.Errorf("something is due: wait %s, %v", wait, err)
	}
	if got := f.take(1, time.Minute); len(got) != 1 || got["both"].ID == "" {
		f.Errorf("the earliest first: %v", got)
	}
	if got := f.take(10, time.Minute); len(got) != 1 || got["now"].ID == "" {
		f.Errorf("the next: %v", got)
	}
	taken, wait, err := f.store.TakeDue(f.ctx, 10, time.Minute)
	if err != nil || len(taken) != 0 || wait <= 0 || wait > time.Minute {
		f.Errorf("nothing else is due: %v, wait %s, %v", taken, wait, err)
	}
}

// A taken session is hidden, and comes back when its taker has died.
func testDueHides(f *fixture) {
	f.arm("s", -time.Second)
	first := f.take(1, 300*time.Millisecond)["s"]
	if got := f.take(1, time.Minute); len(got) != 0 {
		f.Fatalf("taken twice: %v", got)
	}
	second := f.takeWithin("s", 20*time.Second)
	// The first taker is late: its Settle changes nothing.
	f.settle(first, time.Time{})
	f.settle(second, time.Now().Add(-time.Second))
	if got := f.take(1, time.Minute); len(got) != 1 {
		f.Errorf("settled to now, but not due: %v", got)
	}
}

func testDueSettle(f *fixture) {
	for id, next := range map[string]time.Time{"never": {}, "again": time.Now().Add(-time.Second), "later": time.Now().Add(time.Hour)} {
		f.arm(id, -time.Minute)
		f.settle(f.take(1, time.Minute)[id], next)
	}
	if got := f.take(10, time.Minute); len(got) != 1 || got["again"].ID == "" {
		f.Errorf("due again: %v", got)
	}
	f.arm("never", -time.Second)
	if got := f.take(10, time.Minute); len(got) != 1 || got["never"].ID == "" {
		f.Errorf("armed anew: %v", got)
	}
}

// A time that was armed during a check, or before it behind the taken entry, survives the
// settlement.
func testDueArmedMeanwhile(f *fixture) {
	f.arm("during", -time.Second)
	d := f.take(1, time.Minute)["during"]
	f.arm("during", -time.Millisecond)
	if got := f.take(1, time.Minute); len(got) != 0 {
		f.Errorf("looked at twice at once: %v", got)
	}
	f.settle(d, time.Now().Add(time.Hour))
	if got := f.take(1, time.Minute); len(got) != 1 {
		f.Errorf("what was armed during the look is lost: %v", got)
	}

	f.arm("behind", -time.Second)
	f.arm("behind", 100*time.Millisecond)
	f.settle(f.take(1, time.Minute)["behind"], time.Time{})
	f.takeWithin("behind", 20*time.Second)
}

func testDueRace(f *fixture) {
	const n = 200
	for i := range n {
		f.arm(fmt.Sprint("s", i), -time.Second)
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				taken, _, err := f.store.TakeDue(f.ctx, 7, time.Minute)
				if err != nil {
					f.Errorf("take: %v", err)
				}
				if len(taken) == 0 {
					return
				}
				mu.Lock()
				for _, d := range taken {
					seen[d.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, times := range seen {
		if times != 1 {
			f.Errorf("%s was taken %d times", id, times)
		}
	}
	if len(seen) != n {
		f.Errorf("%d of %d were taken", len(seen), n)
	}
}
