package mem

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// What a skip list gives is what a sorted slice gives, after any inserts and removes.
func TestOrderedIsSorted(t *testing.T) {
	var o ordered[key]
	var want []key
	order := func(a, b key) int { return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor)) }
	check := func(from key) {
		t.Helper()
		i, _ := slices.BinarySearchFunc(want, from, order)
		if got := slices.Collect(o.from(from)); !slices.Equal(got, want[i:]) {
			t.Fatalf("from %v: %d values, want %d: %v, %v", from, len(got), len(want)-i, got, want[i:])
		}
	}
	random := func() key { return key{rand.Uint64N(50), rand.Uint64N(50)} }
	for range 5000 {
		k := random()
		i, found := slices.BinarySearchFunc(want, k, order)
		switch {
		case found:
			o.remove(k)
			want = slices.Delete(want, i, i+1)
		case rand.N(2) == 0:
			o.insert(k, k)
			want = slices.Insert(want, i, k)
		default:
			o.remove(k) // it is not there
		}
		check(random())
	}
	check(key{})
	for _, k := range slices.Clone(want) {
		o.remove(k)
	}
	if want = nil; !o.empty() {
		t.Error("it is not empty without values")
	}
	check(key{})
}
