//go:build !race

package judge

// Raced says that the race detector watches, which makes everything about ten times
// slower. A test that does one thing thousands of times takes a part of them then:
// `make test` runs it once more, whole, without the detector.
const Raced = false
