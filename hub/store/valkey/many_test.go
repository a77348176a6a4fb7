package valkey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// What grows with the sessions, or with a log, is read in pieces. What each of them
// takes is BenchmarkManyAtRest's to show.
func TestLargeAnswersComeInPieces(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	m := &manyRun{TB: t, server: server, store: s, n: 3_000}
	m.each(func(ctx context.Context, id string) error {
		return s.Hold(ctx, "w1", store.Holding{Session: id, Assignment: 1})
	})
	m.each(func(ctx context.Context, id string) error {
		c, err := session.NewState(session.Info{SessionID: id, UserID: "u1", Provider: "demo"}, session.Policy{}, time.Now())
		if err == nil {
			_, err = s.Create(ctx, id, store.Batch{State: c.State, Events: c.Events}, 0)
		}
		return err
	})
	m.assignment = benchSession(t, s, "log")
	m.log(1, 3, 1<<20)
	m.log(4, 2_000, 1_500)
	for _, c := range []struct {
		name, command string
		least         int // calls
		f             func()
	}{
		{"a worker's sessions", "sscan", m.n / (3 * heldPage), m.held},
		{"a full user's", "evalsha", m.n / holderPage, m.full},
		{"a count", "zrevrangebyscore", m.n / censusPage, m.count},
		{"a log", "evalsha_ro", 3 + 2_000*1_500/readBytes, func() { m.pages(1_900) }},
	} {
		m.ask("CONFIG", "RESETSTAT")
		c.f()
		if n := m.calls(c.command); n < c.least {
			t.Errorf("%s: %d calls of %s, want %d at least", c.name, n, c.command, c.least)
		}
	}
}

// BenchmarkManyAtRest does the same with 100,000 sessions, and tells what one takes
// at rest. It is one long step: -benchtime 1x.
func BenchmarkManyAtRest(b *testing.B) {
	for b.Loop() {
		manySessions(b, 100_000, b.Logf)
	}
}

const (
	// slowMicros is what no command may take.
	slowMicros = 5_000
	// repeats is how often what changes nothing is done. A command that the
	// machine interrupted is slow once; one with too much to do is slow each time.
	repeats = 3
)

// manyRun is one run of manySessions.
type manyRun struct {
	testing.TB
	server *valkeytest.Server
	store  *Store
	n      int

	assignment uint64 // of the session "log"
	say        func(format string, args ...any)
}

func manySessions(tb testing.TB, n int, say func(string, ...any)) {
	server := valkeytest.Start(tb, valkeytest.Valkey(tb), "slowlog-max-len 100000")
	m := &manyRun{
		TB: tb, server: server, n: n, say: say,
		store: open(tb, server.URL(), space(), func(o *Options) {
			o.Log, o.CallTimeout, o.Retention = nil, 30*time.Second, store.Retention{MaxEvents: 10_000, MaxBytes: 16 << 20}
		}),
	}
	stop := m.trivial()
	defer stop()
	m.phase("create", mostly, m.create)
	m.rest()
	m.phase("list all", eachTime, func() { m.list(store.ListQuery{Limit: 200}, n) })
	m.phase("list a user's", eachTime, func() { m.list(store.ListQuery{User: "u1", Limit: 200}, n) })
	m.phase("list what there is none of", eachTime, func() { m.list(store.ListQuery{Status: protocol.StatusRunning, Limit: 200}, 0) })
	m.phase("count", eachTime, m.count)
	m.phase("list a worker's", eachTime, m.held)
	m.phase("refuse one more", eachTime, m.full)
	m.assignment = benchSession(m, m.store, "log")
	m.phase("a log of 10,000 events", mostly, func() { m.log(1, 10_000, 1500) })
	m.phase("read its pages", eachTime, func() { m.pages(9_000) })
	m.phase("compact it", mostly, m.compact)
	m.phase("read its compacted pages", eachTime, func() { m.pages(200) })
	m.phase("events of 1 MiB", told, func() { m.log(10_001, 10_020, 1<<20-200) })
	m.phase("read their pages", eachTime, func() { m.pages(15) })
	m.phase("forget it", mostly, func() { m.check(m.store.Delete(m.Context(), "log")) })
	m.phase("expire", mostly, m.expire)
	m.phase("clean", mostly, m.clean)
	if m.Failed() {
		return
	}
	if left := m.ask("KEYS", m.store.opt.Prefix+"{s*"); left != "" {
		m.Errorf("left behind: %.200s", left)
	}
}

func (m *manyRun) check(err error) {
	m.Helper()
	if err != nil {
		m.Error(err)
	}
}

// each calls f for every session, by many at once.
func (m *manyRun) each(f func(ctx context.Context, id string) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(m.n) && !m.Failed(); i = next.Add(1) {
				m.check(f(m.Context(), fmt.Sprintf("s_%024d", i)))
			}
		})
	}
	wg.Wait()
}

