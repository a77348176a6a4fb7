//go:build race

package wsconn

// smallStack is more with the race detector, which makes every call deeper.
const smallStack = 5 << 10
