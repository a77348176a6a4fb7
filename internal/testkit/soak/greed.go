package soak

import (
	"context"
	"sync"
	"time"
)

// greed is the users who want more than the limits allow: too many sessions, too
// many streams, too many messages. Its methods are for the goroutine of Run.
type greed struct {
	hoarder *hoarder
	holder  *holder
	glutton *glutton

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startGreed starts the users; stop ends what they do.
func startGreed(ctx context.Context, o Options) (*greed, error) {
	g := &greed{hoarder: newHoarder(o), holder: newHolder(o), glutton: newGlutton(o)}
	if err := g.holder.start(ctx); err != nil {
		return nil, err
	}
	ctx, g.cancel = context.WithCancel(ctx)
	g.wg.Go(func() { g.hoarder.run(ctx) })
	g.wg.Go(func() { g.holder.run(ctx) })
	g.wg.Go(func() { g.glutton.run(ctx) })
	return g, nil
}

// stop may be called twice.
func (g *greed) stop() {
	g.cancel()
	g.wg.Wait()
}

// settle has each user judge what it got, and have as much as the limits allow
// within the time that a limit may take to heal.
func (g *greed) settle(ctx context.Context, most time.Duration, r *Report) {
	limit, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var wg sync.WaitGroup
	var hoarder, holder, glutton []string
	wg.Go(func() { hoarder = g.hoarder.settle(limit) })
	wg.Go(func() { holder = g.holder.settle(limit) })
	wg.Go(func() { glutton = g.glutton.settle(limit) })
	wg.Wait()
	r.Findings = append(append(append(r.Findings, hoarder...), holder...), glutton...)
	r.Hoarded, r.Held, r.Gorged = g.hoarder.made, g.holder.opened, len(g.glutton.moments)
}
