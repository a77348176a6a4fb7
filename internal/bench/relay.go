package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// relay is what a run of ModeRelay has beside others. Its methods are for the
// goroutine of the run.
type relay struct {
	nodes  []*target // in the order of the report
	valkey string    // host:port

	far, near histogram
	added     histogram
	before    relayUsage // at the beginning of the traffic
	resting   []float64  // percent of a CPU, of each node
}

// relayUsage is what all have used at a moment.
type relayUsage struct {
	nodes  []time.Duration
	valkey time.Duration
}

// RunRelay starts nodes on a Valkey that runs and measures what an event costs
// each of them on its way from the worker at the first one to a subscriber at the
// second one. worker starts a node with a worker, bare one without.
func RunRelay(ctx context.Context, o Options, worker, bare Starter, progress func(string)) (_ Report, err error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	rel := &relay{}
	if rel.valkey, err = valkeyAddr(o.Valkey); err != nil {
		return Report{}, err
	}
	defer func() {
		for _, n := range rel.nodes {
			err = errors.Join(err, n.close())
		}
	}()
	progress("starting")
	o.APIKey = rand.Text()
	settings := append(limits(o.APIKey), "SESSIONHUB_VALKEY_URL="+o.Valkey, "SESSIONHUB_TOKEN_SECRET="+rand.Text()+rand.Text())
	for i := range o.Nodes {
		start := bare
		if i == 0 {
			start = worker
		}
		n := newTarget(o)
		rel.nodes = append(rel.nodes, n)
		if err := n.start(ctx, start, settings); err != nil {
			return Report{}, fmt.Errorf("start node %d: %w", i+1, err)
		}
	}
	r := newRun(o, rel.nodes[0], progress)
	r.relay = rel
	err = r.whole(ctx)
	return r.report, err
}

// place gives a subscriber its node; near is the worker's. Where both ask for it,
// those of one session are compared.
func (l *relay) place(s *subscriber, near, both bool) {
	if s.near = near; near {
		s.host, s.way = l.nodes[0].host(), &l.near
	} else {
		s.host, s.way = l.nodes[1].host(), &l.far
	}
	if both {
		if s.pair = s.session.pair; s.pair == nil {
			s.pair = &pair{first: make(map[uint64]time.Time), added: &l.added}
			s.session.pair = s.pair
		}
	}
}

// pair compares when each event reaches the two subscribers of a session.
type pair struct {
	added *histogram

	mu    sync.Mutex
	first map[uint64]time.Time // of the events that one of the two has
}

func (p *pair) arrive(seq uint64, at time.Time, near bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	other, ok := p.first[seq]
	switch {
	case !ok:
		p.first[seq] = at
		return
	case near:
		p.added.add(other.Sub(at))
	default:
		p.added.add(at.Sub(other))
	}
	delete(p.first, seq)
}

func (l *relay) usage() (u relayUsage, err error) {
	for _, n := range l.nodes {
		user, system, err := cpuTime(n.pid)
		if err != nil {
			return u, err
		}
		u.nodes = append(u.nodes, user+system)
	}
	u.valkey, err = valkeyCPU(l.valkey)
	return u, err
}

// rest waits, and measures what the nodes use while nothing goes on.
func (l *relay) rest(ctx context.Context, d time.Duration) error {
	before, err := l.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, d); err != nil {
		return err
	}
	after, err := l.usage()
	took := time.Since(began)
	for i := range after.nodes {
		l.resting = append(l.resting, percent(after.nodes[i]-before.nodes[i], took))
	}
	return err
}

func (l *relay) begin() (err error) {
	l.before, err = l.usage()
	return err
}

// end is the account of so many deliveries.
func (l *relay) end(n uint64, took time.Duration) (*Relay, error) {
	after, err := l.usage()
	if err != nil {
		return nil, err
	}
	out := &Relay{ValkeyMicros: micros(after.valkey-l.before.valkey, n), Far: l.far.summary(), Near: l.near.summary(), Added: l.added.summary()}
	for i, cpu := range after.nodes {
		used := cpu - l.before.nodes[i]
		out.Nodes = append(out.Nodes, NodeCost{
			Role: roleOf(i), CPUMicros: micros(used, n), Percent: percent(used, took), RestingPercent: l.resting[i],
		})
	}
	return out, nil
}

func roleOf(node int) string {
	switch node {
	case 0:
		return "worker"
	case 1:
		return "subscribers"
	}
	return "nobody"
}

// Relay is what the way of an event over two nodes and Valkey costs and takes.
type Relay struct {
	Nodes        []NodeCost `json:"nodes"`
	ValkeyMicros float64    `json:"valkeyMicrosPerDelivery"`
	// From the moment the worker made an event to its arrival at a subscriber of the
	// other node, and of the worker's own.
	Far  *Latency `json:"far"`
	Near *Latency `json:"near"` // null without Options.Both
	// How much later each event reached the other node's subscriber than the own
	// one's; where that was earlier, 0. Null without Options.Both.
	Added *Latency `json:"added"`
}

// NodeCost is one node's CPU, in the first one with the worker that plays the
// agents.
type NodeCost struct {
	Role           string  `json:"role"`
	CPUMicros      float64 `json:"cpuMicrosPerDelivery"`
	Percent        float64 `json:"percent"`        // of one CPU, while the events went by
	RestingPercent float64 `json:"restingPercent"` // and before that, with all connected
}

func (r *Relay) print(w io.Writer) {
	var all float64
	for i, n := range r.Nodes {
		fmt.Fprintf(w, "  node %d     %.2f us of CPU for each delivery, %.1f %% of a CPU (at rest %.1f %%); at it: %s\n", i+1, n.CPUMicros, n.Percent, n.RestingPercent, n.Role)
		if i < 2 {
			all += n.CPUMicros
		}
	}
	fmt.Fprintf(w, "  nodes 1+2  %.2f us for each delivery\n", all)
	fmt.Fprintf(w, "  valkey     %.2f us for each delivery\n", r.ValkeyMicros)
	for _, way := range []struct {
		name string
		l    *Latency
	}{{"far", r.Far}, {"near", r.Near}} {
		if l := way.l; l != nil {
			fmt.Fprintf(w, "  %-10s p50 %.3f ms, p90 %.3f ms, p99 %.3f ms since the worker made the event (%d samples)\n", way.name, l.P50, l.P90, l.P99, l.Samples)
		}
	}
	if l := r.Added; l != nil {
		fmt.Fprintf(w, "  added      p50 %.3f ms, p90 %.3f ms, p99 %.3f ms: far behind near, event by event\n", l.P50, l.P90, l.P99)
	}
}

func percent(used, of time.Duration) float64 { return 100 * float64(used) / float64(max(of, 1)) }

func valkeyAddr(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "redis" || u.Port() == "" || u.User != nil {
		return "", errors.New("not redis://host:port")
	}
	return u.Host, nil
}

// valkeyTimeout bounds a question to Valkey, which is busy when it matters.
const valkeyTimeout = 10 * time.Second

// valkeyCPU is what the server has used so far, by its own account (INFO cpu).
func valkeyCPU(addr string) (_ time.Duration, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ask Valkey for its CPU time: %w", err)
		}
	}()
	conn, err := net.DialTimeout("tcp", addr, valkeyTimeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(valkeyTimeout)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "INFO cpu\r\nQUIT\r\n"); err != nil {
		return 0, err
	}
	var seconds float64
	found := 0
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		s, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		seconds, found = seconds+s, found+1
	}
	if found != 2 {
		return 0, errors.New("its answer has another form")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
