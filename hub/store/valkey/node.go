package valkey

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A node reports itself alive every nodeEvery. After nodeDead without a report it is dead:
// its counts are forgotten, and another node takes the census.
const (
	nodeEvery = 4 * time.Second
	nodeDead  = 20 * time.Second
)

// node is this process among the nodes that use the store. If the store took it for dead,
// it gets a new name and sends all its counts again.
type node struct {
	*calls
	relay *relay
	slots *slots // the counts of this node

	gate chan struct{} // holds one token: for a call of sayAlive

	mu     sync.Mutex
	name   string
	said   time.Time // when it last reported itself alive
	census bool      // it takes the census
	last   []string  // the live nodes, as last read; never changed
}

func newNode(c *calls) *node {
	return &node{calls: c, gate: make(chan struct{}, 1), name: nodeName()}
}

// knowsCompaction ends the name of a node that reads compacted events. Nodes of earlier
// versions have names without it, and accept any name.
const knowsCompaction = "+c"

// tellsUsers comes before it in the name of a node that announces changes to the watchers of
// users.
const tellsUsers = "+u"

func nodeName() string { return strings.ToLower(rand.Text()[:12]) + tellsUsers + knowsCompaction }

// allKnowCompaction reports whether every live node reads compacted events.
func (n *node) allKnowCompaction(ctx context.Context) (bool, error) {
	return n.all(ctx, func(name string) bool { return strings.HasSuffix(name, knowsCompaction) })
}

// allTellUsers reports whether every live node announces changes to the watchers of users.
func (n *node) allTellUsers(ctx context.Context) (bool, error) {
	return n.all(ctx, func(name string) bool { return strings.Contains(name, tellsUsers) })
}

func (n *node) all(ctx context.Context, can func(name string) bool) (bool, error) {
	names, err := n.nodes(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !can(name) }), nil
}

func (n *node) nodeKeys() []string {
	base := n.opt.Prefix + "{nodes}:"
	return []string{base + "alive", base + "census"}
}

// live reports this node alive every nodeEvery, until ctx ends.
func (n *node) live(ctx context.Context) {
	tick := time.NewTicker(nodeEvery)
	defer tick.Stop()
	for {
		if err := n.sayAlive(ctx); err != nil && ctx.Err() == nil {
			n.opt.Log.Warn("tell the store that this node lives", "error", err)
		}
		select {
		case <-ctx.Done():
			// The node's counts go with it at once, not only when the node is found dead.
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.opt.CallTimeout)
			defer cancel()
			n.client.Do(call, n.client.B().Zrem().Key(n.nodeKeys()[0]).Member(n.nodeNow()).Build())
			return
		case <-tick.C:
		}
	}
}

// nodeNow is the node's present name.
func (n *node) nodeNow() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// sayAlive reports this node alive. If the store took the node for dead, its counts may be
// gone. The node then reports itself under a new name and counts again.
func (n *node) sayAlive(ctx context.Context) error {
	select {
	case n.gate <- struct{}{}:
		defer func() { <-n.gate }()
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	name, fresh := n.name, n.said.IsZero()
	n.mu.Unlock()
	began := time.Now()
	known, census, err := n.tellNode(ctx, name, fresh)
	if err == nil && !known {
		n.opt.Log.Warn("the store took this node for dead; it tells again what it counts")
		name = nodeName()
		_, census, err = n.tellNode(ctx, name, true)
	}
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.name, n.said, n.census = name, began, census
	n.mu.Unlock()
	if !known {
		n.slots.tellAll()
		// A node that the store did not know may be the first to learn that the store was
		// emptied.
		n.relay.markAllBehind()
	}
	return nil
}

func (n *node) tellNode(ctx context.Context, name string, fresh bool) (known, census bool, err error) {
	call, cancel := n.deadline(ctx)
	defer cancel()
	args := []string{name, strconv.FormatInt(nodeDead.Microseconds(), 10), ""}
	if fresh {
		args[2] = "new"
	}
	v, err := nodeScript.Exec(call, n.client, n.nodeKeys(), args).AsIntSlice()
	if err != nil {
		return false, false, err
	}
	if len(v) != 2 {
		return false, false, fmt.Errorf("the script gave %d values", len(v))
	}
	return v[0] == 1, v[1] == 1, nil
}

// nodes lists the live nodes. It first makes sure that this node is among them.
func (n *node) nodes(ctx context.Context) ([]string, error) {
	key := n.nodeKeys()[0]
	n.mu.Lock()
	late := time.Since(n.said) > nodeDead-nodeEvery
	last := n.last
	n.mu.Unlock()
	if last != nil && n.relay.readyFor(hashSlotOf(key)) != nil && n.relay.someReady() == nil {
		return last, nil // the server that has the nodes is away while others answer
	}
	if late {
		if err := n.sayAlive(ctx); err != nil {
			return nil, err
		}
	}
	// Dead nodes that are not removed yet count a little longer.
	all, err := n.client.Do(ctx, n.client.B().Zrange().Key(key).Min("0").Max("-1").Build()).AsStrSlice()
	if err == nil {
		n.mu.Lock()
		n.last = all
		n.mu.Unlock()
	}
	return all, err
}

// takesCensus reports whether this node counts for all nodes.
func (n *node) takesCensus() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.census && time.Since(n.said) < nodeDead-nodeEvery
}
