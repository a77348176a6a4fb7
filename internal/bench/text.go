package bench

import (
	"math/rand/v2"
	"sync"
)

// poolBytes is the length of the text that all others are cut from. No compression that
// a store uses looks back so far.
const poolBytes = 1 << 20

// pool is the same text in every process. It hardly gets smaller by compression, and has
// letters that JSON must escape.
var pool = sync.OnceValue(func() string {
	const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;-0123\"\n"
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, poolBytes)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
})

// textAt gives size bytes of the pool, at most half of it; which ones depends on at alone.
func textAt(at, size int) string {
	at %= poolBytes - size
	return pool()[at : at+size]
}
