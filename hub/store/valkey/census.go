package valkey

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

const (
	// censusPage is how many sessions are counted with one call.
	censusPage = 256
	// censusShare bounds the cost of counting: at most one part in censusShare of the time
	// goes into it, however often the census is asked for.
	censusShare = 20
)

// census is a store.Counter: it keeps the last count.
type census struct {
	*calls
	node  *node
	queue *workQueue
	lists *lists

	mu    sync.Mutex // held while the node counts
	last  store.Census
	until time.Time // until then the last count is used
}

// Census implements store.Counter.
func (s *census) Census(ctx context.Context) (store.Census, bool, error) {
	if !s.node.takesCensus() {
		return store.Census{}, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if began.Before(s.until) {
		return s.last, true, nil
	}
	last, err := s.countAll(ctx)
	if err != nil {
		return store.Census{}, false, s.unavailable(ctx, "census", "count sessions", err)
	}
	now := time.Now()
	s.last, s.until = last, now.Add(censusShare*now.Sub(began))
	return last, true, nil
}

func (s *census) countAll(ctx context.Context) (store.Census, error) {
	c := store.Census{Sessions: make(map[protocol.Status]int)}
	var err error
	if c.Queue, err = s.queue.depths(ctx); err != nil {
		return c, err
	}
	var after *line
	for {
		lines, more, err := s.lists.lines(ctx, s.allKey(), after, censusPage)
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

func (s *census) countPage(ctx context.Context, c *store.Census, lines []line) error {
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
