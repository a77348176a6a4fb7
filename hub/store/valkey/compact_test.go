package valkey

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// A node of an earlier version reads only what is not compacted. While one lives,
// nothing is.
func TestCompactionWaitsForOlderNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	prefix := space()
	s, other := open(t, server.URL(), prefix), open(t, server.URL(), prefix)
	benchSession(t, s, "s1")
	say(t, s, "s1", numbers(1, 10)...)
	c, err := nextStep(t.Context(), s, "s1", never, 5)
	if err != nil {
		t.Fatal(err)
	}
	alive := func(ago time.Duration) {
		t.Helper()
		do(t, server, "ZADD", s.nodeKeys()[0], strconv.FormatInt(time.Now().Add(-ago).UnixMicro(), 10), "kx3h5qa2bcde")
	}
	alive(0)
	for _, node := range []*Store{s, other} {
		if err := node.Compact(t.Context(), "s1", c); !errors.Is(err, store.ErrNotYet) || store.Answered(err) {
			t.Errorf("beside an older node: %v, want ErrNotYet", err)
		}
	}
	if snap, err := s.Load(t.Context(), "s1"); err != nil || snap.Compacted != 0 || do(t, server, "EXISTS", s.channel("s1")+":compacted") != "0" {
		t.Errorf("beside an older node the log is compacted up to %d, %v", snap.Compacted, err)
	}
	// It has been silent for so long that it is dead.
	alive(nodeDead)
	judge.Within(t, 3*nodeEvery, "end of the older node", func() bool {
		err := other.Compact(t.Context(), "s1", c)
		if err != nil && !errors.Is(err, store.ErrNotYet) {
			t.Fatal(err)
		}
		return err == nil
	})
	if text, n, _ := logOf(t, s, "s1"); text != strings.Join(numbers(1, 10), " ") || n >= 10 {
		t.Errorf("the log says %q in %d entries", text, n)
	}
	// A node that was taken for dead comes back as one that knows.
	do(t, server, "ZREM", s.nodeKeys()[0], s.nodeNow())
	if err := s.sayAlive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, err := other.allKnowCompaction(t.Context()); err != nil || !ok {
		t.Errorf("beside a node with a new name: %v, %v", ok, err)
	}
}

