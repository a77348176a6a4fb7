package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/hub"
	"sessionhub/internal/valkeytest"
	"sessionhub/protocol"
)

// worker appends to one session as a worker's link does: event after event, and
// one that got no answer again until it has one. What it was told to be stored is
// its record.
type worker struct {
	t          *testing.T
	store      *Store
	id         string
	assignment uint64
	n          uint64
	stored     []string // the text of each event that was acknowledged
	repeats    int      // events that turned out to be stored although there was no answer
	slowest    time.Duration
}

func (w *worker) text(n uint64) string { return fmt.Sprintf("%s/%d", w.id, n) }

// append appends the next event. It gives up when the time is over.
func (w *worker) append(until time.Time) {
	w.n++
	b := hub.Batch{
		Events: []hub.NewEvent{{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Kind: "text", Text: w.text(w.n)})}},
		Fence:  &hub.Fence{Assignment: w.assignment, N: w.n},
	}
	for {
		began := time.Now()
		_, err := w.store.Append(w.t.Context(), w.id, b)
		w.slowest = max(w.slowest, time.Since(began))
		switch {
		case errors.Is(err, hub.ErrRepeat):
			w.repeats++
			fallthrough
		case err == nil:
			w.stored = append(w.stored, w.text(w.n))
			return
		case !errors.Is(err, hub.ErrUnavailable):
			w.t.Errorf("append %d to %s: %v", w.n, w.id, err)
			return
		case time.Now().After(until):
			w.t.Errorf("append %d to %s: no answer: %v", w.n, w.id, err)
			return
		}
		time.Sleep(10 * time.Millisecond) // as the hub does: storeRetry
	}
}

// reader reads a session's log as a stream does: on a notice, from its cursor.
type reader struct {
	store *Store
	id    string
	wake  chan struct{}

	mu    sync.Mutex
	last  uint64
	texts []string
}

func newReader(t *testing.T, s *Store, id string) *reader {
	t.Helper()
	r := &reader{store: s, id: id, wake: make(chan struct{}, 1)}
	stop := s.Watch(id, func(n hub.Notice) {
		r.mu.Lock()
		news := n.Last > r.last
		r.mu.Unlock()
		if news {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx) })
	t.Cleanup(func() { stop(); cancel(); wg.Wait() })
	return r
}

func (r *reader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for {
			r.mu.Lock()
			after := r.last
			r.mu.Unlock()
			p, err := r.store.Read(ctx, r.id, after, 100, 64<<10)
			if err != nil {
				// As the hub does: it tries again, since the log may have more.
				select {
				case <-ctx.Done():
					return
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			if len(p.Entries) == 0 {
				break
			}
			r.mu.Lock()
			for _, e := range p.Entries {
				r.last = e.Seq
				if e.Type == protocol.EventOutput {
					r.texts = append(r.texts, textOf(e))
				}
			}
			r.mu.Unlock()
		}
	}
}

func textOf(e protocol.Entry) string {
	var ev protocol.Event
	var d protocol.OutputData
	if protocol.Decode(e.AppendJSON(nil), &ev) != nil || protocol.Decode(ev.Data, &d) != nil {
		return "?"
	}
	return d.Text
}

// await waits until the reader has seen so many outputs.
func (r *reader) await(t *testing.T, n int, deadline time.Time) []string {
	t.Helper()
	for ; ; time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		texts := slices.Clone(r.texts)
		r.mu.Unlock()
		if len(texts) >= n {
			return texts
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: a watcher was told of %d events only, of %d", r.id, len(texts), n)
			return texts
		}
	}
}

