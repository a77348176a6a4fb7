package processtree

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// TestEndNewSparesWhatWasThereBefore: of the agent's children the first stays,
// and the one that came after the look is ended with its own child, although both
// ignore SIGTERM and have a session of their own.
func TestEndNewSparesWhatWasThereBefore(t *testing.T) {
	dir := t.TempDir()
	before, after, fuse := filepath.Join(dir, "before"), filepath.Join(dir, "after"), filepath.Join(dir, "go")
	for _, d := range []string{before, after} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := run(t, shellSpec(t, `
sleep 30 & : >`+before+`/$!
while [ ! -e `+fuse+` ]; do sleep 0.02; done
setsid sh -c 'trap "" TERM HUP; sleep 30 & : >`+after+`/$!; : >`+after+`/$$; wait' &
wait`))
	old := members(t, before, 1)
	below := p.Below()
	if err := os.WriteFile(fuse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := members(t, after, 2)
	judge.Within(t, 10*time.Second, "the child has become sleep", func() bool {
		return strings.Contains(namesOf(p.Running(below), fresh), "sleep")
	})
	running := p.Running(below)
	began := time.Now()
	ended, left := p.EndNew(t.Context(), below)
	if left != 0 {
		t.Errorf("%d are left", left)
	}
	judge.AtMost(t, "the end of what is new", time.Since(began), 3*time.Second)
	for _, list := range [][]Running{running, ended} {
		if names := namesOf(list, fresh); names != "sh sleep" && names != "dash sleep" && names != "bash sleep" {
			t.Errorf("what was new is named %q: %+v", names, list)
		}
	}
	allGone(t, fresh, 0)
	if len(alive(old)) != 1 {
		t.Error("what was there before is gone")
	}
	select {
	case <-p.Done():
		t.Error("the agent is gone")
	default:
	}
}

// namesOf are the names of the processes, which must be those and no others.
func namesOf(list []Running, want []member) string {
	var names []string
	for _, r := range list {
		if !slices.ContainsFunc(want, func(m member) bool { return m.pid == r.PID }) {
			return fmt.Sprintf("%+v is not expected", r)
		}
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// What is ended with an agent is named, whoever ended it, and also when it is the
// agent itself that ends.
func TestWhatIsLeftIsNamed(t *testing.T) {
	const script = "sleep 60 & echo $! >> pids; (setsid sleep 61 >/dev/null 2>&1 & echo $! >> pids); echo started; "
	for _, test := range []struct{ name, then string }{{"stopped", "wait"}, {"ended by itself", "read go; exit 3"}} {
		t.Run(test.name, func(t *testing.T) {
			spec := shellSpec(t, "sleep 59 & echo ready; read go; "+script+test.then)
			spec.Dir = t.TempDir()
			p := run(t, spec)
			out := bufio.NewReader(p.Stdout)
			readLine := func() {
				t.Helper()
				if _, err := out.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			readLine()
			judge.Within(t, 10*time.Second, "its own helper", func() bool {
				own := p.Running(Below{})
				return len(own) == 1 && own[0].Name == "sleep"
			})
			helpers := p.Below()
			if left := p.Left(helpers); left != nil {
				t.Errorf("left before the end: %+v", left)
			}
			fmt.Fprintln(p.Stdin, "go")
			readLine()
			judge.Within(t, 10*time.Second, "two that sleep", func() bool {
				running := p.Running(helpers)
				return len(running) == 2 && running[0].Name == "sleep" && running[1].Name == "sleep"
			})
			if test.name == "stopped" {
				if err := p.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				fmt.Fprintln(p.Stdin, "go")
			}
			finished(t, p, 10*time.Second)
			left := p.Left(helpers)
			if len(left) != 2 || left[0].Name != "sleep" || left[1].Name != "sleep" {
				t.Errorf("left: %+v", left)
			}
			pids, err := os.ReadFile(filepath.Join(spec.Dir, "pids"))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range left {
				if !strings.Contains(string(pids), strconv.Itoa(r.PID)) {
					t.Errorf("%+v is none of %q", r, pids)
				}
			}
			if len(p.Left(Below{})) != 3 {
				t.Errorf("with the helper: %+v", p.Left(Below{}))
			}
		})
	}
}
