// Package judge is for tests that know how long something may take.
//
// A busy machine makes every process late, so a test run judges facts alone: it
// waits long for each, and logs how long it took. `make test-load` sets Variable,
// and then the bounds are judged too.
package judge

import (
	"os"
	"testing"
	"time"
)

// Variable is set in a run that judges time and load.
const Variable = "SESSIONHUB_TEST_LOAD"

// Patience is what a fact may take in a run that does not judge time. As the bound of a
// wait it judges nothing: without it, a test of what never comes would not end.
const Patience = 2 * time.Minute

// Load reports whether this run judges time and load.
func Load() bool { return os.Getenv(Variable) != "" }

// OneGoroutine leaves a test out where the race detector watches. It is for a test with
// much to compute in one goroutine, where no race can be: `make test` runs it without
// the detector.
func OneGoroutine(tb testing.TB) {
	tb.Helper()
	if Raced {
		tb.Skip("skip: one goroutine: scripts/test-whole.sh runs it without the race detector")
	}
}

// AtMost logs how long something took. A run that judges time fails when that was
// longer than most.
func AtMost(tb testing.TB, what string, took, most time.Duration) {
	tb.Helper()
	if took <= most {
		return
	}
	if Load() {
		tb.Errorf("%s took %v, want %v at most", what, took, most)
		return
	}
	tb.Logf("%s took %v, over %v: make test-load judges it", what, took, most)
}

// Within waits until ok says yes. It fails the test when that does not happen
// within two minutes; a run that judges time, when it takes longer than most.
func Within(tb testing.TB, most time.Duration, what string, ok func() bool) {
	tb.Helper()
	began := time.Now()
	limit := max(most, Patience)
	if Load() {
		limit = most
	}
	for !ok() {
		if time.Since(began) > limit {
			tb.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	AtMost(tb, what, time.Since(began), most)
}
