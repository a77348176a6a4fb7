package contracttest

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// process is a worker as the command runs it.
type process struct{ cmd *exec.Cmd }

func (n *node) worker(t *testing.T, name, root string, flags ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"worker", "--hub", n.URL, "--name", name, "--workspace-root", root, "--workspace", "shared"}, flags...)...)
	cmd.Env = append(hubtest.Environment(), "SESSIONHUB_WORKER_KEY="+workerKey)
	cmd.Stderr = n.Log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &process{cmd}
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

const workerKey = "the-key-of-the-workers"

// ends gives how a message ended, once it has.
func (s session) ends(n *node, most time.Duration, messageID string) (c protocol.CompleteData) {
	s.n.t.Helper()
	judge.Within(s.n.t, most, "the end of a message", func() bool {
		h := ok[protocol.History](n, http.StatusOK, "GET", s.path+"/history", "", s.bearer()...)
		for _, raw := range h.Events {
			e := hubtest.Decode[protocol.Event](s.n.t, raw)
			if e.Type != protocol.EventComplete {
				continue
			}
			if d := hubtest.Decode[protocol.CompleteData](s.n.t, e.Data); d.MessageID == messageID {
				c = d
				return true
			}
		}
		return false
	})
	return c
}

// A message is sent to a session whose worker sleeps: a laptop whose lid was closed
// a moment ago. No worker has received it, so it waits, and says so, until a worker
// is there: the same one, or another one of the workspace, also when the node with
// the link of the sleeping one is killed. It once ended with worker_lost.
func TestMessageToASleepingWorkerWaits(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32), "SESSIONHUB_WORKER_KEY=" + workerKey}
	flags := []string{"--valkey-url", server.URL(), "--worker", "none", "--worker-lease", "6s"}
	for _, c := range []struct {
		name  string
		wakes bool // before its lease ends
		kill  bool // the node with its link
	}{{"it wakes in time", true, false}, {"it stays asleep", false, false}, {"its node is killed", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := serveEnv(t, env, flags...), serveEnv(t, env, flags...)
			root, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			first := a.worker(t, "first-"+strings.ReplaceAll(c.name, " ", "-"), root)
			s := b.create("{}")
			if end := s.ends(b, 30*time.Second, s.send("hello").MessageID); end.StopReason != protocol.StopEndTurn {
				t.Fatalf("the first turn: %+v", end)
			}
			first.signal(t, syscall.SIGSTOP)
			id := s.send("are you there?").MessageID
			if c.kill {
				_ = a.Cmd.Process.Kill()
			}
			for range 20 {
				if got := s.view().Status; got != protocol.StatusQueued {
					t.Fatalf("the status is %s, though no worker has the message", got)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if c.wakes {
				first.signal(t, syscall.SIGCONT)
			} else {
				b.worker(t, "second-"+strings.ReplaceAll(c.name, " ", "-"), root)
			}
			if end := s.ends(b, 40*time.Second, id); end.StopReason != protocol.StopEndTurn {
				t.Errorf("the message ended with %+v", end)
			}
		})
	}
}
