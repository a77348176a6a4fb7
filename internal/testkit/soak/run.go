package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// Options say what runs, for how long, and what is broken meanwhile.
type Options struct {
	URLs     []string // of the nodes; a client comes back to any of them
	APIKey   string   // empty for a hub in local mode
	Groups   []Group
	Duration time.Duration // of the faults
	Every    time.Duration // mean time between two faults
	Churn    time.Duration // mean life of a client's connection
	// Settle is how long a session may take to be well after the faults.
	Settle time.Duration
	Seed   uint64
	Faults []Fault
	// StoreRestarts says that some faults restart a store that loses nothing.
	StoreRestarts bool
	// StoreLoses says that some faults lose the end of what was acknowledged, as an
	// asynchronous replica does that takes over.
	StoreLoses bool
	// Limits are for users who want more than that; the zero value: there are none.
	// It needs an APIKey that may act for all.
	Limits Limits
	// Heal takes back every fault that still holds. It is called when Duration is
	// over and the faults' contexts have ended.
	Heal func() error
	Logf func(format string, args ...any)
}

// Limits are what the nodes allow, and what those who want more need to know.
type Limits struct {
	Sessions       int // of a user
	UserStreams    int // of a user
	SessionStreams int // of a session
	Queued         int // messages of a session
	MessageRate    float64
	MessageBurst   int

	Provider string             // known to the nodes, and to no worker
	Nodes    func() []string    // URLs of the processes, without a faulty network between
	Resets   func() []time.Time // when the store may have lost what it counted; nil: never
}

// Fault is one way to break something. Run returns when it has been taken back,
// or, if Heal does that, when it is done; the end of ctx makes it hurry. Several
// run at once, also of one kind.
type Fault struct {
	Name   string
	Weight int // how often, beside the others
	Run    func(ctx context.Context, rng *rand.Rand) error
}

// Report is what came of a run.
type Report struct {
	Seed     uint64
	Events   uint64         // of all sessions
	Kept     int            // that their logs are at the end, in the form in which they are kept
	Runs     int            // compacted events that readers got
	Within   int            // those of them within which a reader stood
	Hoarded  int            // sessions that the user who wants too many was given
	Held     int            // streams that the user who wants too many was given
	Gorged   int            // messages that the user who sends too many got accepted
	Gaps     map[string]int // that a restart of the store explains, by transport
	Lost     int            // messages that were acknowledged, lost by the store and sent again
	Turns    map[string]int // ends, by stop reason or error code
	Faults   map[string]int
	Findings []string // empty: all was well
}

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d events, kept as %d; %d compacted ones read, %d of them from within; turns", r.Seed, r.Events, r.Kept, r.Runs, r.Within)
	for _, k := range slices.Sorted(maps.Keys(r.Turns)) {
		fmt.Fprintf(&b, " %s=%d", k, r.Turns[k])
	}
	b.WriteString("; faults")
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, " %s=%d", k, r.Faults[k])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Gaps)) {
		fmt.Fprintf(&b, "; %d gaps on %s", r.Gaps[k], k)
	}
	if r.Lost > 0 {
		fmt.Fprintf(&b, "; %d messages lost and sent again", r.Lost)
	}
	fmt.Fprintf(&b, "; %d sessions hoarded, %d streams held, %d messages gorged", r.Hoarded, r.Held, r.Gorged)
	fmt.Fprintf(&b, "; %d findings", len(r.Findings))
	return b.String()
}

// counts is shared by all.
type counts struct {
	mu     sync.Mutex
	turns  map[string]int
	faults map[string]int
	lost   int
}

func (c *counts) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost++
}

func (c *counts) turn(end protocol.CompleteData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := end.StopReason
	if end.Error != nil {
		key = end.Error.Code
	}
	c.turns[key]++
}

func (c *counts) fault(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[name]++
}

// one is a session under test with two readers.
type one struct {
	talker *talker
	ws     *Record
	sse    *Record
}

