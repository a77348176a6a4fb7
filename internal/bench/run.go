package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sessionhub/protocol"
)

// ErrLoss says that a run was whole but the hub did not keep its promise: see
// the report's Loss.
var ErrLoss = errors.New("events were lost, repeated or out of order, or subscribers were dropped")

// sampledSubscribers is about how many subscribers measure latencies.
const sampledSubscribers = 200

// run is one run. Its fields belong to the goroutine of Run.
type run struct {
	o        Options
	target   *target
	net      byte // the subscribers' addresses are in 127.0.net.0/24
	sessions []*session
	swarm    *swarm
	progress func(string)
	patience patience
	report   Report
	relay    *relay // only with ModeRelay

	// reached is called between the steps; the run goes on when it returns. It
	// may be nil.
	reached func(ctx context.Context, at stage) error
}

// stage is a place between two steps of a run.
type stage string

const (
	stageCreated   stage = "created"   // all sessions are there
	stageConnected stage = "connected" // all streams are open, and have settled
	stageCounted   stage = "counted"   // every event has arrived, or will not; the streams end next
)

func (r *run) at(ctx context.Context, s stage) error {
	if r.reached == nil {
		return nil
	}
	return r.reached(ctx, s)
}

// Run measures. progress gets a line about twice a second. With ErrLoss the
// report is whole.
func Run(ctx context.Context, o Options, start Starter, progress func(string)) (_ Report, err error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	progress("starting")
	target, err := open(ctx, o, start)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, target.close()) }()
	r := newRun(o, target, progress)
	err = r.whole(ctx)
	return r.report, err
}

func newRun(o Options, t *target, progress func(string)) *run {
	return &run{o: o, target: t, progress: progress, report: newReport(o)}
}

// whole is measure, and no connection is left.
func (r *run) whole(ctx context.Context) error {
	err := r.measure(ctx)
	if r.swarm != nil {
		r.swarm.close()
	}
	return err
}

func (r *run) measure(ctx context.Context) error {
	before, err := r.usage(ctx, true)
	if err != nil {
		return err
	}
	if err := r.createSessions(ctx); err != nil {
		return err
	}
	if err := r.at(ctx, stageCreated); err != nil {
		return err
	}
	made, err := r.usage(ctx, true)
	if err != nil {
		return err
	}
	if err := r.connect(ctx, made); err != nil {
		return err
	}
	if err := r.settle(ctx, before, made); err != nil {
		return err
	}
	if err := r.at(ctx, stageConnected); err != nil {
		return err
	}
	if r.o.Events > 0 {
		if err := r.traffic(ctx); err != nil {
			return err
		}
	}
	return r.account(ctx)
}

func (r *run) usage(ctx context.Context, collect bool) (u usage, err error) {
	if r.target.admin.url != "" && collect {
		if err := r.target.admin.collect(ctx); err != nil {
			return u, err
		}
	}
	if r.target.pid != 0 {
		if u.rss, err = rss(r.target.pid); err != nil {
			return u, err
		}
		if u.user, u.system, err = cpuTime(r.target.pid); err != nil {
			return u, err
		}
	}
	if r.target.admin.url != "" {
		u.metrics, err = r.target.admin.metrics(ctx)
	}
	return u, err
}

// forAll calls f for 0 to n-1, so many at once, until one fails.
func forAll(ctx context.Context, n, atOnce int, f func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, atOnce) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (r *run) createSessions(ctx context.Context) error {
	r.sessions = make([]*session, r.o.Sessions)
	var made atomic.Int64
	return forAll(ctx, r.o.Sessions, min(r.o.Connecting, 16), func(ctx context.Context, i int) error {
		var out protocol.CreateResponse
		key := rand.Text() // a repeat is the same session
		err := r.patience.ask(ctx, func() (err error) {
			out, err = r.target.client.Create(ctx, protocol.CreateRequest{Provider: "demo", Title: "bench"}, key)
			return err
		})
		if err != nil {
			return err
		}
		r.sessions[i] = &session{id: out.SessionID, user: out.Session.UserID, token: out.Token, moved: make(chan struct{}, 1)}
		if n := made.Add(1); n%500 == 0 {
			r.progress(fmt.Sprintf("%d of %d sessions", n, r.o.Sessions))
		}
		return nil
	})
}

