package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// What a killed worker left half made is removed. A spare in which somebody worked is not.
func TestSweepRemovesOnlyWhatNobodyHas(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	ready := func() []string {
		marks, _ := filepath.Glob(filepath.Join(g.trees, "*", "w-*.spare"))
		return marks
	}
	judge.Within(t, 20*time.Second, "a spare is made", func() bool { return len(ready()) == 1 })
	spare := strings.TrimSuffix(ready()[0], ".spare")
	half := filepath.Join(filepath.Dir(spare), "w-half")
	g.git("worktree", "add", "-q", "--detach", half)
	g.put(half+".making", "")
	rest := filepath.Join(filepath.Dir(spare), "w-rest.gone")
	if err := os.Mkdir(rest, 0o700); err != nil {
		t.Fatal(err)
	}
	g.restart()
	trees := g.w.worktrees
	trees.sweep(t.Context())
	if there(half) || there(rest) || !there(spare) || !there(dir) || strings.Contains(g.git("worktree", "list"), "w-half") {
		t.Errorf("half %v, rest %v, spare %v, worktree %v", there(half), there(rest), there(spare), there(dir))
	}
	g.put(spare+"/mine", "somebody's")
	trees.sweepSpares(t.Context(), 0)
	if !there(spare+"/mine") || len(ready()) != 0 {
		t.Error("a spare in which somebody worked is gone, or a session could get it")
	}
	if next := g.grow("s_2"); next == spare {
		t.Error("a session got somebody's work")
	}
	judge.Within(t, 20*time.Second, "a spare is made", func() bool { return len(ready()) == 1 })
	spare = strings.TrimSuffix(ready()[0], ".spare")
	trees.sweepSpares(t.Context(), 0)
	if there(spare) || strings.Contains(g.git("worktree", "list"), filepath.Base(spare)) {
		t.Error("a spare that is too many stays")
	}
}