// Run makes the sessions, breaks things for the time that is wanted, and says what
// came of it. The error is of the setting, such as a hub that does not answer;
// what the hub did wrong is in the report. The sessions are deleted at the end.
func Run(ctx context.Context, o Options) (Report, error) {
	count := &counts{turns: map[string]int{}, faults: map[string]int{}}
	follow, endFollow := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer endFollow()
	var all []*one
	for _, g := range o.Groups {
		for range g.Sessions {
			s, err := start(follow, o, g, len(all), count, &readers)
			if err != nil {
				return Report{}, err
			}
			all = append(all, s)
		}
	}

	work, endWork := context.WithCancel(ctx)
	defer endWork()
	stop := make(chan struct{})
	var talkers sync.WaitGroup
	for _, s := range all {
		talkers.Go(func() { s.talker.run(work, stop) })
	}
	var greed *greed
	if o.Limits.Sessions > 0 {
		var err error
		if greed, err = startGreed(ctx, o); err != nil {
			endWork()
			talkers.Wait()
			return Report{}, err
		}
		defer greed.stop()
	}
	err := o.breakThings(ctx, count)
	if o.Heal != nil {
		err = errors.Join(err, o.Heal())
	}
	o.Logf("the faults are over")
	over := time.Now()
	close(stop)
	if greed != nil {
		greed.stop()
	}
	if !waitFor(ctx, &talkers, o.Settle) {
		for _, s := range all {
			if !s.talker.quiet.Load() {
				s.findStuck("its last turn")
			}
		}
	}
	endWork()
	talkers.Wait()

	settle(ctx, o, all)
	o.Logf("every session had its last turn %s after the faults", time.Since(over).Round(time.Millisecond))
	report := Report{Seed: o.Seed, Turns: count.turns, Faults: count.faults, Gaps: map[string]int{}, Lost: count.lost}
	if greed != nil {
		greed.settle(ctx, o.Settle, &report)
	}
	for _, s := range all {
		report.Events += s.ws.Last()
		for _, r := range []*Record{s.ws, s.sse} {
			runs, within := r.Compacted()
			report.Runs += runs
			report.Within += within
		}
		report.Gaps["WebSocket"] += s.ws.Gaps()
		report.Gaps["SSE"] += s.sse.Gaps()
		kept, found := s.check(ctx)
		report.Kept += kept
		report.Findings = append(report.Findings, found...)
	}
	for _, s := range all {
		if err := s.talker.session().Delete(ctx); err != nil {
			report.Findings = append(report.Findings, err.Error())
		}
	}
	return report, err
}

// start makes one session and its readers.
func start(ctx context.Context, o Options, g Group, i int, count *counts, readers *sync.WaitGroup) (*one, error) {
	rng := rand.New(rand.NewPCG(o.Seed, uint64(i)))
	c := &client.Client{BaseURL: o.URLs[i%len(o.URLs)], APIKey: o.APIKey}
	made, err := c.Create(ctx, g.Create, fmt.Sprintf("soak-%d-%d-%d", o.Seed, i, time.Now().UnixNano()))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("session %d (%s)", i, made.SessionID)
	s := &one{ws: NewRecord(name + " on WebSocket"), sse: NewRecord(name + " on SSE")}
	s.talker = &talker{record: s.ws, rng: rng, count: count, group: g, loses: o.StoreLoses}
	for _, u := range o.URLs {
		node := &client.Client{BaseURL: u, APIKey: o.APIKey}
		s.talker.nodes = append(s.talker.nodes, node.Session(made.SessionID, made.Token))
	}
	seen := &ledger{}
	for k, r := range []*Record{s.ws, s.sse} {
		r.restarts = o.StoreRestarts || o.StoreLoses
		if o.StoreLoses {
			r.ledger = seen
		}
		rng := rand.New(rand.NewPCG(o.Seed, uint64(1000+2*i+k)))
		f := &follower{
			base:    func() string { return o.URLs[rng.IntN(len(o.URLs))] },
			session: made.SessionID, token: made.Token, sse: r == s.sse, churn: o.Churn, rng: rng, record: r,
		}
		readers.Go(func() { f.run(ctx) })
	}
	return s, nil
}

