package worker

import (
	"context"
	"sync"
)

// places are the requests of the hub that may be worked on side by side: so many in all, and
// so many of one user. One user's slow requests leave room for those of others. Its methods
// may be called concurrently.
type places struct {
	all     chan struct{} // holds a token for each taken place
	perUser int

	mu     sync.Mutex
	byUser map[string]*userPlaces
}

type userPlaces struct {
	taken chan struct{}
	using int // callers that have a place or wait for one; guarded by places.mu
}

func newPlaces(all, perUser int) *places {
	return &places{all: make(chan struct{}, all), perUser: perUser, byUser: make(map[string]*userPlaces)}
}

// take waits for a place until ctx ends. release gives it back, and is called once.
func (p *places) take(ctx context.Context, user string) (release func(), err error) {
	p.mu.Lock()
	own := p.byUser[user]
	if own == nil {
		own = &userPlaces{taken: make(chan struct{}, p.perUser)}
		p.byUser[user] = own
	}
	own.using++
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if own.using--; own.using == 0 {
			delete(p.byUser, user)
		}
	}
	select {
	case own.taken <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	select {
	case p.all <- struct{}{}:
	case <-ctx.Done():
		<-own.taken
		leave()
		return nil, ctx.Err()
	}
	return func() {
		<-p.all
		<-own.taken
		leave()
	}, nil
}
