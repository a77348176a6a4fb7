package valkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
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
	b := store.Batch{
		Events: []session.NewEvent{{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m1", Kind: "text", Text: w.text(w.n)})}},
		Fence:  &store.Fence{Assignment: w.assignment, N: w.n},
	}
	for {
		began := time.Now()
		_, err := w.store.Append(w.t.Context(), w.id, b)
		w.slowest = max(w.slowest, time.Since(began))
		switch {
		case errors.Is(err, store.ErrRepeat):
			w.repeats++
			fallthrough
		case err == nil:
			w.stored = append(w.stored, w.text(w.n))
			return
		case !errors.Is(err, store.ErrUnavailable):
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

	mu     sync.Mutex
	last   uint64
	pieces []piece
}

// piece is what an event says.
type piece struct {
	seq   uint64
	texts []string
}

// take takes an event in the place of what the reader has of it.
func (r *reader) take(e protocol.Entry) {
	for n := len(r.pieces); n > 0 && r.pieces[n-1].seq >= e.First(); n-- {
		r.pieces = r.pieces[:n-1]
	}
	r.last, r.pieces = e.Seq, append(r.pieces, piece{e.Seq, textsOf(e)})
}

// texts are those of all outputs so far.
func (r *reader) texts() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pieces {
		out = append(out, p.texts...)
	}
	return out
}

func newReader(t *testing.T, s *Store, id string) *reader {
	t.Helper()
	r := &reader{store: s, id: id, wake: make(chan struct{}, 1)}
	stop := s.Watch(id, func(n store.Notice) {
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
				r.take(e)
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
		texts := r.texts()
		if len(texts) >= n {
			return texts
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: a watcher was told of %d events only, of %d", r.id, len(texts), n)
			return texts
		}
	}
}

// under appends to sessions from several workers, and compacts their logs, while fault
// does something to the servers. Then it checks that the log has what was
// acknowledged, once and in order, and that watchers of two nodes were told of all of
// it.
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
	var steps atomic.Int64
	for i, w := range workers {
		node := []*Store{one, two}[i%2]
		wg.Go(func() { steps.Add(compactUntil(t, node, w.id, stop)) })
		wg.Go(func() {
			for {
				w.append(time.Now().Add(judge.Patience))
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

	deadline := time.Now().Add(judge.Patience) // for all watchers together
	if steps.Load() == 0 {
		t.Error("nothing was compacted meanwhile")
	}
	for i, w := range workers {
		compactAll(t, two, w.id, 5)
		p, err := two.Read(t.Context(), w.id, 0, never, never)
		if err != nil {
			t.Fatal(err)
		}
		var log []string
		last := uint64(0)
		for _, e := range p.Entries {
			if e.First() != last+1 {
				t.Fatalf("%s: an event from %d follows %d", w.id, e.First(), last)
			}
			log, last = append(log, textsOf(e)...), e.Seq
		}
		if last != p.Last || len(p.Entries) >= len(w.stored) {
			t.Errorf("%s: %d entries to %d, of %d events to %d", w.id, len(p.Entries), last, len(w.stored), p.Last)
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
				for starts := range 4 {
					if starts > 0 {
						server.Kill()
						pass(200 * time.Millisecond)
						server.Restart()
					}
					judge.Within(t, 30*time.Second, "append behind a start", func() bool {
						snap, err := s.Load(t.Context(), "s0")
						return err == nil && len(snap.Epochs) == starts+1
					})
					pass(400 * time.Millisecond)
				}
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
			for name, call := range map[string]func(context.Context, string) (store.Snapshot, error){"load": s.Load, "confirm": s.Confirm} {
				began := time.Now()
				if _, err := call(t.Context(), "s0"); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s of a frozen server: %v, want ErrUnavailable", name, err)
				}
				judge.AtMost(t, name+" of a frozen server", time.Since(began), 3*time.Second)
			}
			judge.Within(t, 10*time.Second, "word that it is away", func() bool { return s.Available("") != nil })
			pass(time.Second)
			server.Cont()
			judge.Within(t, 20*time.Second, "word that it is back", func() bool { return s.Available("") == nil })
		}
		pass(300 * time.Millisecond)
	})
	for _, w := range workers {
		judge.AtMost(t, "a call of "+w.id, w.slowest, 3*time.Second)
	}
}

// One primary of a cluster is killed, and comes back.
func TestPrimaryOfAClusterIsKilled(t *testing.T) {
	t.Parallel()
	cluster := valkeytest.StartCluster(t, valkeytest.Valkey(t))
	under(t, cluster.URL(), func(s *Store) {
		pass(400 * time.Millisecond)
		cluster.Servers[1].Kill()
		judge.Within(t, 10*time.Second, "word that a primary is away", func() bool { return s.relay.ready() != nil })
		pass(500 * time.Millisecond)
		cluster.Servers[1].Restart()
		judge.Within(t, 30*time.Second, "word that it is back", func() bool { return s.relay.ready() == nil })
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
			move(t, cluster, hashSlotOf(s.channel(id)))
			pass(100 * time.Millisecond)
		}
		judge.Within(t, 30*time.Second, "new links", func() bool { return s.relay.ready() == nil })
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
		w.append(time.Now().Add(judge.Patience))
	}
	old, next := set.Primary(), set.Replica()
	judge.Within(t, 10*time.Second, "replication", func() bool {
		want, err := old.Do("XLEN", s.channel("s1")+":events")
		have, err2 := next.Do("XLEN", s.channel("s1")+":events")
		return err == nil && err2 == nil && want == have
	})
	// What is appended now is acknowledged, and does not reach the replica.
	if _, err := next.Do("REPLICAOF", "127.0.0.1", "1"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.append(time.Now().Add(judge.Patience))
	}
	before, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	step, err := nextStep(t.Context(), s, "s1", before.Last-5, 5) // with something that the replica has not
	if err != nil {
		t.Fatal(err)
	}
	old.Kill()
	set.AwaitPrimary(next)
	judge.Within(t, 30*time.Second, "word that the new primary is there", func() bool { return s.Available("") == nil })
	after, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if after.Last != before.Last-10 || after.N != before.N-10 {
		t.Fatalf("the log ends at %d, event %d of its assignment; it did at %d and %d: want 10 less", after.Last, after.N, before.Last, before.N)
	}
	if err := s.Compact(t.Context(), "s1", step); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a step on the primary that lost the end: %v, want ErrConflict", err)
	}
	// The worker learns of it as of a hole, and starts anew from what is there.
	w.n = after.N
	for range 5 {
		w.append(time.Now().Add(judge.Patience))
	}
	end, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if len(end.Epochs) != 2 || end.Epochs[0] != before.Epochs[0] || end.Epochs[1].First != after.Last+1 {
		t.Errorf("epochs %+v, want a second one from %d", end.Epochs, after.Last+1)
	}
	// Notices come from the new primary.
	w.append(time.Now().Add(judge.Patience))
	for range 60 { // so that the log is longer than the reader has seen it
		w.append(time.Now().Add(judge.Patience))
	}
	judge.Within(t, 20*time.Second, "notice from the new primary", func() bool {
		texts := r.texts()
		return len(texts) > 0 && strings.HasSuffix(texts[len(texts)-1], fmt.Sprintf("/%d", w.n))
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
		w.append(time.Now().Add(judge.Patience))
	}
	r.await(t, 20, time.Now().Add(judge.Patience))
	old, next := set.Primary(), set.Replica()
	do(t, set.Watch[0], "SENTINEL", "FAILOVER", set.Name)
	set.AwaitPrimary(next)
	// Nobody appends meanwhile, so nothing is lost.
	judge.Within(t, 30*time.Second, "end of the old primary", func() bool {
		role, err := old.Do("ROLE")
		return err == nil && strings.HasPrefix(role, "slave")
	})
	for range 20 {
		w.append(time.Now().Add(judge.Patience))
	}
	if got := r.await(t, 40, time.Now().Add(judge.Patience)); !slices.Equal(got, w.stored) {
		t.Errorf("a watcher saw %d events of %d", len(got), len(w.stored))
	}
	judge.Within(t, 20*time.Second, "word that the new primary is there", func() bool { return s.Available("") == nil })
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if n := do(t, next, "XLEN", s.channel("s1")+":events"); n != fmt.Sprint(snap.Last) || len(snap.Epochs) != 2 {
		t.Errorf("the new primary has %s of %d events, epochs %+v", n, snap.Last, snap.Epochs)
	}
}
