package valkeystore

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
	"sessionhub/protocol"
)

const (
	// censusPage is how many sessions are counted with one call.
	censusPage = 256
	// censusShare: of this many parts of the time at most one goes into counting,
	// however often it is asked for.
	censusShare = 20
)

// census is the last count.
type census struct {
	mu    sync.Mutex // held while it is counted
	last  hub.Census
	until time.Time // it is good enough
}

// Census implements hub.Store.
func (s *Store) Census(ctx context.Context) (hub.Census, bool, error) {
	if !s.takesCensus() {
		return hub.Census{}, false, nil
	}
	c := &s.census
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if began.Before(c.until) {
		return c.last, true, nil
	}
	last, err := s.countAll(ctx)
	if err != nil {
		return hub.Census{}, false, s.unavailable(ctx, "census", "count sessions", err)
	}
	now := time.Now()
	c.last, c.until = last, now.Add(censusShare*now.Sub(began))
	return last, true, nil
}

func (s *Store) countAll(ctx context.Context) (hub.Census, error) {
	c := hub.Census{Sessions: make(map[protocol.Status]int)}
	var err error
	if c.Queue, err = s.depths(ctx); err != nil {
		return c, err
	}
	var after *line
	for {
		lines, more, err := s.lines(ctx, s.allKey(), after, censusPage)
		if err != nil {
			return c, err
		}
		if err := s.countPage(ctx, &c, lines); err != nil {
			return c, err
		}
		if !more {
			return c, nil
		}
		after = &lines[len(lines)-1]
	}
}

func (s *Store) countPage(ctx context.Context, c *hub.Census, lines []line) error {
	if len(lines) == 0 {
		return nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	commands := make(valkey.Commands, len(lines))
	for i, l := range lines {
		keys, _ := s.keys(l.id)
		commands[i] = s.client.B().Hmget().Key(keys[0]).Field("status", "closed", "approvals").Build()
	}
	for _, r := range s.client.DoMulti(call, commands...) {
		v, err := r.ToArray()
		if err != nil {
			return err
		}
		if v[0].IsNil() {
			continue
		}
		status, _ := v[0].ToString()
		if closed, _ := v[1].ToString(); closed == protocol.ClosedDeleted {
			continue
		}
		approvals, _ := v[2].ToString()
		n, err := strconv.Atoi(approvals)
		if err != nil {
			return err
		}
		c.Sessions[protocol.Status(status)]++
		c.ApprovalsPending += n
	}
	return nil
}
