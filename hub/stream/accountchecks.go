package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sessionhub/hub/account"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Held is something open that lives no longer than a grant. Its grant can change.
type Held interface {
	Grant() session.Grant
	// End ends it, in order. It must not block.
	End(code int, reason string, cause metrics.CloseReason)
}

// endFor ends something whose grant is over. why is an error of CheckGrant.
func endFor(h Held, why error) { h.End(protocol.CloseToken, why.Error(), metrics.CloseToken) }

// accountChecks ends what grants of accounts have opened, when their account says that they
// have ended. It watches the account of each user who has something open by such a grant.
// What is open by a session token or an API key costs nothing here.
//
// Any goroutine may call join and leave; run calls the store. Lock order: mu, then the locks
// of the store's watchers, then dueMu.
type accountChecks struct {
	streams *Streams

	mu    sync.Mutex
	users map[string]*heldByUser

	dueMu sync.Mutex
	due   map[string]struct{}
	wake  chan struct{} // holds one
}

// heldByUser is what is open by grants of one account.
type heldByUser struct {
	stop func() // ends the watch
	open map[Held]struct{}
}

func newAccountChecks(ss *Streams) *accountChecks {
	return &accountChecks{
		streams: ss, users: make(map[string]*heldByUser), due: make(map[string]struct{}), wake: make(chan struct{}, 1),
	}
}

// join has something ended when the account says so. The caller checks the grant once after
// join, since the watch tells only of later changes. To join twice is no error.
func (c *accountChecks) join(user string, h Held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[user]
	if u == nil {
		u = &heldByUser{open: make(map[Held]struct{})}
		u.stop = c.streams.store.WatchUser(user, func(n store.UserNotice) {
			if n.Account || n.Lost {
				c.add(user)
			}
		})
		c.users[user] = u
	}
	u.open[h] = struct{}{}
}

// leave ends what join began. To leave without a join is no error.
func (c *accountChecks) leave(user string, h Held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[user]
	if u == nil {
		return
	}
	if delete(u.open, h); len(u.open) == 0 {
		delete(c.users, user)
		u.stop()
	}
}

// add has the grants of a user checked.
func (c *accountChecks) add(user string) {
	c.dueMu.Lock()
	c.due[user] = struct{}{}
	c.dueMu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *accountChecks) take() []string {
	c.dueMu.Lock()
	defer c.dueMu.Unlock()
	all := slices.Collect(maps.Keys(c.due))
	clear(c.due)
	return all
}

// run checks the users that are due until ctx ends.
func (c *accountChecks) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		failed := false
		for _, user := range c.take() {
			if failed || !c.check(ctx, user) {
				failed = true // the other calls could wait for their time limits too
				c.add(user)
			}
		}
		if !failed {
			continue
		}
		timer := time.NewTimer(checkAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// check ends what a user's account no longer allows. It returns false if the store did not
// answer. A panic ends all that the user has open by the account: whether it may go on is
// unknown.
func (c *accountChecks) check(ctx context.Context, user string) (asked bool) {
	open := c.openOf(user)
	if len(open) == 0 {
		return true
	}
	err := c.streams.Guard("a check of an account", func() error {
		a, err := loadAccount(ctx, c.streams.store, user)
		if asked = err == nil; !asked {
			return nil
		}
		now := time.Now()
		for _, h := range open {
			if g := h.Grant(); g.OfAccount() && g.User == user {
				if err := a.Holds(g, now); err != nil {
					endFor(h, err)
				}
			}
		}
		return nil
	}, "user", user)
	if err != nil {
		for _, h := range open {
			endFor(h, session.ErrGrantRevoked)
		}
		return true
	}
	return asked
}

func (c *accountChecks) openOf(user string) []Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.users[user]; u != nil {
		return slices.Collect(maps.Keys(u.open))
	}
	return nil
}

func loadAccount(ctx context.Context, st store.Accounts, user string) (account.Account, error) {
	record, _, err := st.LoadAccount(ctx, user)
	if err != nil {
		return account.Account{}, err
	}
	a, err := account.Decode(record)
	if err != nil {
		return account.Account{}, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return a, nil
}

// Hold has something ended within 2 s after its grant has ended, if the grant ends with
// something in its user's account. It checks the grant once. Release ends it; both may be
// called again. If the store does not answer, the check is
// made when it does.
func (ss *Streams) Hold(ctx context.Context, h Held) {
	g := h.Grant()
	if !g.OfAccount() {
		return
	}
	ss.accounts.join(g.User, h)
	err := ss.CheckAccount(ctx, g)
	switch {
	case err == nil:
	case ended(err):
		endFor(h, err)
	default:
		ss.accounts.add(g.User)
	}
}

// Release ends what Hold began, for a grant of h that it had then.
func (ss *Streams) Release(h Held, g session.Grant) {
	if g.OfAccount() {
		ss.accounts.leave(g.User, h)
	}
}

// ended reports whether a grant is over, and not only unknown.
func ended(err error) bool {
	return slices.Contains([]error{
		session.ErrGrantExpired, session.ErrGrantRevoked, session.ErrSignInGone, session.ErrKeyGone, session.ErrTokenKeyGone,
	}, err)
}

// CheckAccount says why a grant opens nothing of its user: an error of CheckGrant, or one of
// the store. For a grant that ends with nothing in an account, it asks no store.
func (ss *Streams) CheckAccount(ctx context.Context, g session.Grant) error {
	now := time.Now()
	if err := ss.checkGrant(g.User, g, now); err != nil || !g.OfAccount() {
		return err
	}
	a, err := loadAccount(ctx, ss.store, g.User)
	if err != nil {
		return err
	}
	return a.Holds(g, now)
}
