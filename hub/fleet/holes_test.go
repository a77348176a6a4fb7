package fleet

import (
	"fmt"
	"testing"
)

// The sessions of workers that never come back are forgotten some day.
func TestHolesAreBounded(t *testing.T) {
	var h holes
	for i := range 2*maxHoles + 1 {
		s := &heldSession{id: fmt.Sprint(i), assignment: 7}
		h.remember(s)
		if !h.has(s) {
			t.Fatalf("hole %d was not kept", i)
		}
		if len(h.by) > maxHoles {
			t.Fatalf("%d holes are kept, want at most %d", len(h.by), maxHoles)
		}
	}
}
