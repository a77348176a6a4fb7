//go:build !race

package wsconn

// smallStack is the stack that a goroutine is born with, 2 KB, and what the runtime keeps for the next ones.
const smallStack = 3 << 10
