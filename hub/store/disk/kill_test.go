package disk

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// The power goes while sessions are written and compacted, again and again, in the
// middle of what the disk does, and what was not synced may be there in part: all that
// somebody was told is there, and the logs go on in a new epoch. KILLS is how often.
func TestPowerCut(t *testing.T) {
	const each = 20 // cuts of one store
	n := kills(t, 16)
	writes, steps, compacted := 0, 0, 0
	for done := 0; done < n; done += each {
		w, s, c := cutPower(t, min(each, n-done), uint64(done))
		writes, steps, compacted = writes+w, steps+s, compacted+c
	}
	t.Logf("%d cuts, %d with writes in flight, %d with a compaction on its way to the disk; %d compacted events were there", n, writes, steps, compacted)
}

// cut is what was told before a power cut, and what the disk has behind it.
type cut struct {
	before      map[string]told
	disk        *vfs.MemFS
	step, write bool // on its way to the disk
	epoch       string
}

// cutPower cuts the power of one store so many times: in each fourth one while a step
// is on its way to the disk, in the others while an append is.
func cutPower(t *testing.T, n int, seed uint64) (writes, steps, compacted int) {
	mem := vfs.NewCrashableMem()
	said := newLedger()
	var armed atomic.Int64 // operations on the log until the cut that can be it; 0: none is to come
	var onStep atomic.Bool // which can be it
	var disk sync.Mutex
	var ended, synced int // steps, when the last sync began and the one before it
	var stepsBegun, stepsEnded, flying atomic.Int64
	cuts := make(chan cut, 1)
	var looking sync.RWMutex // nothing begins meanwhile, so that the logs stay short
	rng := rand.New(rand.NewPCG(1, seed))
	percent := 0
	var s *Store
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if !strings.HasSuffix(op.Path, ".log") || !isSync && op.Kind != errorfs.OpFileWrite {
			return nil
		}
		disk.Lock()
		defer disk.Unlock()
		step, write := int(stepsBegun.Load()) > synced, flying.Load() > 0
		if armed.Load() > 0 && (step && onStep.Load() || write && !onStep.Load()) && armed.Add(-1) == 0 {
			c := cut{before: said.copy(), step: step, write: write, epoch: s.epoch}
			c.disk = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			cuts <- c
		}
		if isSync {
			synced, ended = ended, int(stepsEnded.Load())
		}
		return nil
	}))
	s = open(t, fs)
	defer s.Close()
	for _, id := range loadIDs {
		create(t, s, id)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		defer stop()
		err := load(ctx, s, func(kind byte, id, body string) {
			if kind == lineAppend || kind == lineStep {
				looking.RLock()
				defer looking.RUnlock()
			}
			switch kind {
			case lineAppend:
				flying.Add(1)
			case lineAppended:
				flying.Add(-1)
			case lineStep:
				stepsBegun.Add(1)
			case lineStepped:
				stepsEnded.Add(1)
			}
			said.write(kind, id, body)
		})
		if err != nil {
			t.Error(err)
		}
	})
	for i := range n {
		percent = i % 12 * 8
		onStep.Store(i%4 == 3)
		armed.Store(1 + rand.Int64N(40))
		select {
		case c := <-cuts:
			if c.write {
				writes++
			}
			if c.step {
				steps++
			}
			func() {
				looking.Lock()
				defer looking.Unlock()
				compacted += look(t, c)
			}()
		case <-ctx.Done():
			t.Fatal("the load has ended")
		}
	}
	return writes, steps, compacted
}

// look opens what a power cut has left.
func look(t *testing.T, c cut) (compacted int) {
	t.Helper()
	s := open(t, c.disk)
	defer s.Close()
	if s.epoch == c.epoch {
		t.Error("the epoch stays over a power cut")
	}
	return compare(t, s, c.before)
}

// killedDir is the directory of the store that this process works on until it is killed.
const killedDir = "SESSIONHUB_TEST_KILLED_DIR"

// worksUntilKilled says everything on its output, so that nothing is told that is not
// there at its end.
func worksUntilKilled(dir string) error {
	s, err := Open(Options{Dir: dir, Retention: wide})
	if err != nil {
		return err
	}
	say := func(kind byte, id, body string) {
		_, _ = fmt.Fprintf(os.Stdout, "%c %s %s\n", kind, id, body)
	}
	return load(context.Background(), s, say)
}

// A process is killed while it writes and compacts sessions, again and again: the store
// opens, and all that was told is there, in the old form or in the new one. The next
// process goes on with what the killed one left. KILLS is how often.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		t.Fatal(worksUntilKilled(dir))
	}
	const each = 20 // kills over one directory
	n := kills(t, 8)
	done, writes, steps, compacted := 0, 0, 0, 0
	short := func() bool { return writes*4 < n*3 || steps*20 < n*3 } // 150 and 30 of 200
	for done < n || short() && done < 5*n {
		dir := filepath.Join(t.TempDir(), "data")
		s, err := Open(Options{Dir: dir, Retention: wide})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range loadIDs {
			create(t, s, id)
		}
		s.Close()
		said := newLedger()
		for i := 0; i < each && (done < n || short()); i++ {
			before := said.copy()
			killOne(t, dir, said, i%2 == 1)
			all := said.copy()
			done++
			if underWay(since(all, before), lineAppend, lineAppended) {
				writes++
			}
			if underWay(since(all, before), lineStep, lineStepped) {
				steps++
			}
			// A copy is looked at: the next process is to find what this one left.
			left := filepath.Join(t.TempDir(), "left")
			_ = os.Remove(filepath.Join(dir, controlSocket)) // which no copy can have
			if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(Options{Dir: left, Retention: wide}); err != nil {
				t.Fatal(err)
			}
			compacted += compare(t, s, all)
			s.Close()
			if err := os.RemoveAll(left); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d kills, %d with writes in flight, %d during a compaction; %d compacted events were there", done, writes, steps, compacted)
	if short() {
		t.Error("too few of them in the middle of something")
	}
}

// since counts what was begun and done behind an earlier copy.
func since(all, before map[string]told) map[string]told {
	out := make(map[string]told)
	for id, d := range all {
		done := make(map[byte]int)
		for kind, n := range d.done {
			done[kind] = n - before[id].done[kind]
		}
		out[id] = told{done: done}
	}
	return out
}

// killOne has a process work on a directory, and kills it: in the middle of a step, or
// anywhere.
func killOne(t *testing.T, dir string, said *ledger, onStep bool) {
	t.Helper()
	p := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	p.Env = append(os.Environ(), killedDir+"="+dir)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	from, killed := 20+rand.IntN(400), false // lines
	for n := 0; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is left of a line was told to nobody
		}
		kind, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		id, body, also := strings.Cut(rest, " ")
		if !ok || !also || len(kind) != 1 {
			t.Errorf("the process says %q", line)
			break
		}
		said.write(kind[0], id, body)
		if !killed && n >= from && (!onStep || kind[0] == lineStep) {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			killed = true
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = p.Wait()
	if !killed {
		t.Fatal("the process ended by itself")
	}
}
