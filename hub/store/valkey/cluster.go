package valkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"
)

// How often a node asks for the primaries of its cluster: always, and while a link is down.
const (
	topologyEvery  = 10 * time.Second
	topologyUrgent = 500 * time.Millisecond
)

// followCluster keeps one link to each primary until ctx ends. A primary whose hash slots
// have changed gets a new link.
func (r *relay) followCluster(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stops := make(map[string]context.CancelFunc)
	last := time.Time{}
	tick := time.NewTicker(topologyUrgent)
	defer tick.Stop()
	for {
		if time.Since(last) > topologyEvery || r.ready() != nil {
			primaries, err := r.primaries(ctx)
			if err == nil {
				last = time.Now()
			}
			r.mu.Lock()
			r.lost = err
			if err == nil {
				for id, l := range r.links {
					if !slices.ContainsFunc(primaries, func(p primary) bool { return p.same(l.primary) }) {
						stops[id]()
						delete(r.links, id)
						delete(stops, id)
					}
				}
				for _, p := range primaries {
					if r.links[p.id] == nil {
						l := newLink(r, p)
						r.links[p.id] = l
						var running context.Context
						running, stops[p.id] = context.WithCancel(ctx)
						wg.Go(func() { l.run(running) })
					}
				}
			} else if len(r.links) > 0 {
				// The links to the known primaries go on. A link that is down says enough.
				r.lost = nil
			}
			r.mu.Unlock()
			r.report()
		}
		select {
		case <-ctx.Done():
			for _, stop := range stops {
				stop()
			}
			return
		case <-tick.C:
		}
	}
}

func (p primary) same(o primary) bool {
	return p.id == o.id && p.addr == o.addr && slices.Equal(p.ranges, o.ranges)
}

// primaries asks the cluster which server has which hash slots. Addresses in the answer are
// not always those that the client uses, so primaries asks each server for its id.
func (r *relay) primaries(ctx context.Context) ([]primary, error) {
	call, cancel := context.WithTimeout(ctx, min(time.Second, r.opt.CallTimeout))
	defer cancel()
	var mu sync.Mutex
	addrs := make(map[string]string) // by id
	var answers [][]valkey.ValkeyMessage
	var failed error
	var wg sync.WaitGroup
	for addr, node := range r.client.Nodes() {
		wg.Go(func() {
			got := node.DoMulti(call, node.B().ClusterMyid().Build(), node.B().ClusterSlots().Build())
			id, err := got[0].ToString()
			var shares []valkey.ValkeyMessage
			if err == nil {
				shares, err = got[1].ToArray()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("%s: %w", addr, err)
				return
			}
			addrs[id] = addr
			answers = append(answers, shares)
		})
	}
	wg.Wait()
	if len(answers) == 0 {
		if failed == nil {
			failed = errors.New("the client knows no server")
		}
		return nil, fmt.Errorf("ask where the primaries are: %w", failed)
	}
	by := make(map[string]*primary)
	var out []primary
	for _, share := range answers[0] {
		p, err := parseShare(share)
		if err != nil {
			return nil, err
		}
		if by[p.id] == nil {
			p.addr = addrs[p.id] // empty: it does not answer
			by[p.id] = &p
			continue
		}
		by[p.id].ranges = append(by[p.id].ranges, p.ranges...)
	}
	for _, p := range by {
		if p.addr == "" {
			p.addr = "unreachable:" + p.id // the client knows no such server: its link is down
		}
		slices.SortFunc(p.ranges, func(a, b hashSlotRange) int { return int(a.first) - int(b.first) })
		out = append(out, *p)
	}
	return out, nil
}

// parseShare reads one part of the answer to CLUSTER SLOTS: first slot, last slot,
// {address, port, id, ...} of the primary, then the replicas.
func parseShare(m valkey.ValkeyMessage) (primary, error) {
	v, err := m.ToArray()
	if err != nil || len(v) < 3 {
		return primary{}, fmt.Errorf("a share of the slots has %d parts: %w", len(v), err)
	}
	first, err := v[0].AsInt64()
	if err != nil {
		return primary{}, err
	}
	last, err := v[1].AsInt64()
	if err != nil {
		return primary{}, err
	}
	server, err := v[2].ToArray()
	if err != nil || len(server) < 3 {
		return primary{}, fmt.Errorf("a server of a share of the slots has %d parts: %w", len(server), err)
	}
	id, err := server[2].ToString()
	if err != nil {
		return primary{}, err
	}
	return primary{id: id, ranges: []hashSlotRange{{uint16(first), uint16(last)}}}, nil
}
