package contracttest

import (
	"encoding/json"
	"os/exec"
	"testing"

	"sessionhub/internal/testkit/hubtest"
)

// What an idle connection may cost, as the program's own benchmark measures it: with a session each, 11 KB of resident
// memory for a WebSocket (the figure for 10,000 is in docs/PERFORMANCE.md; of 4,000 each also carries a larger part of
// what is there anyway) and one goroutine.
func TestIdleConnectionsAreSmall(t *testing.T) {
	for transport, maxRSS := range map[string]float64{"websocket": 12.5 * 1024, "sse": 9 * 1024} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel() // with the other one, and with no other test
			bench := exec.CommandContext(t.Context(), binary,
				"bench", "--mode", "idle", "--subscribers", "4000", "--settle", "3s", "--transport", transport, "--json")
			bench.Env = hubtest.Environment()
			out, err := bench.Output()
			if err != nil {
				t.Fatalf("bench: %v", err)
			}
			var report struct {
				Memory struct{ RSSEach, GoroutinesEach, StackEach float64 }
				Loss   struct{ Lost, Repeated, Reordered, Dropped int }
			}
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%v in %.500s", err, out)
			}
			m := report.Memory
			t.Logf("%.0f bytes of memory, %.0f of stack, %.2f goroutines each", m.RSSEach, m.StackEach, m.GoroutinesEach)
			if m.RSSEach > maxRSS || m.StackEach > 3<<10 || m.GoroutinesEach > 1.2 {
				t.Errorf("more than %.0f bytes, of it 3072 of stack, or 1 goroutine", maxRSS)
			}
			if report.Loss != (struct{ Lost, Repeated, Reordered, Dropped int }{}) {
				t.Errorf("%+v", report.Loss)
			}
		})
	}
}