// breakThings runs faults for the duration and waits for the last of them.
func (o Options) breakThings(ctx context.Context, count *counts) error {
	if len(o.Faults) == 0 {
		sleep(ctx, o.Duration)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	rng := rand.New(rand.NewPCG(o.Seed, 1<<32))
	sum := 0
	for _, f := range o.Faults {
		sum += f.Weight
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for n := uint64(1); ctx.Err() == nil; n++ {
		sleep(ctx, time.Duration(rng.ExpFloat64()*float64(o.Every)))
		if ctx.Err() != nil {
			break
		}
		k := rng.IntN(sum)
		i := slices.IndexFunc(o.Faults, func(f Fault) bool { k -= f.Weight; return k < 0 })
		f := o.Faults[i]
		count.fault(f.Name)
		own := rand.New(rand.NewPCG(o.Seed, 1<<32+n))
		wg.Go(func() {
			if err := f.Run(ctx, own); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("fault %s: %w", f.Name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settle has every session do one more turn, which must end well.
func settle(ctx context.Context, o Options, all []*one) {
	limit, cancel := context.WithTimeout(ctx, o.Settle)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			for limit.Err() == nil {
				end, ok := s.talker.turn(limit, s.talker.group.Last)
				if ok && end.StopReason == protocol.StopEndTurn {
					break
				}
				if ok && (end.Error == nil || !end.Error.Retryable) {
					s.ws.Find("after the faults a turn ended with %+v", end)
					break
				}
			}
			if limit.Err() != nil {
				s.findStuck("a turn after the faults")
			}
			s.catchUp(limit)
		})
	}
	wg.Wait()
}

// catchUp waits until the session is idle, both readers have all of it, and they
// alone are counted as its streams.
func (s *one) catchUp(ctx context.Context) {
	var now protocol.Session
	for {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		view, err := s.talker.session().Get(call)
		cancel()
		if err == nil {
			now = view
		}
		if err == nil && now.Status == protocol.StatusIdle && s.ws.Last() == now.LastSeq && s.sse.Last() == now.LastSeq &&
			now.Connections == (protocol.Connections{WebSocket: 1, SSE: 1}) {
			return
		}
		if ctx.Err() != nil {
			s.findStuck(fmt.Sprintf("catching up with %+v (%v)", now, err))
			return
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

func (s *one) findStuck(what string) {
	s.ws.Find("it is stuck with %s: its status is %s, its log is at %d (SSE: %d)", what, s.ws.Status(), s.ws.Last(), s.sse.Last())
}

// check holds both records to each other and to the history, and says how many events
// that has.
func (s *one) check(ctx context.Context) (events int, found []string) {
	found = append(s.ws.Findings(), s.sse.Findings()...)
	kept := NewRecord("its history")
	after := ""
	for {
		page, err := s.history(ctx, after, 0)
		if err != nil {
			return events, append(found, err.Error())
		}
		kept.Resume()
		events += len(page.Events)
		for _, raw := range page.Events {
			kept.Frame(raw)
		}
		if page.NextAfter == "" {
			break
		}
		after = page.NextAfter
	}
	// A cursor of the first event is answered by a gap if its epoch is not known.
	for _, epoch := range append(s.ws.Unknown(), s.sse.Unknown()...) {
		page, err := s.history(ctx, epoch+"-1", 1)
		if err != nil {
			return events, append(found, err.Error())
		}
		if page.Gap == nil {
			found = append(found, fmt.Sprintf("%s: it was told that the epoch %s is lost, which the log has", s.ws.name, epoch))
		}
	}
	found = append(found, s.ws.Compare(s.sse)...)
	found = append(found, s.ws.Compare(kept)...)
	return events, append(found, kept.Findings()...)
}

// history reads a page of the history. A node may say that its store is away, also behind
// the faults: a machine with much to do lets calls time out. Then it is asked again.
func (s *one) history(ctx context.Context, after string, limit int) (protocol.History, error) {
	for {
		page, err := s.talker.session().History(ctx, after, limit)
		var refused *client.Error
		if err == nil || !errors.As(err, &refused) || !refused.Temporary() || ctx.Err() != nil {
			return page, err
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// waitFor waits for a group, but not for longer than that.
func waitFor(ctx context.Context, wg *sync.WaitGroup, most time.Duration) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(most):
		return false
	case <-ctx.Done():
		return false
	}
}
