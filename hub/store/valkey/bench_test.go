package valkey

import (
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

// benchSession makes a session with a worker, as it is while an agent answers.
func benchSession(tb testing.TB, s *Store, id string) uint64 {
	tb.Helper()
	p := session.Policy{MaxQueuedMessages: 32, ApprovalTimeout: time.Hour}
	now := time.Now().UTC()
	c, err := session.NewState(session.Info{SessionID: id, UserID: "u1", Provider: "demo", WorkingDirectory: "/workspace/project", CreatedAt: now}, p, now)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Create(tb.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
		tb.Fatal(err)
	}
	for i, in := range []session.Input{
		session.InMessage{Data: protocol.MessageData{MessageID: "m1", Content: []byte(`"Please look at the tests"`), UserID: "u1"}, Hash: strings.Repeat("h", 64)},
		session.InAssign{Worker: "worker-1", Workspace: "machine:/workspace"},
	} {
		if c, err = session.Step(c.State, in, p, now); err != nil {
			tb.Fatal(err)
		}
		b := store.Batch{State: c.State, Expect: uint64(i + 1), Events: c.Events, Commands: c.Commands, Notes: c.Notes}
		if _, err := s.Append(tb.Context(), id, b); err != nil {
			tb.Fatal(err)
		}
	}
	return c.State.Assignment
}

func output(size int) session.NewEvent {
	return session.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{
		MessageID: "m1", Kind: "text", Text: strings.Repeat("x", size),
	})}
}

// BenchmarkAppend appends events of 200 bytes of text to 100 sessions from 50
// goroutines, with a watcher on each session, and tells what the server paid for
// each event. AOF is off, and then on with `always`: what the disk takes is not
// the script's doing.
func BenchmarkAppend(b *testing.B) {
	for _, aof := range []string{"no", "yes"} {
		server := valkeytest.Start(b, valkeytest.Valkey(b), "appendonly "+aof)
		for _, batch := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("aof=%s/batch=%d", aof, batch), func(b *testing.B) { benchAppend(b, server, batch) })
		}
		server.Kill()
	}
}