// Nothing of a session is left behind, and one of the same name begins anew.
func TestDeleteLeavesNoKey(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space(), func(o *Options) { o.Retention.MaxEvents = 10 })
	for range 2 {
		benchSession(t, s, "s1")
		say(t, s, "s1", numbers(1, 6)...)
		compactAll(t, s, "s1", 3)
		// The stream of the compacted ones is gone once the last of them is trimmed.
		if n := do(t, server, "EXISTS", s.channel("s1")+":events", s.channel("s1")+":compacted"); n != "1" {
			t.Errorf("%s streams of a log that is compacted to its end", n)
		}
		say(t, s, "s1", numbers(7, 20)...)
		if n := do(t, server, "EXISTS", s.channel("s1")+":events", s.channel("s1")+":compacted"); n != "1" {
			t.Errorf("%s streams of a log that was trimmed behind what was compacted", n)
		}
		say(t, s, "s1", numbers(21, 26)...)
		c, err := nextStep(t.Context(), s, "s1", 22, 3)
		if err == nil {
			err = s.Compact(t.Context(), "s1", c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		if left := do(t, server, "KEYS", s.opt.Prefix+"{s1}*"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	}
}

// A key that somebody has taken away is what was trimmed, and holds nobody up.
func TestCompactedKeyIsTakenAway(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space(), func(o *Options) { o.Retention.MaxEvents = 10 })
	benchSession(t, s, "s1")
	say(t, s, "s1", numbers(1, 8)...)
	compactAll(t, s, "s1", 2)
	do(t, server, "DEL", s.channel("s1")+":compacted")
	if p, err := s.Read(t.Context(), "s1", 0, 100, never); err != nil || len(p.Entries) != 0 {
		t.Errorf("a log without its only stream has %d entries, %v", len(p.Entries), err)
	}
	say(t, s, "s1", numbers(9, 25)...)
	if text, _, _ := logOf(t, s, "s1"); text != strings.Join(numbers(16, 25), " ") {
		t.Errorf("the log says %q", text)
	}
	bytesAreRight(t, server, s, "s1")
}

// Large events are read once: a page that is full asks for no more of them, and one
// that is not is read on.
func TestPagesOfCompactedEvents(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	assignment := benchSession(t, s, "s1")
	b := store.Batch{Fence: &store.Fence{Assignment: assignment, N: 1, Count: 12 * 60}}
	for range b.Fence.Count {
		b.Events = append(b.Events, output(1000))
	}
	if _, err := s.Append(t.Context(), "s1", b); err != nil {
		t.Fatal(err)
	}
	compactAll(t, s, "s1", 60) // twelve of 60 KB
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	for bytes, pages := range map[int]int{64 << 10: 12, readBytes: 3, 4 << 20: 1} {
		calls := pages
		if pages == 1 {
			calls = 3 // in pieces
		}
		do(t, server, "CONFIG", "RESETSTAT")
		after := snap.Last - 12*60
		for n := 0; after < snap.Last; n++ {
			p, err := s.Read(t.Context(), "s1", after, 1000, bytes)
			if err != nil || len(p.Entries) != 12/pages {
				t.Fatalf("page %d of %d bytes has %d entries, %v; want %d", n, bytes, len(p.Entries), err, 12/pages)
			}
			after = p.Entries[len(p.Entries)-1].Seq
		}
		if n, _ := serverMicros(t, server, "evalsha_ro"); n != calls {
			t.Errorf("pages of %d bytes took %d calls, want %d", bytes, n, calls)
		}
	}
}

// What is forgotten is gone from the server at once.
func TestForgetLeavesNothingCompacted(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	benchSession(t, s, "s1")
	say(t, s, "s1", numbers(1, 6)...)
	compactAll(t, s, "s1", 3)
	snap, err := s.Load(t.Context(), "s1")
	if err == nil {
		_, err = s.Append(t.Context(), "s1", store.Batch{State: snap.State, Expect: snap.Version, Forget: true})
	}
	if n := do(t, server, "EXISTS", s.channel("s1")+":events", s.channel("s1")+":compacted"); err != nil || n != "0" {
		t.Errorf("%s streams of a forgotten log, %v", n, err)
	}
}

// What was read for a step can be outdated when the step comes: it is checked again.
func TestStepOnALogThatChangedMeanwhile(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	benchSession(t, s, "s1")
	say(t, s, "s1", numbers(1, 6)...)
	compactAll(t, s, "s1", 3)
	say(t, s, "s1", numbers(7, 12)...)
	good, err := nextStep(t.Context(), s, "s1", never, 3)
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := s.keys("s1")
	weight := weightOf(t, s, good)
	before := do(t, server, "HGET", keys[0], "head") + do(t, server, "HGET", keys[0], "compacted")
	for name, change := range map[string]func(*store.Compaction){
		"another epoch":               func(c *store.Compaction) { c.Epoch = "another" },
		"another node was faster":     func(c *store.Compaction) { c.After-- },
		"the beginning was trimmed":   func(c *store.Compaction) { c.Entries[0].From-- },
		"the end was lost":            func(c *store.Compaction) { c.Entries[len(c.Entries)-1].Seq++ },
		"one of the same id is there": func(c *store.Compaction) { c.Epoch, c.After = "another", 0 },
	} {
		c := good
		c.Entries = slices.Clone(good.Entries)
		change(&c)
		if err := s.step(t.Context(), t.Context(), "s1", keys, c, weight); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
		if after := do(t, server, "HGET", keys[0], "head") + do(t, server, "HGET", keys[0], "compacted"); after != before {
			t.Errorf("%s: %q became %q", name, before, after)
		}
	}
	if err := s.step(t.Context(), t.Context(), "s1", keys, good, weight); err != nil {
		t.Error(err)
	}
	if text, _, _ := logOf(t, s, "s1"); text != strings.Join(numbers(1, 12), " ") {
		t.Errorf("the log says %q", text)
	}
	bytesAreRight(t, server, s, "s1")
	gone, _ := s.keys("gone")
	if err := s.step(t.Context(), t.Context(), "gone", gone, good, weight); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("a session that was deleted meanwhile: %v, want ErrNotFound", err)
	}
}

