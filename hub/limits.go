package hub

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sessionhub/hub/store"
	"sessionhub/metrics"
)

// Limits bound the requests, sessions and streams of one user, over all sessions
// together.
type Limits struct {
	SessionsPerUser    int // open ones that count (see store.Writer); 0: no limit
	ConnectionsPerUser int // open streams; 0: no limit
	Messages           store.Rate
	Sessions           store.Rate // created sessions
}

// RateError says when a refused call may come again.
type RateError struct{ Wait time.Duration }

func (e *RateError) Error() string {
	return fmt.Sprintf("too many in a short time: try again in %s", e.Wait.Round(time.Millisecond))
}

// allow takes a token from a user's bucket, or refuses with a RateError.
func (cmd *Commands) allow(ctx context.Context, what metrics.Limit, user string, r store.Rate) error {
	if r.PerSecond <= 0 {
		return nil
	}
	wait, err := cmd.store.TakeToken(ctx, string(what)+":"+user, r)
	if err != nil {
		return err
	}
	if wait > 0 {
		cmd.cfg.Metrics.LimitRejected(what)
		return &RateError{Wait: wait}
	}
	return nil
}

// claim is a token taken from a user's bucket before it is known whether the request
// needs it. So the rate limit costs the request no wait of its own. A claim belongs to
// one call, which must end it.
type claim struct {
	what  metrics.Limit
	user  string // the owner of the token; empty: none was taken
	rate  store.Rate
	asked sync.WaitGroup
	wait  time.Duration
	err   error
	spent bool // the token is not given back
}

// claim begins to take a token of a user. Without a user it takes none.
func (cmd *Commands) claim(ctx context.Context, what metrics.Limit, user string, r store.Rate) *claim {
	c := &claim{what: what, rate: r}
	if user != "" && r.PerSecond > 0 {
		c.take(ctx, cmd, user)
	}
	return c
}

func (c *claim) take(ctx context.Context, cmd *Commands, user string) {
	c.user = user
	c.asked.Go(func() {
		c.err = cmd.env.Guard("the rate of a user", func() (err error) {
			c.wait, err = cmd.store.TakeToken(ctx, c.bucket(), c.rate)
			return err
		})
	})
}

func (c *claim) bucket() string { return string(c.what) + ":" + c.user }

// use waits for the user's token. It refuses with a RateError if there is none.
func (c *claim) use(ctx context.Context, cmd *Commands, user string) error {
	if c.rate.PerSecond <= 0 {
		return nil
	}
	if c.user != user { // the owner was not known, or is another one
		c.end(cmd)
		c.take(ctx, cmd, user)
	}
	c.asked.Wait()
	if c.err != nil {
		return c.err
	}
	if c.wait > 0 {
		cmd.cfg.Metrics.LimitRejected(c.what)
		return &RateError{Wait: c.wait}
	}
	return nil
}

// spend keeps the token: end does not give it back.
func (c *claim) spend() { c.spent = true }

// end gives the token back if it was not spent. If the store does not take it, the token
// is lost; the bucket refills by itself.
func (c *claim) end(cmd *Commands) {
	c.asked.Wait()
	if c.user == "" || c.spent || c.err != nil || c.wait > 0 {
		return
	}
	ctx, cancel := cmd.env.StoreCall()
	defer cancel()
	if err := cmd.store.GiveToken(ctx, c.bucket(), c.rate); err != nil {
		cmd.cfg.Log.Debug("give a token back", "limit", c.what, "error", err)
	}
}

// maxOwners bounds the owners that a node remembers.
const maxOwners = 10_000

// owners remembers which user owns each session that this node was asked for lately. The
// owner of an id never changes. The owner of a forgotten id is read from the store again.
type owners struct {
	mu sync.Mutex
	by map[string]string
}

func (o *owners) of(id string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.by[id]
}

func (o *owners) remember(id, user string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil || len(o.by) >= maxOwners {
		o.by = make(map[string]string)
	}
	o.by[id] = user
}
