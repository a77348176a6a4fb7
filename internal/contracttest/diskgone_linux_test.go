package contracttest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sessionhub/internal/testkit/judge"
)

// noMoreWrites has every write of the node to a file fail from here on.
func (n *node) noMoreWrites() {
	n.t.Helper()
	if err := unix.Prlimit(n.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{}, nil); err != nil {
		n.t.Fatal(err)
	}
}

// failed waits for the end of a node whose store has stopped for good.
func (n *node) failed() {
	n.t.Helper()
	select {
	case <-n.Ended:
	case <-time.After(judge.Patience):
		n.t.Fatal("the node does not end")
	}
	if code := n.Cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(n.Log.String(), "sessionhub serve") {
		n.t.Errorf("the node ended with %d", code)
	}
}

// A node whose disk fails while it drains ends at once, and says so. It waited for turns
// that nobody could store any more, and ended with 0 when nothing else had failed.
func TestStoreThatFailsDuringTheDrain(t *testing.T) {
	t.Parallel()
	n := serve(t, "--data-dir", t.TempDir(), "--drain-timeout", "10m")
	s := n.create(`{}`)
	st := s.sse("")
	s.send("/stream 1000000 100 50")
	st.until("output")
	n.Terminate()
	judge.Within(t, 20*time.Second, "the node drains", func() bool {
		return n.call("GET", "/readyz", "").StatusCode == http.StatusServiceUnavailable
	})
	n.noMoreWrites()
	n.failed()
}

// The same at the last moment, when the store is closed.
func TestStoreThatFailsWhenItIsClosed(t *testing.T) {
	t.Parallel()
	n := serve(t, "--data-dir", t.TempDir())
	n.create(`{}`)
	n.noMoreWrites()
	n.Terminate()
	n.failed()
}