// A server that lost the end of a log refuses a step that holds something of what it
// lost, before it has told so and after it. A step of what it has is as good as before.
func TestServerThatLostTheEndRefusesAStep(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space(), func(o *Options) { o.CallTimeout = time.Second })
	benchSession(t, s, "s1")
	say(t, s, "s1", numbers(1, 20)...)
	back := server.Copy()
	before, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	say(t, s, "s1", numbers(21, 30)...)
	whole, err := nextStep(t.Context(), s, "s1", never, 4)
	if err != nil {
		t.Fatal(err)
	}
	part, err := nextStep(t.Context(), s, "s1", before.Last-5, 4)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Read(t.Context(), "s1", part.Last(), never, never)
	if err != nil {
		t.Fatal(err)
	}
	lost := store.Compaction{Epoch: p.Epoch, After: part.Last(), Entries: mergeAll(p.Entries, 4)}
	server.Kill()
	back()
	server.Restart()
	try := func(when string, c store.Compaction, want error, compacted uint64) {
		t.Helper()
		var err error
		judge.Within(t, 20*time.Second, "an answer", func() bool {
			err = s.Compact(t.Context(), "s1", c)
			return !errors.Is(err, store.ErrUnavailable)
		})
		snap, failed := s.Load(t.Context(), "s1")
		if failed != nil {
			t.Fatal(failed)
		}
		if !errors.Is(err, want) || snap.Compacted != compacted {
			t.Errorf("%s: %v, compacted up to %d; want %v and %d", when, err, snap.Compacted, want, compacted)
		}
	}
	try("a step of all", whole, store.ErrConflict, 0)
	if text, _, p := logOf(t, s, "s1"); text != strings.Join(numbers(1, 20), " ") || p.Last != before.Last {
		t.Fatalf("the log says %q, to %d: this test needs one that lost its end", text, p.Last)
	}
	try("a step of what is there", part, nil, part.Last())
	if text, _, _ := logOf(t, s, "s1"); text != strings.Join(numbers(1, 20), " ") {
		t.Errorf("the log says %q", text)
	}
	try("a step of the rest", lost, store.ErrConflict, part.Last())
	say(t, s, "s1", numbers(121, 140)...)
	try("a step of what was lost, where there is something else now", lost, store.ErrConflict, part.Last())
	compactAll(t, s, "s1", 7)
	if text, n, _ := logOf(t, s, "s1"); text != strings.Join(append(numbers(1, 20), numbers(121, 140)...), " ") || n > 20 {
		t.Errorf("the log says %q in %d entries", text, n)
	}
	bytesAreRight(t, server, s, "s1")
}

// A step whose connection breaks is done or not. To do it again does not double it.
func TestStepWithoutAnAnswerIsDoneOnce(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	proxy, err := faultproxy.New(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	prefix := space()
	direct := open(t, server.URL(), prefix)
	address := url.URL{Scheme: "redis", Host: proxy.Addr()}
	s := open(t, address.String(), prefix, func(o *Options) { o.CallTimeout = 500 * time.Millisecond })
	benchSession(t, direct, "s1")
	var want []string
	done, undone := 0, 0
	var wg sync.WaitGroup
	for round := range 12 {
		texts := numbers(100*round, 100*round+19)
		want = append(want, texts...)
		say(t, direct, "s1", texts...)
		c, err := nextStep(t.Context(), direct, "s1", never, 6)
		if err != nil {
			t.Fatal(err)
		}
		judge.Within(t, 20*time.Second, "a connection", func() bool {
			_, err := s.Load(t.Context(), "s1")
			return err == nil
		})
		// The request gets there or not, and the answer never comes back. Every third
		// time the connection is cut, somewhere on the way.
		switch round % 3 {
		case 0:
			proxy.Drop(faultproxy.ToServer, true)
		case 1:
			proxy.Drop(faultproxy.ToClient, true)
		case 2:
			wg.Go(func() { pass(time.Duration(round) * 100 * time.Microsecond); proxy.Cut() })
		}
		keys, _ := s.keys("s1")
		call, cancel := s.deadline(t.Context())
		first := s.step(t.Context(), call, "s1", keys, c, weightOf(t, direct, c))
		cancel()
		wg.Wait()
		proxy.Heal()
		again := direct.Compact(t.Context(), "s1", c)
		switch {
		case errors.Is(again, store.ErrConflict): // it was done
			done++
		case again == nil && errors.Is(first, store.ErrUnavailable):
			undone++
		default:
			t.Fatalf("round %d: a step: %v; again: %v", round, first, again)
		}
		if first != nil && !errors.Is(first, store.ErrUnavailable) {
			t.Fatalf("round %d: a step: %v", round, first)
		}
		if snap, err := direct.Load(t.Context(), "s1"); err != nil || snap.Compacted != c.Last() {
			t.Fatalf("round %d: compacted up to %d, %v, by a step to %d", round, snap.Compacted, err, c.Last())
		}
		if text, n, _ := logOf(t, direct, "s1"); text != strings.Join(want, " ") || n > 10+5*(round+1) {
			t.Fatalf("round %d: the log says %q in %d entries", round, text, n)
		}
	}
	t.Logf("%d steps were done, %d were not", done, undone)
	if done == 0 || undone == 0 {
		t.Errorf("%d steps were done, %d were not: want some of both", done, undone)
	}
	bytesAreRight(t, server, direct, "s1")
}

// weightOf is what the events of a step weigh.
func weightOf(t *testing.T, s *Store, c store.Compaction) (size int64) {
	t.Helper()
	p, err := s.Read(t.Context(), "s1", c.First()-1, never, never)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Entries {
		if e.Seq <= c.Last() {
			size += int64(e.JSONLen())
		}
	}
	return size
}
