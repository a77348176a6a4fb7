package processtree

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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
	began := time.Now()
	if left := p.EndNew(t.Context(), below); left != 0 {
		t.Errorf("%d are left", left)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
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