// under appends to sessions from several workers while fault does something to the
// servers, and then checks that the log has what was acknowledged, once and in
// order, and that watchers of two nodes were told of all of it.
func under(t *testing.T, url string, fault func(s *Store)) []*worker {
	t.Helper()
	prefix := space()
	short := func(o *Options) { o.CallTimeout = time.Second }
	one, two := open(t, url, prefix, short), open(t, url, prefix, short)
	const sessions = 6
	var workers []*worker
	var readers [][2]*reader
	for i := range sessions {
		id := fmt.Sprintf("s%d", i)
		workers = append(workers, &worker{t: t, store: one, id: id, assignment: benchSession(t, one, id)})
		readers = append(readers, [2]*reader{newReader(t, one, id), newReader(t, two, id)})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for {
				w.append(time.Now().Add(40 * time.Second))
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	fault(one)
	close(stop)
	wg.Wait()

	deadline := time.Now().Add(20 * time.Second) // for all watchers together
	for i, w := range workers {
		p, err := two.Read(t.Context(), w.id, 0, never, never)
		if err != nil {
			t.Fatal(err)
		}
		var log []string
		for k, e := range p.Entries {
			if e.Seq != uint64(k+1) {
				t.Fatalf("%s: entry %d has the seq %d", w.id, k, e.Seq)
			}
			if e.Type == protocol.EventOutput {
				log = append(log, textOf(e))
			}
		}
		if !slices.Equal(log, w.stored) {
			t.Errorf("%s: %d events were acknowledged, the log has %d: first difference at %d", w.id, len(w.stored), len(log), difference(log, w.stored))
		}
		for node, r := range readers[i] {
			if got := r.await(t, len(w.stored), deadline); !slices.Equal(got, w.stored) {
				t.Errorf("%s: a watcher on node %d saw %d of %d events: first difference at %d", w.id, node, len(got), len(w.stored), difference(got, w.stored))
			}
		}
		t.Logf("%s: %d events, %d of them without an answer at first, slowest call %s", w.id, len(w.stored), w.repeats, w.slowest)
	}
	return workers
}

func difference(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// pass lets the workers work for a while: what is tested is what comes in between.
func pass(d time.Duration) { time.Sleep(d) }

// A server that is killed in the middle of appends has all that it acknowledged,
// once, and its watchers hear of all of it.
func TestNothingIsLostWhenTheServerIsKilled(t *testing.T) {
	for name, program := range map[string]string{"valkey": valkeytest.Valkey(t), "redis": valkeytest.Redis(t)} {
		t.Run(name, func(t *testing.T) {
			server := valkeytest.Start(t, program)
			workers := under(t, server.URL(), func(s *Store) {
				for range 3 {
					pass(400 * time.Millisecond)
					server.Kill()
					pass(200 * time.Millisecond)
					server.Restart()
				}
				pass(400 * time.Millisecond)
			})
			// Each restart could have lost something, for all that the store knows.
			snap, err := workers[0].store.Load(t.Context(), "s0")
			if err != nil || len(snap.Epochs) != 4 {
				t.Errorf("epochs %+v, %v; want 4: one for each start of the server", snap.Epochs, err)
			}
		})
	}
}

// While a server is frozen, calls end by their deadline, the store says that it is
// not available, and when it goes on, nothing is missing or there twice.
func TestFrozenServer(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	workers := under(t, server.URL(), func(s *Store) {
		for range 2 {
			pass(300 * time.Millisecond)
			server.Stop()
			for name, call := range map[string]func(context.Context, string) (hub.Snapshot, error){"load": s.Load, "confirm": s.Confirm} {
				began := time.Now()
				if _, err := call(t.Context(), "s0"); !errors.Is(err, hub.ErrUnavailable) {
					t.Errorf("%s of a frozen server: %v, want ErrUnavailable", name, err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("%s took %s, its deadline is 1 s", name, took)
				}
			}
			within(t, "word that it is away", 10*time.Second, func() bool { return s.Available() != nil })
			pass(time.Second)
			server.Cont()
			within(t, "word that it is back", 20*time.Second, func() bool { return s.Available() == nil })
		}
		pass(300 * time.Millisecond)
	})
	for _, w := range workers {
		if w.slowest > 3*time.Second {
			t.Errorf("%s: a call took %s, its deadline is 1 s", w.id, w.slowest)
		}
	}
}

// within waits for something, at most so long.
func within(t testing.TB, what string, most time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s in %s", what, most)
		}
	}
}

// One primary of a cluster is killed, and comes back.
func TestPrimaryOfAClusterIsKilled(t *testing.T) {
	t.Parallel()
	cluster := valkeytest.StartCluster(t, valkeytest.Valkey(t))
	under(t, cluster.URL(), func(s *Store) {
		pass(400 * time.Millisecond)
		cluster.Servers[1].Kill()
		within(t, "word that a primary is away", 10*time.Second, func() bool { return s.Available() != nil })
		pass(500 * time.Millisecond)
		cluster.Servers[1].Restart()
		within(t, "word that it is back", 30*time.Second, func() bool { return s.Available() == nil })
		pass(400 * time.Millisecond)
	})
}

// Slots move from one primary to another while their sessions are used and watched.
func TestSlotsMove(t *testing.T) {
	t.Parallel()
	cluster := valkeytest.StartCluster(t, valkeytest.Valkey(t))
	under(t, cluster.URL(), func(s *Store) {
		pass(300 * time.Millisecond)
		for _, id := range []string{"s0", "s1", "s2", "s3"} {
			move(t, cluster, slotOf(s.channel(id)))
			pass(100 * time.Millisecond)
		}
		within(t, "new links", 30*time.Second, func() bool { return s.Available() == nil })
		pass(time.Second)
	})
}

// move gives a slot and its keys to the next primary, as resharding does.
func move(t *testing.T, c *valkeytest.Cluster, slot uint16) {
	t.Helper()
	number, from := fmt.Sprint(slot), -1
	for i, x := range c.Servers {
		if n := do(t, x, "CLUSTER", "COUNTKEYSINSLOT", number); n != "0" {
			from = i
		}
	}
	if from < 0 {
		t.Fatalf("no server has keys in the slot %d", slot)
	}
	source, target := c.Servers[from], c.Servers[(from+1)%len(c.Servers)]
	sourceID, targetID := do(t, source, "CLUSTER", "MYID"), do(t, target, "CLUSTER", "MYID")
	do(t, target, "CLUSTER", "SETSLOT", number, "IMPORTING", sourceID)
	do(t, source, "CLUSTER", "SETSLOT", number, "MIGRATING", targetID)
	host, port, _ := strings.Cut(target.Addr(), ":")
	for {
		keys := do(t, source, "CLUSTER", "GETKEYSINSLOT", number, "100")
		if keys == "" {
			break
		}
		do(t, source, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, strings.Split(keys, "\n")...)...)
	}
	for _, x := range []*valkeytest.Server{target, source, c.Servers[(from+2)%len(c.Servers)]} {
		do(t, x, "CLUSTER", "SETSLOT", number, "NODE", targetID)
	}
}

// A planned failover loses what had not reached the replica, and the store says so
// with a new epoch: no number stands for two events in one.
func TestFailover(t *testing.T) {
	t.Parallel()
	set := valkeytest.StartSentinels(t, valkeytest.Valkey(t))
	s := open(t, set.URL(), space(), func(o *Options) { o.CallTimeout = time.Second })
	w := &worker{t: t, store: s, id: "s1", assignment: benchSession(t, s, "s1")}
	r := newReader(t, s, "s1")
	for range 50 {
		w.append(time.Now().Add(10 * time.Second))
	}
	old, next := set.Primary(), set.Replica()
	within(t, "replication", 10*time.Second, func() bool {
		want, err := old.Do("XLEN", s.channel("s1")+":events")
		have, err2 := next.Do("XLEN", s.channel("s1")+":events")
		return err == nil && err2 == nil && want == have
	})
	// What is appended now is acknowledged, and does not reach the replica.
	if _, err := next.Do("REPLICAOF", "127.0.0.1", "1"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.append(time.Now().Add(10 * time.Second))
	}
	before, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	old.Kill()
	set.AwaitPrimary(next)
	within(t, "word that the new primary is there", 30*time.Second, func() bool { return s.Available() == nil })
	after, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if after.Last != before.Last-10 || after.N != before.N-10 {
		t.Fatalf("the log ends at %d, event %d of its assignment; it did at %d and %d: want 10 less", after.Last, after.N, before.Last, before.N)
	}
	// The worker learns of it as of a hole, and starts anew from what is there.
	w.n = after.N
	for range 5 {
		w.append(time.Now().Add(20 * time.Second))
	}
	end, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if len(end.Epochs) != 2 || end.Epochs[0] != before.Epochs[0] || end.Epochs[1].First != after.Last+1 {
		t.Errorf("epochs %+v, want a second one from %d", end.Epochs, after.Last+1)
	}
	// Notices come from the new primary.
	w.append(time.Now().Add(10 * time.Second))
	for range 60 { // so that the log is longer than the reader has seen it
		w.append(time.Now().Add(10 * time.Second))
	}
	within(t, "notice from the new primary", 20*time.Second, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.texts) > 0 && strings.HasSuffix(r.texts[len(r.texts)-1], fmt.Sprintf("/%d", w.n))
	})
}

