//go:build unix && !linux

package wsconn

const knowsUnsent = false
