package soak_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/need"
	"sessionhub/internal/testkit/soak"
	"sessionhub/protocol"
)

// program is the binary under test, in a place of its own: its path tells its
// processes from all others.
var program soak.Binary

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sessionhub-soak")
	if err != nil {
		panic(err)
	}
	program = soak.Binary(filepath.Join(dir, "sessionhub"))
	if err := build(string(program)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build takes the binary that SESSIONHUB_BIN names, or makes one.
func build(to string) error {
	from := os.Getenv("SESSIONHUB_BIN")
	if from == "" {
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", to, "sessionhub/cmd/sessionhub").CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// Two workers, thirty sessions, and everything between the hub and the agents
// breaks at random, while logs are compacted: nothing is lost, repeated or stuck, and no process is left.
//
// SOAK is how long (1m; `make soak` takes 5m), SOAK_SEED repeats a run's choices.
func TestSoak(t *testing.T) {
	duration, lease := length(t)
	seed := seed(t)
	t.Logf("seed %d: SOAK=%s SOAK_SEED=%d repeats the choices of this run", seed, duration, seed)

	dir := t.TempDir()
	mark := fmt.Sprintf("SOAK_MARK=%d", seed)
	providers := writeProviders(t, dir, fmt.Sprint(seed))
	workspace := filepath.Join(dir, "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	hub, err := program.Serve(t.Context(), []string{"SESSIONHUB_WORKER_KEY=soak-key"},
		"--worker", "none", "--worker-lease", lease.String(), "--rate-sessions", "1000/s:1000", "--rate-messages", "1000/s:1000",
		"--max-sessions-per-user", "1000", "--max-connections-per-user", "1000", "--log-max-events", "1000000", "--log-max-bytes", "256MiB", "--compact-after", compactAfter, "--providers-file", providers)
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Kill()
	fleet, err := soak.NewFleet(soak.FleetOptions{
		Bin: program, Hubs: []string{hub.URL}, Key: "soak-key", Workers: 2, Lease: lease, Mark: mark,
		Flags: []string{"--worker-capacity", "10", "--workspace-root", workspace, "--providers-file", providers},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()

	report, err := soak.Run(t.Context(), soak.Options{
		Groups: []soak.Group{
			soak.DemoAgents(24, protocol.CreateRequest{}), soak.ModelAgents(6, protocol.CreateRequest{Provider: "codex"}),
		},
		URLs: []string{hub.URL}, Duration: duration, Every: time.Second, Churn: 5 * time.Second,
		Settle: settle(), Seed: seed, Faults: fleet.Faults(), Heal: fleet.Heal, Logf: t.Logf,
	})
	verdict(t, report, report.Findings, err)
	if report.Events < 30*uint64(duration/time.Second) || uint64(report.Kept) > report.Events/2 || report.Within == 0 {
		t.Error("too little came: the run proves little")
	}
	left(t, "an agent after its session", func() []int { return soak.Marked(mark) })

	ctx, cancel := context.WithTimeout(t.Context(), judge.Patience)
	defer cancel()
	if err := fleet.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := hub.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-hub.Done():
		if hub.ExitCode() != 0 {
			t.Errorf("the hub ended with %d", hub.ExitCode())
		}
	case <-ctx.Done():
		t.Error("the hub does not stop")
	}
	left(t, "a process of the program", func() []int { return soak.Named(string(program)) })
	if t.Failed() {
		keep(t, "hub", hub.Said())
		keep(t, "workers", fleet.Said())
	}
}

// compactAfter is short, so that logs are compacted under whatever happens, and readers
// come back to events that were made of what they have seen.
const compactAfter = "500ms"

// length is how long the faults go on, and the lease of workers that goes with it.
func length(t *testing.T) (duration, lease time.Duration) {
	t.Helper()
	duration, lease = time.Minute, 5*time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if duration >= 3*time.Minute {
		lease = 15 * time.Second // the default
	}
	return duration, lease
}

// settle is how long a session may take to be well after the faults. That nothing is stuck
// is a fact, and how soon it is well goes by what else the machine does.
func settle() time.Duration {
	if judge.Load() {
		return 30 * time.Second
	}
	return judge.Patience
}

// writeProviders makes the file with both agents, marked: the demo agent, and
// codex-acp with a scripted model in place of the vendor's.
func writeProviders(t *testing.T, dir, mark string) string {
	t.Helper()
	codex := need.Codex.Path(t)
	model, err := fakemodel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	home := filepath.Join(dir, "codex")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := fakemodel.CodexHome(home, model.URL())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SOAK_MARK": mark}
	for _, e := range list {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	file := filepath.Join(dir, "providers.yaml") // JSON is YAML
	err = os.WriteFile(file, protocol.Marshal(map[string]any{
		"demo":  map[string]any{"command": string(program), "args": []string{"demo-agent"}, "env": map[string]string{"SOAK_MARK": mark}},
		"codex": map[string]any{"command": codex, "env": env, "mode": "read-only"},
	}), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// verdict says what came of a run: each finding is an error of its own.
func verdict(t *testing.T, report fmt.Stringer, findings []string, err error) {
	t.Helper()
	t.Log(report)
	if err != nil {
		t.Error(err)
	}
	for _, finding := range findings {
		t.Errorf("found: %.500s", finding)
	}
}

// keep writes what processes said into a file: it is too long to stand among the
// errors. Their own errors are shown beside its name. The file is in the folder that
// SESSIONHUB_TEST_LOGS names.
func keep(t *testing.T, who, said string) {
	t.Helper()
	file, err := os.CreateTemp(os.Getenv("SESSIONHUB_TEST_LOGS"), fmt.Sprintf("%s-%s-*.log", t.Name(), who))
	if err != nil {
		t.Error(err)
		return
	}
	_, err = file.WriteString(said)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Error(err)
	}
	t.Logf("what the %s said is in %s", who, file.Name())
	for line := range strings.Lines(said) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic: ") {
			t.Logf("%s: %.500s", who, line)
		}
	}
}

func seed(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("SOAK_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

// left wants no process to be left after a while.
func left(t *testing.T, what string, pids func() []int) {
	t.Helper()
	for deadline := time.Now().Add(judge.Patience); ; time.Sleep(50 * time.Millisecond) {
		n := pids()
		if len(n) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is left: %v", what, n)
			return
		}
	}
}
