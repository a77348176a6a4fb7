package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// Known returns nil if sessions of the user may name the provider, and ErrUnknownProvider
// if not.
func (f *Fleet) Known(ctx context.Context, user, provider string) error {
	if slices.Contains(f.cfg.Providers, provider) {
		return nil
	}
	all, err := f.Providers(ctx, user)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range all {
		if p.Name == provider {
			return nil
		}
		names = append(names, p.Name)
	}
	return fmt.Errorf("%w %q: there are %s", ErrUnknownProvider, session.Clip(provider), someOf(names))
}

// someOf joins names for a person: the first 20, and the number of the others.
func someOf(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// Providers lists the providers that are configured here, or offered by a live worker of
// any node that may have the user's sessions. Without a user it lists those of all
// workers.
func (f *Fleet) Providers(ctx context.Context, user string) ([]protocol.Provider, error) {
	live, err := f.store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	workers := make(map[string]int)
	for _, name := range f.cfg.Providers {
		workers[name] = 0
	}
	for _, w := range live {
		if user != "" && w.User != "" && w.User != user {
			continue // other users must not learn of this worker
		}
		for _, name := range w.Providers {
			workers[name]++
		}
	}
	out := make([]protocol.Provider, 0, len(workers))
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		out = append(out, protocol.Provider{Name: name, Available: workers[name] > 0, Workers: workers[name]})
	}
	return out, nil
}
