package mem

import (
	"iter"
	"math/rand/v2"
)

// ordered holds values by key, the smallest first. It is a skip list (Pugh 1990): to
// insert, to remove and to find takes O(log n). The zero value is empty. Its owner locks
// it. Each key is in it once.
type ordered[V any] struct{ head rung[V] }

// key orders the values: by major, then by minor.
type key struct{ major, minor uint64 }

func (k key) less(o key) bool { return k.major < o.major || k.major == o.major && k.minor < o.minor }

// rung is a value with what follows it on each level.
type rung[V any] struct {
	key   key
	value V
	next  []*rung[V]
}

// Each level has a quarter of the rungs of the level below it.
const (
	maxLevels  = 16
	levelShare = 4
)

// path is the last rung before k on each level.
func (o *ordered[V]) path(k key) (path [maxLevels]*rung[V]) {
	at := &o.head
	for level := len(o.head.next) - 1; level >= 0; level-- {
		for next := at.next[level]; next != nil && next.key.less(k); next = at.next[level] {
			at = next
		}
		path[level] = at
	}
	return path
}

// insert adds a value under a key that is not there.
func (o *ordered[V]) insert(k key, v V) {
	levels := 1
	for levels < maxLevels && rand.N(levelShare) == 0 {
		levels++
	}
	path := o.path(k)
	for level := len(o.head.next); level < levels; level++ {
		o.head.next = append(o.head.next, nil)
		path[level] = &o.head
	}
	r := &rung[V]{key: k, value: v, next: make([]*rung[V], levels)}
	for level := range levels {
		r.next[level], path[level].next[level] = path[level].next[level], r
	}
}

// remove takes out the value under a key. A key that is not there is no error.
func (o *ordered[V]) remove(k key) {
	path := o.path(k)
	if o.empty() || path[0].next[0] == nil || path[0].next[0].key != k {
		return
	}
	gone := path[0].next[0]
	for level, next := range gone.next {
		path[level].next[level] = next
	}
	for n := len(o.head.next); n > 0 && o.head.next[n-1] == nil; n-- {
		o.head.next = o.head.next[:n-1]
	}
}

func (o *ordered[V]) empty() bool { return len(o.head.next) == 0 }

// from gives the values from a key on, in order.
func (o *ordered[V]) from(k key) iter.Seq[V] {
	return func(yield func(V) bool) {
		if o.empty() {
			return
		}
		for r := o.path(k)[0].next[0]; r != nil && yield(r.value); r = r.next[0] {
		}
	}
}