func (r *run) connect(ctx context.Context, made usage) error {
	r.swarm = &swarm{net: r.net, patience: &r.patience}
	every := max(1, r.o.Subscribers/sampledSubscribers)
	host := r.target.host()
	for i := range r.sessions {
		r.sessions[i].active = r.active(i)
	}
	for i := range r.o.Subscribers {
		s := &subscriber{session: r.sessions[i%len(r.sessions)], swarm: r.swarm, host: host, sampled: i%every == 0}
		switch {
		case r.relay != nil:
			r.relay.place(s, r.o.Both && i >= len(r.sessions), r.o.Both)
		case r.o.Mode == ModeCluster: // there are few of them, at a low rate
			s.sampled = s.session.active
		}
		s.session.subs = append(s.session.subs, s)
		r.swarm.subs = append(r.swarm.subs, s)
	}
	r.share()
	turns := r.turns()
	for _, s := range r.sessions {
		if s.active {
			s.turns = make([]atomic.Int64, turns)
		}
	}
	began := time.Now()
	err := r.swarm.connect(ctx, r.o.Transport, r.o.Connecting, func(n int) {
		if n%500 == 0 {
			r.progress(fmt.Sprintf("%d of %d connected", n, r.o.Subscribers))
		}
	})
	if err != nil {
		return err
	}
	r.report.Connect.Seconds = time.Since(began).Seconds()
	after, err := r.usage(ctx, false)
	if err == nil && r.target.pid != 0 {
		v := micros(after.cpu()-made.cpu(), uint64(r.o.Subscribers))
		r.report.Connect.CPUMicros = &v
	}
	return err
}

// share gives the subscribers to the connections that they share.
func (r *run) share() {
	for i := range r.o.Shared {
		c := &carrier{subs: make(map[string]*subscriber), user: r.sessions[0].user, key: r.target.client.APIKey, begun: make(chan struct{})}
		for j := i; j < len(r.swarm.subs); j += r.o.Shared {
			s := r.swarm.subs[j]
			s.carrier, c.subs[s.session.id] = c, s
		}
		c.waiting.Store(int64(len(c.subs)))
		r.swarm.carriers = append(r.swarm.carriers, c)
	}
}

// settle waits and measures what the connections hold.
func (r *run) settle(ctx context.Context, before, made usage) error {
	r.progress(fmt.Sprintf("%d connected; settling for %s", r.o.Subscribers, r.o.Settle))
	if r.relay != nil {
		return r.relay.rest(ctx, r.o.Settle)
	}
	if err := pause(ctx, r.o.Settle); err != nil {
		return err
	}
	idle, err := r.usage(ctx, false)
	if err != nil {
		return err
	}
	n := float64(r.o.Subscribers)
	if r.target.pid != 0 {
		r.report.Memory = &Memory{
			Start: before.rss, Sessions: made.rss, Connected: idle.rss, Each: float64(idle.rss-before.rss) / n,
		}
	}
	if r.target.admin.url == "" {
		return nil
	}
	collected, err := r.usage(ctx, true)
	if err != nil {
		return err
	}
	if m := r.report.Memory; m != nil {
		each := func(name string) *float64 {
			v := (collected.metrics[name] - before.metrics[name]) / n
			return &v
		}
		v := float64(collected.rss-before.rss) / n
		m.Collected, m.CollectedEach = &collected.rss, &v
		m.Goroutines, m.Heap, m.Stack = each(gaugeGoroutines), each(gaugeHeap), each(gaugeStack)
	}
	if r.o.Profile == "" {
		return nil
	}
	return errors.Join(
		r.target.admin.save(ctx, "/debug/pprof/heap", filepath.Join(r.o.Profile, r.o.Mode+"-heap.pprof")),
		r.target.admin.save(ctx, "/debug/pprof/goroutine", filepath.Join(r.o.Profile, r.o.Mode+"-goroutine.pprof")))
}

// active tells whether a session has events. Where it is a share of them, these
// are spread evenly, and half of them have an odd number, since with
// TransportMixed that decides the transport.
func (r *run) active(i int) bool {
	if r.o.Mode != ModeCluster {
		return true
	}
	n := int(float64(len(r.sessions))*r.o.Active + .5)
	if n == 0 {
		return false
	}
	every := len(r.sessions) / n
	k := i / every
	at := k * every
	if at%2 != k%2 { // and so every is more than 1
		at++
	}
	return k < n && i == at
}

// turns is in how many turns each session's events come.
func (r *run) turns() int {
	switch {
	case r.o.Events == 0:
		return 0
	case r.o.Rate > 0:
		return 1
	}
	return (r.o.Events + r.o.Window - 1) / r.o.Window
}

// profileSeconds is how long the CPU is profiled for, from the first event on.
const profileSeconds = 5

