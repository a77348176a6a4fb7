package valkeystore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A node says that it lives every nodeEvery. One that has not for nodeDead is
// dead: what it has counted is forgotten, and another one takes the census.
const (
	nodeEvery = 4 * time.Second
	nodeDead  = 20 * time.Second
)

// node is this process among those that use the store. When it was thought to be
// dead it gets a new name, and tells again all that it counts.
type node struct {
	gate chan struct{} // holds one: who says that the node lives

	mu     sync.Mutex
	name   string
	said   time.Time // when it last said that it lives
	census bool      // it takes the census
}

func nodeName() string { return strings.ToLower(rand.Text()[:12]) }

func (s *Store) nodeKeys() []string {
	base := s.opt.Prefix + "{nodes}:"
	return []string{base + "alive", base + "census"}
}

// live says that this node lives, every now and then until ctx ends.
func (s *Store) live(ctx context.Context) {
	tick := time.NewTicker(nodeEvery)
	defer tick.Stop()
	for {
		if err := s.sayAlive(ctx); err != nil && ctx.Err() == nil {
			s.opt.Log.Warn("tell the store that this node lives", "error", err)
		}
		select {
		case <-ctx.Done():
			// What it counted goes with it: at once, and not when it is found dead.
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.CallTimeout)
			defer cancel()
			s.client.Do(call, s.client.B().Zrem().Key(s.nodeKeys()[0]).Member(s.nodeNow()).Build())
			return
		case <-tick.C:
		}
	}
}

// nodeNow is the node's present name.
func (s *Store) nodeNow() string {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.node.name
}

// sayAlive says that this node lives. When it was taken for dead, what was counted
// under its name may be gone: it says so under a new one, and counts again.
func (s *Store) sayAlive(ctx context.Context) error {
	select {
	case s.node.gate <- struct{}{}:
		defer func() { <-s.node.gate }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.node.mu.Lock()
	name, fresh := s.node.name, s.node.said.IsZero()
	s.node.mu.Unlock()
	began := time.Now()
	known, census, err := s.tellNode(ctx, name, fresh)
	if err == nil && !known {
		s.opt.Log.Warn("the store took this node for dead; it tells again what it counts")
		name = nodeName()
		_, census, err = s.tellNode(ctx, name, true)
	}
	if err != nil {
		return err
	}
	s.node.mu.Lock()
	s.node.name, s.node.said, s.node.census = name, began, census
	s.node.mu.Unlock()
	if !known {
		s.slots.tellAll()
		// Who was not known may be the first to hear that somebody emptied the store.
		s.relay.lookAtAll()
	}
	return nil
}

func (s *Store) tellNode(ctx context.Context, name string, fresh bool) (known, census bool, err error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	args := []string{name, strconv.FormatInt(nodeDead.Microseconds(), 10), ""}
	if fresh {
		args[2] = "new"
	}
	v, err := nodeScript.Exec(call, s.client, s.nodeKeys(), args).AsIntSlice()
	if err != nil {
		return false, false, err
	}
	if len(v) != 2 {
		return false, false, fmt.Errorf("the script gave %d values", len(v))
	}
	return v[0] == 1, v[1] == 1, nil
}

// nodes lists the nodes that live, after this one has made sure that it is among
// them.
func (s *Store) nodes(ctx context.Context) ([]string, error) {
	s.node.mu.Lock()
	late := time.Since(s.node.said) > nodeDead-nodeEvery
	s.node.mu.Unlock()
	if late {
		if err := s.sayAlive(ctx); err != nil {
			return nil, err
		}
	}
	// Those that are dead and not removed yet are counted a little longer.
	return s.client.Do(ctx, s.client.B().Zrange().Key(s.nodeKeys()[0]).Min("0").Max("-1").Build()).AsStrSlice()
}

// takesCensus reports whether this node is the one that counts for all.
func (s *Store) takesCensus() bool {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.node.census && time.Since(s.node.said) < nodeDead-nodeEvery
}
