package processtree

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/internal/testkit/judge"
)

// TestMain is four programs: the tests, the supervisor, the misbehaving agents
// and a hub that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(SuperviseMain(os.Args[2:]))
		case "agent":
			agentMain(os.Args[2:])
		case "hub":
			hubMain(os.Args[2:])
		}
	}
	goleak.VerifyTestMain(m)
}

// self is the test binary, which is also the agent.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// agentSpec runs one of agentMain's behaviours.
func agentSpec(t *testing.T, args ...string) Spec {
	t.Helper()
	if testing.Short() { // skip: it runs trees of processes
		t.Skip("skip: -short, and it runs trees of processes")
	}
	return Spec{
		Path:       self(t),
		Args:       append([]string{"agent"}, args...),
		Env:        []string{"PATH=" + os.Getenv("PATH"), noRaceSleep},
		Dir:        t.TempDir(),
		Grace:      300 * time.Millisecond,
		Supervisor: supervisorOfTests(self(t)),
	}
}

// noRaceSleep saves the second that every process built with -race waits at its end.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

func supervisorOfTests(exe string) []string {
	return []string{"env", noRaceSleep, exe, "supervise"}
}

// shellSpec runs a shell script, for trees that a shell makes in fewer words.
func shellSpec(t *testing.T, script string) Spec {
	t.Helper()
	spec := agentSpec(t)
	spec.Path, spec.Args = "sh", []string{"-c", script}
	return spec
}

// run starts an agent that is stopped at the end of the test, whatever happens.
func run(t *testing.T, spec Spec) *Process {
	t.Helper()
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// finished waits for Done with a bound, so that a failure is a failure and no hang.
func finished(t *testing.T, p *Process, most time.Duration) Exit {
	t.Helper()
	began := time.Now()
	select {
	case <-p.Done():
		judge.AtMost(t, "the end of the tree", time.Since(began), most)
		return p.Wait()
	case <-time.After(judge.Patience):
		t.Fatalf("agent %d not done within %v", p.PID(), judge.Patience)
		return Exit{}
	}
}

// member is a process that a tree reported, with what tells it from a later one
// of the same number.
type member struct {
	pid   int
	start string
}

// record is called by the members of a tree: it makes the file dir/<pid>.
func record(dir string) {
	name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		panic(err)
	}
}

// members waits until n processes have recorded themselves in dir.
func members(t *testing.T, dir string, n int) []member {
	t.Helper()
	var found []member
	judge.Within(t, 10*time.Second, strconv.Itoa(n)+" processes recorded", func() bool {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		found = found[:0]
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatalf("recorded %q", e.Name())
			}
			found = append(found, member{pid, startOf(pid)})
		}
		return len(found) >= n
	})
	return found
}

// startOf is field 22 of /proc/<pid>/stat, or empty for a process that is gone
// or a zombie. (The tests read it on their own, not with the code they test.)
// Where there is no /proc it knows only that there is such a process.
func startOf(pid int) string {
	if !exists("/proc/self/stat") {
		if syscall.Kill(pid, 0) != nil {
			return ""
		}
		return "some time"
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	// Without memory (vsize, field 23 of proc(5)) it is on its way out of the
	// kernel, and executes nothing any more.
	if len(f) < 21 || f[0] == "Z" || f[0] == "X" || f[20] == "0" {
		return ""
	}
	return f[19]
}

func (m member) alive() bool { return m.start != "" && startOf(m.pid) == m.start }

func alive(all []member) (left []int) {
	for _, m := range all {
		if m.alive() {
			left = append(left, m.pid)
		}
	}
	return left
}

// allGone fails if one of the recorded processes is alive after the limit.
func allGone(t *testing.T, all []member, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for len(alive(all)) > 0 {
		if time.Now().After(deadline) {
			left := alive(all)
			for _, pid := range left {
				syscall.Kill(pid, syscall.SIGKILL) // leave nothing behind, also when failing
			}
			t.Fatalf("alive after %v: %v of %v", limit, left, all)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, os.ErrNotExist)
}
