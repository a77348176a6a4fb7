package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// hoarder is a user who takes all the sessions that one may have, and more, on all
// nodes at once, and gives some back; it finds when there are more than the limit,
// and afterwards whether what died with a node or a call was given back.
type hoarder struct {
	clients []*client.Client
	user    string
	limit   int
	loses   bool       // the store may lose what it has acknowledged
	rng     *rand.Rand // owned by run, then by settle

	mu       sync.Mutex
	made     int
	findings []string
}

func newHoarder(o Options) *hoarder {
	h := &hoarder{user: "hoarder", limit: o.Limits.Sessions, loses: o.StoreLoses, rng: rand.New(rand.NewPCG(o.Seed, 1<<40))}
	for _, u := range o.URLs {
		h.clients = append(h.clients, &client.Client{BaseURL: u, APIKey: o.APIKey})
	}
	return h
}

func (h *hoarder) client() *client.Client { return h.clients[h.rng.IntN(len(h.clients))] }

// hoarderCall bounds one request.
const hoarderCall = 5 * time.Second

// run hoards until ctx ends.
func (h *hoarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		h.burst(ctx, h.limit+3)
		if open, err := h.open(ctx); err == nil {
			for _, id := range open {
				if h.rng.IntN(2) == 0 {
					_ = h.delete(ctx, id) // what stays is there the next time
				}
			}
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// burst makes sessions at once, and counts those that were given.
func (h *hoarder) burst(ctx context.Context, n int) (given int) {
	var wg sync.WaitGroup
	for range n {
		c, key := h.client(), fmt.Sprintf("hoard-%x", h.rng.Uint64())
		wg.Go(func() {
			call, cancel := context.WithTimeout(ctx, hoarderCall)
			defer cancel()
			_, err := c.Create(call, protocol.CreateRequest{UserID: h.user}, key)
			var refused *client.Error
			h.mu.Lock()
			defer h.mu.Unlock()
			switch {
			case err == nil:
				given++
				h.made++
			case errors.As(err, &refused) && refused.Code == protocol.CodeNotFound && h.loses: // made, and lost at once
			case errors.As(err, &refused) && !refused.Temporary():
				h.findings = append(h.findings, fmt.Sprintf("a session was refused: %v", err))
			}
		})
	}
	wg.Wait()
	return given
}

// open lists the sessions that count, and finds when they are too many.
func (h *hoarder) open(ctx context.Context) ([]string, error) {
	call, cancel := context.WithTimeout(ctx, hoarderCall)
	defer cancel()
	var open []string
	list, err := h.client().List(call, client.ListOptions{UserID: h.user, Limit: 100})
	if err != nil {
		return nil, err
	}
	for _, s := range list.Sessions {
		if s.Status != protocol.StatusEnded && s.Status != protocol.StatusFailed {
			open = append(open, s.SessionID)
		}
	}
	if len(open) > h.limit {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.findings = append(h.findings, fmt.Sprintf("%s has %d open sessions; the limit is %d", h.user, len(open), h.limit))
	}
	return open, nil
}

func (h *hoarder) delete(ctx context.Context, id string) error {
	call, cancel := context.WithTimeout(ctx, hoarderCall)
	defer cancel()
	err := h.client().Session(id, "").Delete(call)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// settle gives everything back and wants all places to be free again: as many as
// the limit allows are given, and no more.
func (h *hoarder) settle(ctx context.Context) []string {
	for {
		open, err := h.open(ctx)
		for _, id := range open {
			err = errors.Join(err, h.delete(ctx, id))
		}
		if err == nil && len(open) == 0 {
			given := h.burst(ctx, h.limit+3)
			if given == h.limit {
				break
			}
			if given > h.limit {
				h.findings = append(h.findings, fmt.Sprintf("%d sessions were given at once; the limit is %d", given, h.limit))
			}
		}
		if ctx.Err() != nil {
			h.findings = append(h.findings, fmt.Sprintf("after the faults %s cannot have the %d sessions of the limit (%d open, %v)", h.user, h.limit, len(open), err))
			break
		}
		sleep(ctx, 200*time.Millisecond)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), hoarderCall)
	defer cancel()
	open, err := h.open(end)
	for _, id := range open {
		err = errors.Join(err, h.delete(end, id))
	}
	if err != nil {
		h.findings = append(h.findings, err.Error())
	}
	return h.findings
}
