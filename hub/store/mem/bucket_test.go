package mem

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
)

// Buckets of users who are gone are forgotten, however many there were; one that is
// not full is kept.
func TestFullBucketsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(store.Retention{})
		take := func(name string, r store.Rate) time.Duration {
			wait, err := s.TakeToken(t.Context(), name, r)
			if err != nil {
				t.Fatal(err)
			}
			return wait
		}
		const users = 10_000
		fast, slow := store.Rate{PerSecond: 1, Burst: 2}, store.Rate{PerSecond: 0.001, Burst: 1}
		take("slow", slow)
		for i := range users {
			take(fmt.Sprint("u", i), fast)
		}
		if len(s.by) != users+1 {
			t.Fatalf("%d buckets", len(s.by))
		}
		time.Sleep(1100 * time.Millisecond) // each of the fast ones is full again
		for range users {
			take("busy", store.Rate{PerSecond: 1, Burst: users + 1})
		}
		if len(s.by) != 2 {
			t.Errorf("%d buckets are left, want the slow and the busy one", len(s.by))
		}
		if wait := take("slow", slow); wait <= 0 {
			t.Error("a bucket that was not full is forgotten")
		}
		time.Sleep(1000 * time.Second)
		if wait := take("slow", slow); wait != 0 {
			t.Errorf("a full bucket has no token for %v", wait)
		}
	})
}
