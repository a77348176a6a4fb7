package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"sessionhub/internal/testkit/faultproxy"
)

// Store is a server of those that the nodes of a cluster share, as its faults need
// it.
type Store interface {
	Addr() string
	Do(args ...string) (string, error) // one command
	Kill()                             // as kill -9 does
	Start() error                      // again, with what it kept
	Stop()                             // SIGSTOP
	Cont()                             // SIGCONT
}

// Cluster is some nodes on one store. Clients reach each node through a faulty
// network at an address that stays while the processes behind it change, each node
// reaches the store through another one, and workers reach the nodes through a
// balancer. Its methods may be called concurrently; Close ends it, but not the
// store.
type Cluster struct {
	// Immutable once NewCluster has returned.
	o        ClusterOptions
	nodes    []*node
	balancer *balancer
	health   *health // nil: the balancer asks nobody

	storeFault sync.Mutex // held by the fault that works on the store
}

// ClusterOptions say what the nodes are.
type ClusterOptions struct {
	Bin       Binary
	Store     Store      // one server, or
	Sentinels *Sentinels // several: then nodes reach them without a faulty network
	Nodes     int
	Env       []string
	Flags     []string
	Drain     time.Duration // of the nodes: a drain may take a little longer
	AskReady  bool          // the balancer leaves out nodes that are not ready
}

// node is one node's place: the process in it changes.
type node struct {
	name    string
	clients *faultproxy.Proxy // before the node
	store   *faultproxy.Proxy // between it and the store; nil with Sentinels

	fault sync.Mutex // held by the fault that works on the process
	hub   *Hub       // guarded by fault

	mu   sync.Mutex
	addr string // of the process
}

// NewCluster starts the nodes.
func NewCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	c := &Cluster{o: o}
	err := c.start(ctx)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	for i := range c.o.Nodes {
		n := &node{name: fmt.Sprintf("node %d", i)}
		if n.clients, err = faultproxy.New(""); err != nil { // until the node is there
			return err
		}
		c.nodes = append(c.nodes, n)
		if c.o.Sentinels == nil {
			if n.store, err = faultproxy.New(c.o.Store.Addr()); err != nil {
				return err
			}
		}
		if err = c.launch(ctx, n); err != nil {
			return err
		}
	}
	addrs := c.addrs
	if c.o.AskReady {
		c.health = newHealth(c.addrs)
		addrs = c.health.addrs
	}
	c.balancer, err = newBalancer(addrs)
	return err
}

// launch puts a new process into a place.
func (c *Cluster) launch(ctx context.Context, n *node) error {
	var store string
	if n.store != nil {
		store = "redis://" + n.store.Addr()
	} else {
		store = c.o.Sentinels.URL
	}
	flags := append([]string{"--worker", "none", "--valkey-url", store, "--drain-timeout", c.o.Drain.String()}, c.o.Flags...)
	hub, err := c.o.Bin.Serve(ctx, c.o.Env, flags...)
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	u, err := url.Parse(hub.URL)
	if err != nil {
		hub.Kill()
		return fmt.Errorf("%s: %w", n.name, err)
	}
	n.hub = hub
	n.clients.Retarget(u.Host)
	n.mu.Lock()
	n.addr = u.Host
	n.mu.Unlock()
	return nil
}

// again puts a new process into a place whose process has ended, as a service
// manager does: however often it takes, since a node ends when it finds no store.
func (c *Cluster) again(n *node) error {
	for deadline := time.Now().Add(startAgain); ; {
		err := c.launch(context.Background(), n)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// startAgain bounds the attempts to start a node or the store again.
const startAgain = time.Minute

// addrs are those of the processes.
func (c *Cluster) addrs() []string {
	var all []string
	for _, n := range c.nodes {
		n.mu.Lock()
		if n.addr != "" {
			all = append(all, n.addr)
		}
		n.mu.Unlock()
	}
	return all
}

// URLs are where clients reach the nodes.
func (c *Cluster) URLs() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "http://"+n.clients.Addr())
	}
	return all
}

// Processes are the URLs of the processes, past the faulty network.
func (c *Cluster) Processes() []string {
	var all []string
	for _, addr := range c.addrs() {
		all = append(all, "http://"+addr)
	}
	return all
}

// Balanced is where each connection reaches one of the nodes.
func (c *Cluster) Balanced() string { return "http://" + c.balancer.addr() }

// Close kills every node. It may be called twice.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		n.fault.Lock()
		if n.hub != nil {
			n.hub.Kill()
		}
		n.fault.Unlock()
		_ = n.clients.Close() // cut, not drained
		if n.store != nil {
			_ = n.store.Close()
		}
	}
	if c.balancer != nil {
		c.balancer.Close()
	}
	if c.health != nil {
		c.health.Close()
	}
}

// Stop drains every node and wants each to end well.
func (c *Cluster) Stop(ctx context.Context) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			n.fault.Lock()
			defer n.fault.Unlock()
			errs[i] = n.drain(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// drain ends a node with SIGTERM. n.fault is held.
func (n *node) drain(ctx context.Context) error {
	if err := n.hub.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.hub.Done():
		if code := n.hub.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with %d after SIGTERM:\n%s", n.name, code, end(n.hub.Said()))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not stop: %w:\n%s", n.name, ctx.Err(), end(n.hub.Said()))
	}
}

// Heal mends every network, and finds the nodes that have ended by themselves or
// have said what no node should.
func (c *Cluster) Heal() error {
	var errs []error
	for _, n := range c.nodes {
		n.clients.Heal()
		if n.store != nil {
			n.store.Heal()
		}
		n.fault.Lock()
		errs = append(errs, n.judge())
		n.fault.Unlock()
	}
	return errors.Join(errs...)
}

