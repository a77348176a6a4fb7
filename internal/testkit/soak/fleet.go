package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sessionhub/internal/testkit/faultproxy"
)

// Fleet is some worker processes, each behind a faulty network of its own. Its
// methods may be called concurrently; Close ends it.
type Fleet struct {
	o     FleetOptions
	slots []*slot
}

// FleetOptions say what the workers are.
type FleetOptions struct {
	Bin     Binary
	Hubs    []string // URLs; worker i links to the i-th, round and round
	Key     string
	Workers int
	Flags   []string
	Lease   time.Duration // of the hub: some faults outlast it
	Mark    string        // NAME=value in the environment of every agent
}

// slot is one worker's place: the process in it changes.
type slot struct {
	proxy *faultproxy.Proxy
	name  string

	mu   sync.Mutex // held by the fault that works on the process
	proc *Process
	past []*Process // that were killed, the oldest first
}

// NewFleet starts the workers.
func NewFleet(o FleetOptions) (*Fleet, error) {
	f := &Fleet{o: o}
	for i := range o.Workers {
		hub, err := url.Parse(o.Hubs[i%len(o.Hubs)])
		if err != nil {
			f.Close()
			return nil, err
		}
		s := &slot{name: fmt.Sprintf("w%d", i)}
		if s.proxy, err = faultproxy.New(hub.Host); err == nil {
			f.slots = append(f.slots, s)
			err = f.launch(s)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// launch puts a new process into a place.
func (f *Fleet) launch(s *slot) error {
	p, err := f.o.Bin.Worker("ws://"+s.proxy.Addr(), f.o.Key, append([]string{"--name", s.name}, f.o.Flags...)...)
	if err == nil {
		if s.proc != nil {
			s.past = append(s.past, s.proc)
		}
		s.proc = p
	}
	return err
}

// Said is what the processes of each place have said, one after the other.
func (f *Fleet) Said() string {
	var b strings.Builder
	for i, s := range f.slots {
		s.mu.Lock()
		for _, p := range append(slices.Clone(s.past), s.proc) {
			fmt.Fprintf(&b, "place %d, process %d:\n%s\n", i, p.PID(), p.Said())
		}
		s.mu.Unlock()
	}
	return b.String()
}

// Close kills every worker.
func (f *Fleet) Close() {
	for _, s := range f.slots {
		s.mu.Lock()
		if s.proc != nil {
			s.proc.Kill()
		}
		s.mu.Unlock()
		_ = s.proxy.Close() // cut, not drained
	}
}

// Stop drains every worker and wants each to end well.
func (f *Fleet) Stop(ctx context.Context) error {
	var errs []error
	for _, s := range f.slots {
		s.mu.Lock()
		defer s.mu.Unlock()
		errs = append(errs, s.proc.Signal(syscall.SIGTERM))
	}
	for _, s := range f.slots {
		select {
		case <-s.proc.Done():
			if code := s.proc.ExitCode(); code != 0 {
				errs = append(errs, fmt.Errorf("worker %s ended with %d:\n%s", s.name, code, end(s.proc.Said())))
			}
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("worker %s does not stop: %w:\n%s", s.name, ctx.Err(), end(s.proc.Said())))
		}
	}
	return errors.Join(errs...)
}

// Heal mends every network, and finds the workers that have ended by themselves.
func (f *Fleet) Heal() error {
	var errs []error
	for _, s := range f.slots {
		s.proxy.Heal()
		s.mu.Lock()
		select {
		case <-s.proc.Done():
			errs = append(errs, fmt.Errorf("worker %s ended by itself (%d):\n%s", s.name, s.proc.ExitCode(), end(s.proc.Said())))
		default:
		}
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Faults are what can happen to workers, their links and their agents.
func (f *Fleet) Faults() []Fault {
	return []Fault{
		{"link_cut", 4, f.link(func(_ context.Context, p *faultproxy.Proxy, _ *rand.Rand) { p.Cut() })},
		{"link_flap", 1, f.link(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			for range 3 + rng.IntN(5) {
				p.Cut()
				sleep(ctx, time.Second)
			}
		})},
		{"link_refuse", 2, f.link(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			p.Refuse(true)
			sleep(ctx, f.pause(rng))
			p.Refuse(false)
		})},
		{"link_freeze", 2, f.link(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			p.Freeze(true)
			sleep(ctx, f.pause(rng))
			p.Freeze(false)
		})},
		{"link_slow", 2, f.link(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			p.Slow(5_000 + rng.IntN(50_000))
			sleep(ctx, f.pause(rng))
			p.Slow(0)
		})},
		{"link_half_open", 2, f.link(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			d := faultproxy.Direction(rng.IntN(2))
			p.Drop(d, true)
			sleep(ctx, f.pause(rng))
			p.Drop(d, false)
		})},
		{"worker_kill", 2, f.process(f.kill)},
		{"worker_stop", 2, f.process(f.freeze)},
		{"agent_kill", 3, f.agent(func(_ context.Context, pid int, _ *rand.Rand) { signal(pid, syscall.SIGKILL) })},
		{"agent_stop", 2, f.agent(func(ctx context.Context, pid int, rng *rand.Rand) {
			signal(pid, syscall.SIGSTOP)
			sleep(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
			signal(pid, syscall.SIGCONT)
		})},
	}
}

// pause is how long a fault holds: mostly well below the lease, at times beyond.
func (f *Fleet) pause(rng *rand.Rand) time.Duration {
	if rng.IntN(5) == 0 {
		return f.o.Lease + time.Second + time.Duration(rng.Int64N(int64(5*time.Second)))
	}
	return time.Duration(rng.Int64N(int64(min(4*time.Second, f.o.Lease*2/3))))
}

func (f *Fleet) pick(rng *rand.Rand) *slot { return f.slots[rng.IntN(len(f.slots))] }

func (f *Fleet) link(do func(context.Context, *faultproxy.Proxy, *rand.Rand)) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, rng *rand.Rand) error {
		do(ctx, f.pick(rng).proxy, rng)
		return nil
	}
}

// process runs a fault on a worker's process, unless another one does.
func (f *Fleet) process(do func(context.Context, *slot, *rand.Rand) error) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, rng *rand.Rand) error {
		s := f.pick(rng)
		if !s.mu.TryLock() {
			return nil
		}
		defer s.mu.Unlock()
		return do(ctx, s, rng)
	}
}

// kill ends a worker and, after a while, starts another in its place: under the
// same name, as a service manager does, or under a new one.
func (f *Fleet) kill(ctx context.Context, s *slot, rng *rand.Rand) error {
	s.proc.Kill()
	sleep(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
	if rng.IntN(2) == 0 {
		s.name += "+"
	}
	return f.launch(s)
}

func (f *Fleet) freeze(ctx context.Context, s *slot, rng *rand.Rand) error {
	if err := s.proc.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sleep(ctx, f.pause(rng))
	return s.proc.Signal(syscall.SIGCONT)
}

// agent runs a fault on one of the agents' processes, if there is one.
func (f *Fleet) agent(do func(context.Context, int, *rand.Rand)) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, rng *rand.Rand) error {
		if pids := Marked(f.o.Mark); len(pids) > 0 {
			do(ctx, pids[rng.IntN(len(pids))], rng)
		}
		return nil
	}
}

// signal sends a signal to a process that may have ended.
func signal(pid int, sig syscall.Signal) { _ = syscall.Kill(pid, sig) }
