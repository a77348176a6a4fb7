package backoff

import (
	"math"
	"testing"
	"time"
)

func TestWaitsGrowAndAreSpread(t *testing.T) {
	for failures, bound := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second, 6: 15 * time.Second, 1000: 15 * time.Second} {
		var least, most time.Duration = time.Hour, 0
		for range 1000 {
			b := Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second, failures: failures - 1}
			w := b.Next()
			least, most = min(least, w), max(most, w)
		}
		// Of 1,000 draws over the whole range, none in a tenth of it at either
		// end has a chance below 10^-45.
		if most > bound || most < bound*9/10 || least > bound/10 {
			t.Errorf("after %d failures: %s to %s, the bound is %s", failures, least, most, bound)
		}
	}
}

func TestAResetBeginsAnew(t *testing.T) {
	b := Backoff{Base: time.Millisecond, Max: time.Hour}
	for want := 1; want <= 100; want++ {
		if w := b.Next(); w < 0 || w > time.Hour || b.Failures() != want {
			t.Fatalf("failure %d: a wait of %s, and %d are counted", want, w, b.Failures())
		}
	}
	b.Reset()
	if w := b.Next(); w > time.Millisecond || b.Failures() != 1 {
		t.Errorf("after a reset: a wait of %s, and %d failures are counted", w, b.Failures())
	}
}

// No bound overflows, however far apart the two are.
func TestBoundsDoNotOverflow(t *testing.T) {
	b := Backoff{Base: 1, Max: math.MaxInt64 - 1}
	for range 200 {
		if w := b.Next(); w < 0 {
			t.Fatalf("after %d failures: a wait of %s", b.Failures(), w)
		}
	}
}
