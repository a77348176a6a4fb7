package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
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
	for _, p := range all.Providers {
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
// workers. If several workers tell of a provider, the first by name is believed.
func (f *Fleet) Providers(ctx context.Context, user string) (protocol.Providers, error) {
	live, err := f.store.Workers(ctx)
	if err != nil {
		return protocol.Providers{}, err
	}
	slices.SortFunc(live, func(a, b store.WorkerInfo) int { return strings.Compare(a.Name, b.Name) })
	all := make(map[string]*protocol.Provider)
	for _, name := range f.cfg.Providers {
		all[name] = &protocol.Provider{Name: name}
	}
	told := make(map[string]bool)
	for _, w := range live {
		if user != "" && w.User != "" && w.User != user {
			continue // other users must not learn of this worker
		}
		for _, name := range w.Providers {
			p := all[name]
			if p == nil {
				p = &protocol.Provider{Name: name}
				all[name] = p
			}
			p.Available, p.Workers = true, p.Workers+1
			if d, ok := w.Details[name]; ok && !told[name] {
				told[name] = true
				p.Title, p.Description, p.Icon, p.Login, p.Capabilities = d.Title, d.Description, d.Icon, d.Login, d.Capabilities
			}
		}
	}
	out := protocol.Providers{Providers: make([]protocol.Provider, 0, len(all))}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Providers = append(out.Providers, *all[name])
	}
	out.Default = f.preselected(out.Providers)
	return out, nil
}

// preselected is the provider that pages offer first: the one that the operator has named,
// else the first that a worker offers and that needs no login first, as far as is known.
func (f *Fleet) preselected(all []protocol.Provider) string {
	if f.cfg.Preselect != "" {
		return f.cfg.Preselect
	}
	first := f.cfg.DefaultProvider
	for _, p := range all {
		switch {
		case !p.Available || p.Name == f.cfg.DefaultProvider:
		case p.Login != protocol.LoginMissing:
			return p.Name
		case first == f.cfg.DefaultProvider:
			first = p.Name
		}
	}
	return first
}