// A planned failover leaves the old primary running: connections to it stay open,
// and nothing that is appended is announced on them any more. The heartbeat shows
// it.
func TestPlannedFailover(t *testing.T) {
	t.Parallel()
	set := valkeytest.StartSentinels(t, valkeytest.Valkey(t))
	s := open(t, set.URL(), space(), func(o *Options) { o.CallTimeout = time.Second })
	w := &worker{t: t, store: s, id: "s1", assignment: benchSession(t, s, "s1")}
	r := newReader(t, s, "s1")
	for range 20 {
		w.append(time.Now().Add(10 * time.Second))
	}
	r.await(t, 20, time.Now().Add(10*time.Second))
	old, next := set.Primary(), set.Replica()
	do(t, set.Watch[0], "SENTINEL", "FAILOVER", set.Name)
	set.AwaitPrimary(next)
	// Nobody appends meanwhile, so nothing is lost.
	within(t, "end of the old primary", 30*time.Second, func() bool {
		role, err := old.Do("ROLE")
		return err == nil && strings.HasPrefix(role, "slave")
	})
	for range 20 {
		w.append(time.Now().Add(20 * time.Second))
	}
	if got := r.await(t, 40, time.Now().Add(15*time.Second)); !slices.Equal(got, w.stored) {
		t.Errorf("a watcher saw %d events of %d", len(got), len(w.stored))
	}
	within(t, "word that the new primary is there", 20*time.Second, func() bool { return s.Available() == nil })
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if n := do(t, next, "XLEN", s.channel("s1")+":events"); n != fmt.Sprint(snap.Last) || len(snap.Epochs) != 2 {
		t.Errorf("the new primary has %s of %d events, epochs %+v", n, snap.Last, snap.Epochs)
	}
}