// judge finds an end that nobody wanted, and a panic in what the process has said.
// n.fault is held.
func (n *node) judge() error {
	select {
	case <-n.hub.Done():
		return fmt.Errorf("%s ended by itself (%d):\n%s", n.name, n.hub.ExitCode(), end(n.hub.Said()))
	default:
	}
	if said := n.hub.Said(); strings.Contains(said, "panic") {
		return fmt.Errorf("%s speaks of a panic:\n%s", n.name, end(said))
	}
	return nil
}

// Said is what each node's present process has said.
func (c *Cluster) Said() string {
	var b strings.Builder
	for _, n := range c.nodes {
		n.fault.Lock()
		fmt.Fprintf(&b, "%s:\n%s\n", n.name, n.hub.Said())
		n.fault.Unlock()
	}
	return b.String()
}

// end is the last of what a process has said: so much as an error can hold.
func end(said string) string {
	const most = 2_000
	return said[max(0, len(said)-most):]
}

// Faults are what can happen to nodes, their store, and the links to both.
func (c *Cluster) Faults() []Fault {
	all := append(c.linkFaults("client", 1, func(n *node) *faultproxy.Proxy { return n.clients }),
		Fault{"node_kill", 3, c.process(c.kill)},
		Fault{"node_stop", 2, c.process(freezeNode)},
		Fault{"node_drain", 3, c.process(c.drain)},
	)
	if c.o.Sentinels != nil {
		return append(all, c.o.Sentinels.faults(c.store)...)
	}
	return append(append(all, c.linkFaults("store_link", 1, func(n *node) *faultproxy.Proxy { return n.store })...),
		Fault{"store_kill", 2, c.store(c.killStore)},
		Fault{"store_stop", 1, c.store(func(ctx context.Context, rng *rand.Rand) error {
			c.o.Store.Stop()
			sleep(ctx, stopped(rng))
			c.o.Store.Cont()
			return nil
		})},
	)
}

// stopped is how long a process stays stopped: 3 to 20 s, mostly short.
func stopped(rng *rand.Rand) time.Duration {
	return 3*time.Second + time.Duration(min(rng.ExpFloat64()/4, 1)*float64(17*time.Second))
}

// linkFaults are what can happen to one of the links of a node.
func (c *Cluster) linkFaults(name string, weight int, of func(*node) *faultproxy.Proxy) []Fault {
	on := func(do func(context.Context, *faultproxy.Proxy, *rand.Rand)) func(context.Context, *rand.Rand) error {
		return func(ctx context.Context, rng *rand.Rand) error {
			do(ctx, of(c.pick(rng)), rng)
			return nil
		}
	}
	pause := func(rng *rand.Rand) time.Duration {
		return time.Duration(min(rng.ExpFloat64(), 4) * float64(3*time.Second))
	}
	return []Fault{
		{name + "_cut", 2 * weight, on(func(_ context.Context, p *faultproxy.Proxy, _ *rand.Rand) { p.Cut() })},
		{name + "_refuse", weight, on(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			p.Refuse(true)
			sleep(ctx, pause(rng))
			p.Refuse(false)
		})},
		{name + "_freeze", weight, on(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			p.Freeze(true)
			sleep(ctx, pause(rng))
			p.Freeze(false)
		})},
		{name + "_half_open", weight, on(func(ctx context.Context, p *faultproxy.Proxy, rng *rand.Rand) {
			d := faultproxy.Direction(rng.IntN(2))
			p.Drop(d, true)
			sleep(ctx, pause(rng))
			p.Drop(d, false)
		})},
	}
}

func (c *Cluster) pick(rng *rand.Rand) *node { return c.nodes[rng.IntN(len(c.nodes))] }

// process runs a fault on a node's process, unless another one does.
func (c *Cluster) process(do func(context.Context, *node, *rand.Rand) error) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, rng *rand.Rand) error {
		n := c.pick(rng)
		if !n.fault.TryLock() {
			return nil
		}
		defer n.fault.Unlock()
		return errors.Join(n.judge(), do(ctx, n, rng))
	}
}

// store runs a fault on the store, unless another one does.
func (c *Cluster) store(do func(context.Context, *rand.Rand) error) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, rng *rand.Rand) error {
		if !c.storeFault.TryLock() {
			return nil
		}
		defer c.storeFault.Unlock()
		return do(ctx, rng)
	}
}

// kill ends a node and, after a while, starts another in its place.
func (c *Cluster) kill(ctx context.Context, n *node, rng *rand.Rand) error {
	n.hub.Kill()
	sleep(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
	return c.again(n)
}

// drain ends a node in good order and starts another in its place.
func (c *Cluster) drain(ctx context.Context, n *node, _ *rand.Rand) error {
	// The store may be away for as long as it is stopped at most.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Drain+30*time.Second)
	defer cancel()
	err := n.drain(limit)
	n.hub.Kill()
	return errors.Join(err, c.again(n))
}

func freezeNode(ctx context.Context, n *node, rng *rand.Rand) error {
	if err := n.hub.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sleep(ctx, stopped(rng))
	return n.hub.Signal(syscall.SIGCONT)
}

func (c *Cluster) killStore(ctx context.Context, rng *rand.Rand) error {
	c.o.Store.Kill()
	sleep(ctx, time.Duration(min(rng.ExpFloat64(), 4)*float64(2*time.Second)))
	return restart(c.o.Store)
}
