package fleet

import (
	"fmt"
	"sync/atomic"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// offer is what the worker of a link offers now. It is immutable: a later frame of the worker
// replaces it.
type offer struct {
	providers []string
	details   map[string]protocol.ProviderDetails
}

// offerPointer has the present offer of a link's worker. All methods may be called
// concurrently.
type offerPointer struct{ p atomic.Pointer[offer] }

// now is what the worker offers: nothing before its hello.
func (o *offerPointer) now() offer {
	if p := o.p.Load(); p != nil {
		return *p
	}
	return offer{}
}

func (o *offerPointer) set(to offer) { o.p.Store(&to) }

// takeOffer replaces what the worker offers, in memory. The lease's keeper tells the other
// nodes at once. Frames that come faster than the store takes them are told together.
func (r receiver) takeOffer(data []byte) error {
	var p protocol.ProvidersUpdate
	if err := protocol.DecodePart(data, &p); err != nil {
		return err
	}
	if err := checkOffer(p.Providers, p.Details); err != nil {
		return err
	}
	r.offer.set(offer{p.Providers, p.Details})
	signal(r.offerChanged)
	r.fleet.kickFor(r.link)
	return nil
}

// checkOffer holds the providers of a worker, and their details, to their limits.
func checkOffer(providers []string, details map[string]protocol.ProviderDetails) error {
	if len(providers) > protocol.MaxProviders {
		return fmt.Errorf("providers are %d: at most %d", len(providers), protocol.MaxProviders)
	}
	offered := make(map[string]bool, len(providers))
	for i, name := range providers {
		if err := session.CheckName(fmt.Sprintf("providers[%d]", i), name, protocol.MaxNameBytes); err != nil {
			return err
		}
		if offered[name] {
			return fmt.Errorf("providers[%d] repeats one before it", i)
		}
		offered[name] = true
	}
	return checkDetails(details, offered)
}