func benchAppend(b *testing.B, server *valkeytest.Server, batch int) {
	const sessions, callers = 100, 50
	s := open(b, server.URL(), space(), func(o *Options) {
		o.Log, o.Retention = nil, store.Retention{MaxEvents: 10_000, MaxBytes: 16 << 20}
	})
	var heard atomic.Int64
	assignment := make([]uint64, sessions)
	for i := range sessions {
		id := fmt.Sprintf("s%d", i)
		assignment[i] = benchSession(b, s, id)
		b.Cleanup(s.Watch(id, func(n store.Notice) { heard.Add(int64(len(n.Entries))) }))
	}
	events := make([]session.NewEvent, batch)
	for i := range events {
		events[i] = output(200)
	}
	var n [sessions]atomic.Uint64
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	cpu, began := server.CPU(), time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			// Each caller has two sessions, as a worker's link has its own.
			for i := c; left.Add(-1) >= 0; i = (i + callers) % sessions {
				last := n[i].Add(uint64(batch))
				fence := &store.Fence{Assignment: assignment[i], N: last - uint64(batch) + 1, Count: batch}
				if _, err := s.Append(b.Context(), fmt.Sprintf("s%d", i), store.Batch{Events: events, Fence: fence}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	total := float64(b.N * batch)
	b.ReportMetric(float64((server.CPU()-cpu).Nanoseconds())/1000/total, "server-us/event")
	b.ReportMetric(total/took.Seconds(), "events/s")
	b.ReportMetric(float64(heard.Load())/total, "heard/event")
}

// BenchmarkAtRest tells what a session takes in the server that has run one short
// turn: a message, its status changes, 40 pieces of an answer and the end.
func BenchmarkAtRest(b *testing.B) {
	server := valkeytest.Start(b, valkeytest.Valkey(b), "appendonly no")
	s := open(b, server.URL(), space(), func(o *Options) { o.Log = nil })
	used := func() (bytes, keys int) {
		info, err := server.Do("INFO", "memory")
		if err != nil {
			b.Fatal(err)
		}
		size, err := server.Do("DBSIZE")
		if err != nil {
			b.Fatal(err)
		}
		bytes, _ = strconv.Atoi(parseInfo(info)["used_memory"])
		keys, _ = strconv.Atoi(size)
		return bytes, keys
	}
	bytesBefore, keysBefore := used()
	n := 0
	for b.Loop() {
		id := fmt.Sprintf("s_%024d", n)
		n++
		assignment := benchSession(b, s, id)
		for k := range uint64(4) {
			events := make([]session.NewEvent, 10)
			for i := range events {
				events[i] = output(60)
			}
			if _, err := s.Append(b.Context(), id, store.Batch{Events: events, Fence: &store.Fence{Assignment: assignment, N: k + 1}}); err != nil {
				b.Fatal(err)
			}
		}
		snap, err := s.Load(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		c := session.Change{State: snap.State}
		for i, in := range []session.Input{session.InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: "end_turn"}}, session.InDone{Message: 1}} {
			if c, err = session.Step(c.State, in, session.Policy{MaxQueuedMessages: 32}, time.Now()); err != nil {
				b.Fatal(err)
			}
			batch := store.Batch{State: c.State, Expect: snap.Version + uint64(i), Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes}
			if _, err := s.Append(b.Context(), id, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	bytes, keys := used()
	b.ReportMetric(float64(bytes-bytesBefore)/float64(n), "server-B/session")
	b.ReportMetric(float64(keys-keysBefore)/float64(n), "keys/session")
}

// BenchmarkAppendListed appends states, announced to a user's watchers or not, and tells what
// all servers paid for each. One node watches the user, or none.
func BenchmarkAppendListed(b *testing.B) {
	for _, servers := range []int{1, 3} {
		var all []*valkeytest.Server
		var url string
		if servers == 1 {
			all = []*valkeytest.Server{valkeytest.Start(b, valkeytest.Valkey(b), "appendonly no")}
			url = all[0].URL()
		} else {
			cluster := valkeytest.StartCluster(b, valkeytest.Valkey(b))
			all, url = cluster.Servers, cluster.URL()
		}
		for _, how := range []struct{ listed, watched bool }{{false, true}, {true, false}, {true, true}} {
			b.Run(fmt.Sprintf("servers=%d/listed=%v/watched=%v", servers, how.listed, how.watched), func(b *testing.B) {
				benchListed(b, url, all, how.listed, how.watched)
			})
		}
	}
}

func benchListed(b *testing.B, url string, servers []*valkeytest.Server, listed, watched bool) {
	const sessions = 100
	s := open(b, url, space(), func(o *Options) { o.Log = nil })
	states := make([]store.Snapshot, sessions)
	for i := range states {
		benchSession(b, s, fmt.Sprint("s", i))
		snap, err := s.Load(b.Context(), fmt.Sprint("s", i))
		if err != nil {
			b.Fatal(err)
		}
		states[i] = snap
	}
	if watched {
		b.Cleanup(s.WatchUser("u1", func(store.UserNotice) {}))
	}
	var before time.Duration
	for _, x := range servers {
		before += x.CPU()
	}
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for k := range 20 {
		wg.Go(func() {
			for i := k; int(next.Add(1)) <= b.N; i = (i + 20) % sessions { // each session has one caller
				x := &states[i]
				if _, err := s.Append(b.Context(), fmt.Sprint("s", i), store.Batch{State: x.State, Expect: x.Version, Listed: listed, Events: []session.NewEvent{output(200)}}); err != nil {
					b.Error(err)
					return
				}
				x.Version++
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, x := range servers {
		before -= x.CPU()
	}
	b.ReportMetric(float64(-before.Microseconds())/float64(b.N), "server-µs/op")
}