func (m *manyRun) create() {
	p := session.Policy{MaxQueuedMessages: 32, ApprovalTimeout: time.Hour}
	now := time.Now().UTC()
	m.each(func(ctx context.Context, id string) error {
		c, err := session.NewState(session.Info{SessionID: id, UserID: "u1", Provider: "demo", WorkingDirectory: "/workspace/project", CreatedAt: now}, p, now)
		if err != nil {
			return err
		}
		if _, err := m.store.Create(ctx, id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
			return err
		}
		return errors.Join(m.store.Arm(ctx, id, now), m.store.Hold(ctx, "w1", store.Holding{Session: id, Assignment: 1}))
	})
}

// rest tells what sessions take that nothing was ever said in.
func (m *manyRun) rest() {
	keys, _ := strconv.Atoi(m.ask("DBSIZE"))
	used, _ := strconv.Atoi(parseInfo(m.ask("INFO", "memory"))["used_memory"])
	m.say("at rest: %.3f keys and %d bytes of the server for each of %d sessions", float64(keys)/float64(m.n), used/m.n, m.n)
	one := fmt.Sprintf("%s{s_%024d}", m.store.opt.Prefix, 1)
	for _, kind := range []string{":session", ":events"} {
		m.say("  %s: %s bytes", kind, m.ask("MEMORY", "USAGE", one+kind))
	}
}

func (m *manyRun) list(q store.ListQuery, want int) {
	seen := 0
	for more := true; more; more = q.After != "" {
		page, next, err := m.store.List(m.Context(), q)
		if err != nil {
			m.Fatal(err)
		}
		seen, q.After = seen+len(page), next
	}
	if seen != want {
		m.Errorf("listed %d sessions, want %d", seen, want)
	}
}

func (m *manyRun) count() {
	c, err := m.store.countAll(m.Context())
	if err != nil || c.Sessions[protocol.StatusIdle] != m.n {
		m.Errorf("counted %v, %v; want %d", c.Sessions, err, m.n)
	}
}

func (m *manyRun) held() {
	ids, err := m.store.Held(m.Context(), "w1")
	if err != nil || len(ids) != m.n {
		m.Errorf("a worker has %d sessions, %v; want %d", len(ids), err, m.n)
	}
}

// full asks for a session of a user who has the most, all of them open.
func (m *manyRun) full() {
	now := time.Now().UTC()
	c, err := session.NewState(session.Info{SessionID: "more", UserID: "u1", Provider: "demo", CreatedAt: now}, session.Policy{}, now)
	if err != nil {
		m.Fatal(err)
	}
	_, err = m.store.Create(m.Context(), "more", store.Batch{State: c.State, Events: c.Events}, m.n)
	if !errors.Is(err, store.ErrSessionLimit) {
		m.Errorf("one more: %v, want ErrSessionLimit", err)
	}
}

// log fills a session's log as far as it may grow: with 10,000 events, then with
// the largest, for each of which some 600 of the others go.
func (m *manyRun) log(from, to uint64, size int) {
	for n := from; n <= to; n++ {
		b := store.Batch{Fence: &store.Fence{Assignment: m.assignment, N: n}, Events: []session.NewEvent{output(size)}}
		if _, err := m.store.Append(m.Context(), "log", b); err != nil {
			m.Fatal(err)
		}
	}
}

// compact makes events of 60 KB of the log, 256 KB in a step.
func (m *manyRun) compact() {
	for !m.Failed() {
		snap, err := m.store.Load(m.Context(), "log")
		m.check(err)
		p, err := m.store.Read(m.Context(), "log", max(snap.Compacted, snap.First-1), 160, 4<<20)
		m.check(err)
		if len(p.Entries) == 0 {
			return
		}
		m.check(m.store.Compact(m.Context(), "log", store.Compaction{Epoch: p.Epoch, After: snap.Compacted, Entries: mergeAll(p.Entries, 40)}))
	}
}

// pages reads the log in the largest pages that are asked for.
func (m *manyRun) pages(least int) {
	after := uint64(0)
	for read := 0; ; {
		p, err := m.store.Read(m.Context(), "log", after, 1000, 4<<20)
		if err != nil {
			m.Fatal(err)
		}
		if read += len(p.Entries); len(p.Entries) == 0 {
			if read < least || after != p.Last {
				m.Errorf("read %d events, to %d of %d", read, after, p.Last)
			}
			return
		}
		after = p.Entries[len(p.Entries)-1].Seq
	}
}

// due does something with every session that is due, as the nodes of a cluster do.
func (m *manyRun) due(f func(ctx context.Context, id string) (time.Time, error)) {
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for !m.Failed() {
				taken, _, err := m.store.TakeDue(m.Context(), 32, time.Hour)
				m.check(err)
				if len(taken) == 0 {
					return
				}
				for _, d := range taken {
					next, err := f(m.Context(), d.ID)
					m.check(errors.Join(err, m.store.Settle(m.Context(), d, next)))
				}
				done.Add(int64(len(taken)))
			}
		})
	}
	wg.Wait()
	if int(done.Load()) != m.n {
		m.Errorf("%d sessions were due, want %d", done.Load(), m.n)
	}
}

