package worker

import (
	"slices"
	"testing"

	"sessionhub/protocol"
)

// A method that the hub does not know is asked for by nobody, and counted by no metric.
func TestEveryMethodIsKnown(t *testing.T) {
	known := slices.Sorted(slices.Values(protocol.WorkerMethods))
	if got := requestMethods(); !slices.Equal(got, known) {
		t.Errorf("the worker answers %q, protocol.WorkerMethods has %q", got, known)
	}
}
