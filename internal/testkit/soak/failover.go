package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sentinels are a store that survives its primary: servers, one of which is the
// primary, under Sentinels that make another one the primary when it is away. What
// had not reached a replica by then is lost, although it was acknowledged.
//
// Its methods are for the goroutine of one fault at a time, but for Losses.
type Sentinels struct {
	Name    string // of the primary, at the Sentinels
	URL     string // of the Sentinels, as --valkey-url takes it
	Servers []Store
	Watch   []Store
	// MaxLag is for how long the primary takes writes that reach no replica
	// (min-replicas-max-lag, with min-replicas-to-write 1). A fault that is to lose
	// something stays below it.
	MaxLag time.Duration

	mu     sync.Mutex
	losses []time.Time // beginnings of faults after which something may be lost
}

// Losses are the moments from which on something that was acknowledged may have
// been lost. It may be called by any goroutine.
func (s *Sentinels) Losses() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.losses)
}

// recovery bounds the wait for a primary that has a replica again, after a fault.
const recovery = time.Minute

// primary asks the Sentinels which server is the primary; those that do not
// answer are passed over.
func (s *Sentinels) primary() (int, error) {
	errs := []error{errors.New("no sentinel knows the primary")}
	for _, w := range s.Watch {
		reply, err := w.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		addr := strings.ReplaceAll(reply, "\n", ":")
		if i := slices.IndexFunc(s.Servers, func(x Store) bool { return x.Addr() == addr }); i >= 0 {
			return i, nil
		}
		errs = append(errs, fmt.Errorf("%s names %q", w.Addr(), addr))
	}
	return 0, errors.Join(errs...)
}

// whole waits until the primary has all other servers as its replicas, and every
// Sentinel knows that.
func (s *Sentinels) whole() error {
	state := ""
	for deadline := time.Now().Add(recovery); ; time.Sleep(100 * time.Millisecond) {
		var ok bool
		if ok, state = s.look(); ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the servers are not together again after %s: %s", recovery, state)
		}
	}
}

// look tells whether the servers are together, and how they stand.
func (s *Sentinels) look() (ok bool, state string) {
	i, err := s.primary()
	if err != nil {
		return false, err.Error()
	}
	primary := s.Servers[i]
	info, err := primary.Do("INFO", "replication")
	if err != nil || !strings.Contains(info, "role:master") || strings.Count(info, "state=online") < len(s.Servers)-1 {
		return false, fmt.Sprintf("%s says %q (%v)", primary.Addr(), info, err)
	}
	host, port, _ := strings.Cut(primary.Addr(), ":")
	for _, w := range s.Watch {
		reply, err := w.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
		if err != nil || reply != host+"\n"+port {
			return false, fmt.Sprintf("the sentinel %s names %q (%v)", w.Addr(), reply, err)
		}
		reply, err = w.Do("SENTINEL", "REPLICAS", s.Name)
		if err != nil || strings.Count(reply, "flags\nslave\n") < len(s.Servers)-1 {
			return false, fmt.Sprintf("the sentinel %s knows %q (%v)", w.Addr(), reply, err)
		}
	}
	return true, ""
}

// moved waits for a while until another server is the primary.
func (s *Sentinels) moved(from int, most time.Duration) bool {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now, err := s.primary(); err == nil && now != from {
			return true
		}
	}
	return false
}

// planned has the Sentinels change the primary while it lives. They refuse when
// they have just done so, or do not see a replica that is good enough.
func (s *Sentinels) planned(_ context.Context, rng *rand.Rand, from int) error {
	for deadline := time.Now().Add(recovery); ; time.Sleep(500 * time.Millisecond) {
		_, err := s.Watch[rng.IntN(len(s.Watch))].Do("SENTINEL", "FAILOVER", s.Name)
		if err == nil && s.moved(from, 15*time.Second) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a planned failover does not come about: %w", err)
		}
	}
}

// killed ends the primary, and starts it again before it was missed, or after
// another one has taken its place.
func (s *Sentinels) killed(ctx context.Context, rng *rand.Rand, from int) error {
	s.Servers[from].Kill()
	if rng.IntN(4) == 0 {
		sleep(ctx, time.Duration(rng.IntN(500))*time.Millisecond)
	} else if !s.moved(from, recovery) {
		return errors.New("nobody takes the place of a primary that was killed")
	}
	return restart(s.Servers[from])
}

// stopped freezes the primary, mostly for longer than the Sentinels wait: it comes
// back believing that it is the primary, with what was sent to it meanwhile.
func (s *Sentinels) stopped(ctx context.Context, rng *rand.Rand, from int) error {
	s.Servers[from].Stop()
	sleep(ctx, stopped(rng))
	s.Servers[from].Cont()
	return nil
}

// lossy has the primary acknowledge for a while what no replica gets, and then
// loses all servers at once, as a rack does whose power fails: the replicas come
// back first.
func (s *Sentinels) lossy(_ context.Context, rng *rand.Rand, from int) error {
	var replicas []Store
	for i, x := range s.Servers {
		if i != from {
			replicas = append(replicas, x)
			x.Stop()
		}
	}
	time.Sleep(time.Duration(rng.Int64N(int64(s.MaxLag))))
	s.Servers[from].Kill()
	var wg sync.WaitGroup
	errs := make([]error, len(replicas))
	for i, x := range replicas {
		x.Kill() // with what has arrived at its socket and was not read
		wg.Go(func() { errs[i] = restart(x) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !s.moved(from, recovery) {
		return errors.New("nobody takes the place of a primary that was killed")
	}
	return restart(s.Servers[from])
}

// replica does without one of the replicas for a while.
func (s *Sentinels) replica(ctx context.Context, rng *rand.Rand, from int) error {
	x := s.Servers[(from+1+rng.IntN(len(s.Servers)-1))%len(s.Servers)]
	if rng.IntN(2) == 0 {
		x.Stop()
		sleep(ctx, stopped(rng))
		x.Cont()
		return nil
	}
	x.Kill()
	sleep(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
	return restart(x)
}

// watcher does without one of the Sentinels for a while.
func (s *Sentinels) watcher(ctx context.Context, rng *rand.Rand, _ int) error {
	x := s.Watch[rng.IntN(len(s.Watch))]
	x.Stop()
	sleep(ctx, stopped(rng))
	x.Cont()
	return nil
}

// faults are what can happen to the servers and the Sentinels: one thing after the
// other, and none before the one before has healed.
func (s *Sentinels) faults(one func(func(context.Context, *rand.Rand) error) func(context.Context, *rand.Rand) error) []Fault {
	on := func(do func(context.Context, *rand.Rand, int) error) func(context.Context, *rand.Rand) error {
		return one(func(ctx context.Context, rng *rand.Rand) error {
			from, err := s.primary()
			if err != nil {
				return err
			}
			s.mu.Lock()
			s.losses = append(s.losses, time.Now())
			s.mu.Unlock()
			return errors.Join(do(ctx, rng, from), s.whole())
		})
	}
	return []Fault{
		{"failover", 3, on(s.planned)},
		{"primary_kill", 3, on(s.killed)},
		{"primary_stop", 3, on(s.stopped)},
		{"replica", 1, on(s.replica)},
		{"sentinel_stop", 1, on(s.watcher)},
		{"primary_loss", 3, on(s.lossy)},
	}
}

// restart starts a server again: its port may be somebody's for a moment.
func restart(s Store) error {
	for deadline := time.Now().Add(startAgain); ; {
		err := s.Start()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