func (m *manyRun) expire() {
	m.due(func(ctx context.Context, id string) (time.Time, error) {
		snap, err := m.store.Load(ctx, id)
		if err != nil {
			return time.Time{}, err
		}
		c, err := session.Step(snap.State, session.InExpire{}, session.Policy{}, time.Now())
		if err != nil {
			return time.Time{}, err
		}
		_, err = m.store.Append(ctx, id, store.Batch{State: c.State, Expect: snap.Version, Events: c.Events})
		return time.Now().Add(time.Hour), errors.Join(err, m.store.Unhold(ctx, "w1", store.Holding{Session: id, Assignment: 1}))
	})
	// An hour passes.
	m.each(func(ctx context.Context, id string) error { return m.store.Arm(ctx, id, time.Now().Add(-time.Second)) })
}

func (m *manyRun) clean() {
	m.due(func(ctx context.Context, id string) (time.Time, error) { return time.Time{}, m.store.Delete(ctx, id) })
}

// trivialScript counts for about a tenth of a millisecond.
const trivialScript = "for i = 1, 10000 do end"

// trivial sends a command that touches nothing, again and again until it is
// stopped: what the worst of them takes is the machine's doing.
func (m *manyRun) trivial() (stop func()) {
	ctx, cancel := context.WithCancel(m.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			m.store.client.Do(ctx, m.store.client.B().Eval().Script(trivialScript).Numkeys(0).Build())
			<-tick.C
		}
	})
	return func() { cancel(); wg.Wait() }
}

// rule says when a phase has failed.
type rule int

const (
	eachTime rule = iota // it changes nothing and is done again: a command was slow each time
	mostly               // a kind of command was slow more than now and then
	told                 // never: it is not about many sessions
)

// phase does something, and looks at the commands that it took.
func (m *manyRun) phase(name string, r rule, f func()) {
	m.Helper()
	if m.Failed() {
		return
	}
	m.ask("SLOWLOG", "RESET")
	m.ask("CONFIG", "RESETSTAT")
	m.ask("CONFIG", "SET", "slowlog-log-slower-than", "1000")
	began, times := time.Now(), 1
	if r == eachTime {
		times = repeats
	}
	for range times {
		f()
	}
	took := time.Since(began)
	m.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1")
	worst, trivial := time.Duration(0), time.Duration(0)
	worstText := ""
	slow := make(map[string]int) // by the command: whole if it comes again
	for _, e := range m.slowlog() {
		if len(e.words) > 1 && e.words[1] == trivialScript {
			trivial = max(trivial, e.took)
			continue
		}
		if e.took > worst {
			worst, worstText = e.took, fmt.Sprintf("%.90s", e.text())
		}
		if e.took < slowMicros*time.Microsecond {
			continue
		}
		if r == eachTime {
			slow[e.text()]++
		} else {
			slow[e.kind()]++
		}
	}
	m.say("%-28s %8.1f s; worst command %5.1f ms, of those that only count %.1f ms; %s", name, took.Seconds(), ms(worst), ms(trivial), worstText)
	for what, n := range slow {
		switch {
		case r == eachTime && n >= repeats:
			m.Errorf("%s: slow each time: %.300s", name, what)
		case r == mostly:
			// Of what is done once for each session, one in a hundred may meet an
			// interruption.
			if all := m.calls(strings.ToLower(what)); n > max(2, all/100) {
				m.Errorf("%s: %d of %d %s took longer than 5 ms", name, n, all, what)
			}
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// slowCommand is an entry of the server's list of slow commands.
type slowCommand struct {
	took  time.Duration
	words []string // the server shortens long ones, and leaves out some of many
}

func (c slowCommand) text() string { return strings.Join(c.words, " ") }

func (c slowCommand) kind() string { return c.words[0] }

func (m *manyRun) slowlog() []slowCommand {
	m.Helper()
	entries, err := m.store.client.Do(m.Context(), m.store.client.B().SlowlogGet().Count(-1).Build()).ToArray()
	if err != nil {
		m.Fatal(err)
	}
	out := make([]slowCommand, len(entries))
	for i, e := range entries {
		fields, err := e.ToArray() // number, time, microseconds, words, ...
		if err != nil || len(fields) < 4 {
			m.Fatalf("an entry of %d fields: %v", len(fields), err)
		}
		micros, err := fields[2].AsInt64()
		m.check(err)
		out[i].took = time.Duration(micros) * time.Microsecond
		if out[i].words, err = fields[3].AsStrSlice(); err != nil || len(out[i].words) == 0 {
			m.Fatalf("an entry without a command: %v", err)
		}
	}
	return out
}

func (m *manyRun) ask(words ...string) string {
	m.Helper()
	reply, err := m.server.Do(words...)
	if err != nil {
		m.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
	return reply
}

// calls is how often a command has been called.
func (m *manyRun) calls(command string) int {
	m.Helper()
	_, rest, _ := strings.Cut(parseInfo(m.ask("INFO", "commandstats"))["cmdstat_"+command], "calls=")
	text, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(text)
	return n
}
