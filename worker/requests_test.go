package worker

import (
	"maps"
	"slices"
	"testing"

	"sessionhub/protocol"
)

// A method that the hub does not know is asked for by nobody, and counted by no metric.
func TestEveryMethodIsKnown(t *testing.T) {
	known := slices.Sorted(slices.Values(protocol.WorkerMethods))
	all := slices.Sorted(maps.Keys(requestHandlers))
	if got := all; !slices.Equal(got, known) {
		t.Errorf("the worker answers %q, protocol.WorkerMethods has %q", got, known)
	}
}
