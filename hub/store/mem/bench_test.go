package mem

import (
	"fmt"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// many is how many sessions the benchmarks have.
const many = 50_000

// crowd is a store of many sessions, of a hundred users.
func crowd(b *testing.B) *Store {
	b.Helper()
	s := New(store.Retention{})
	for i := range many {
		id := fmt.Sprint("s", i)
		c, err := session.NewState(session.Info{SessionID: id, UserID: fmt.Sprint("u", i%100)}, session.Policy{}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Create(b.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// All sessions of a full store are deleted, the newest first, which is the order
// that a listing gives.
func BenchmarkDelete50000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := crowd(b)
		b.StartTimer()
		for i := range many {
			if err := s.Delete(b.Context(), fmt.Sprint("s", many-1-i)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// As many sessions wait in one lane, and leave it in the middle.
func BenchmarkQueue(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := New(store.Retention{})
		b.StartTimer()
		waiting := func(i int) store.Waiting {
			return store.Waiting{ID: fmt.Sprint("s", i), User: fmt.Sprint("u", i%100), Provider: "demo"}
		}
		for i := range many {
			if err := s.Enqueue(b.Context(), waiting(i)); err != nil {
				b.Fatal(err)
			}
		}
		for i := range many {
			if err := s.Dequeue(b.Context(), waiting((i+many/2)%many)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// One of a hundred users lists a page, of a full store.
func BenchmarkListByUser(b *testing.B) {
	s := crowd(b)
	for b.Loop() {
		page, _, err := s.List(b.Context(), store.ListQuery{User: "u7", Limit: 50})
		if err != nil || len(page) != 50 {
			b.Fatalf("%d sessions, %v", len(page), err)
		}
	}
}

// One page far from the newest session.
func BenchmarkListDeep(b *testing.B) {
	s := crowd(b)
	_, deep, err := s.List(b.Context(), store.ListQuery{Limit: many - 100})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		page, _, err := s.List(b.Context(), store.ListQuery{Limit: 50, After: deep})
		if err != nil || len(page) != 50 {
			b.Fatalf("%d sessions, %v", len(page), err)
		}
	}
}