// traffic makes the events and waits until all have been seen by all.
func (r *run) traffic(ctx context.Context) error {
	before, err := r.usage(ctx, false)
	if err != nil {
		return err
	}
	if r.relay != nil {
		if err := r.relay.begin(); err != nil {
			return err
		}
	}
	events, _, reads := r.swarm.delivered()
	own, began := ownCPU(), time.Now()
	profiled := make(chan error, 1)
	if r.o.Profile == "" {
		profiled <- nil
	} else {
		go func() {
			profiled <- r.target.admin.save(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(profileSeconds),
				filepath.Join(r.o.Profile, r.o.Mode+"-cpu.pprof"))
		}()
	}
	stop := r.watch()
	posts := make(chan struct{}, r.o.Connecting) // at once
	active := slices.DeleteFunc(slices.Clone(r.sessions), func(s *session) bool { return !s.active })
	err = forAll(ctx, len(active), len(active), func(ctx context.Context, i int) error {
		return r.drive(ctx, active[i], posts)
	})
	if err == nil { // there may be no active session among these
		err = pause(ctx, r.o.Hold-time.Since(began))
	}
	took := time.Since(began)
	stop()
	ownUsed := ownCPU() - own
	after, usageErr := r.usage(ctx, false)
	if err := errors.Join(err, usageErr, <-profiled); err != nil {
		return err
	}
	nowEvents, _, nowReads := r.swarm.delivered()
	n := nowEvents - events
	t := &Traffic{
		Seconds: took.Seconds(), Delivered: n, PerSecond: float64(n) / took.Seconds(),
		EventsPerRead: float64(n) / float64(max(nowReads-reads, 1)), OwnCPUMicros: micros(ownUsed, n),
	}
	if r.target.pid != 0 {
		all, user := micros(after.cpu()-before.cpu(), n), micros(after.user-before.user, n)
		t.CPUMicros, t.UserMicros = &all, &user
	}
	t.Latency = r.swarm.latency.summary()
	r.report.Traffic = t
	if r.relay != nil {
		r.report.Relay, err = r.relay.end(n, took)
	}
	return err
}

// drive has a session's events made. Without a rate, two turns are under way at
// any time, so that the worker never waits for a subscriber, nor runs away from
// them all.
func (r *run) drive(ctx context.Context, s *session, posts chan struct{}) error {
	handle := r.target.client.Session(s.id, s.token)
	left := r.o.Events
	for turn := range s.turns {
		if turn >= 2 {
			if err := s.await(ctx, turn-2); err != nil {
				return err
			}
		}
		n := left
		if r.o.Rate == 0 {
			n = min(left, r.o.Window)
		}
		left -= n
		posts <- struct{}{}
		id := rand.Text() // a repeat is the same message
		err := r.patience.ask(ctx, func() error {
			_, err := handle.Message(ctx, fmt.Sprintf("/stream %d %d %d", n, r.o.Bytes, r.o.Rate), id)
			return err
		})
		<-posts
		if err != nil {
			return err
		}
	}
	return s.await(ctx, len(s.turns)-1)
}

// watch tells the progress twice a second until the returned function is called.
func (r *run) watch() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		last, _, _ := r.swarm.delivered()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				n, _, _ := r.swarm.delivered()
				r.progress(fmt.Sprintf("%d delivered, %d/s, %d dropped", n, 2*(n-last), r.swarm.dropped.Load()))
				last = n
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// lateWait is how long the last events may take, behind the end of the last turn.
const lateWait = 10 * time.Second

// account compares what each subscriber has with what each log has.
func (r *run) account(ctx context.Context) error {
	r.progress("counting")
	ends := make([]uint64, len(r.sessions))
	err := forAll(ctx, len(r.sessions), min(r.o.Connecting, 16), func(ctx context.Context, i int) error {
		s := r.sessions[i]
		return r.patience.ask(ctx, func() error {
			got, err := r.target.client.Session(s.id, s.token).Get(ctx)
			ends[i] = got.LastSeq
			return err
		})
	})
	if err != nil {
		return err
	}
	until := time.Now().Add(lateWait)
	for !r.arrived(ends) && time.Now().Before(until) && r.swarm.dropped.Load() == 0 {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := r.at(ctx, stageCounted); err != nil {
		return err
	}
	r.swarm.close()
	r.report.Heartbeats = r.swarm.heartbeats()
	r.report.Refused = r.patience.refused.Load()
	l := &r.report.Loss
	l.Dropped = r.swarm.dropped.Load()
	for i, s := range r.sessions {
		for _, sub := range s.subs {
			l.Lost += sub.lost(ends[i])
			l.Repeated += sub.repeated
			l.Reordered += sub.reordered
			l.Gaps += sub.gaps
		}
	}
	if err := r.swarm.firstDrop(); err != nil {
		l.Reason = err.Error()
	}
	if l.any() {
		return ErrLoss
	}
	return nil
}

func (r *run) arrived(ends []uint64) bool {
	for i, s := range r.sessions {
		for _, sub := range s.subs {
			if sub.last.Load() < ends[i] {
				return false
			}
		}
	}
	return true
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
