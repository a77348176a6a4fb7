package worker

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sessionhub/protocol"
)

// validateLooks names every bad value of what people are shown of the provider.
func (p Provider) validateLooks(name string) []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: "+format, append([]any{name}, args...)...))
	}
	for _, f := range []struct {
		field, text string
		most        int
	}{{"title", p.Title, protocol.MaxProviderTitle}, {"description", p.Description, protocol.MaxProviderDescription}} {
		if len(f.text) > f.most || !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, unicode.IsControl) {
			bad("%s: must be UTF-8 without control characters and at most %d bytes long", f.field, f.most)
		}
	}
	if p.Icon != "" {
		if err := protocol.CheckIcon(p.Icon); err != nil {
			bad("icon: %w", err)
		}
	}
	return errs
}

// details is what the hub is told of the provider. mcp is what its sessions may bring.
func (p Provider) details(mcp protocol.SessionMCP) protocol.ProviderDetails {
	d := protocol.ProviderDetails{Title: p.Title, Description: p.Description, Icon: p.Icon, Login: p.Login}
	can := protocol.ProviderCapabilities{Mode: p.Mode, AskingModes: p.AskingModes, AllowedModes: p.AllowedModes}
	if len(can.AskingModes) == 0 && p.Mode != "" {
		can.AskingModes = []string{p.Mode}
	}
	// A list that the hub would refuse is left out. The worker obeys the whole list.
	if mcp == protocol.SessionMCPNone {
		mcp = ""
	}
	fits := len(can.AskingModes) <= protocol.MaxProviderModes && len(can.AllowedModes) <= protocol.MaxProviderModes && (p.Mode == "" || usableID(p.Mode))
	if !fits {
		can = protocol.ProviderCapabilities{}
	}
	can.SessionMCP = mcp
	if len(can.AskingModes)+len(can.AllowedModes) > 0 || mcp != "" {
		d.Capabilities = &can
	}
	return d
}

// detailsOf are what the hub is told of providers. learned is what is known of their agents.
// If that is more than the hub takes, the icons are left out, then the descriptions, then the
// capabilities, then all of it.
func (c Config) detailsOf(providers map[string]Provider, learned map[string]protocol.AgentAbilities) map[string]protocol.ProviderDetails {
	all := make(map[string]protocol.ProviderDetails, len(providers))
	for name, p := range providers {
		d := p.details(c.sessionMCP(p))
		if can, known := learned[name]; known {
			if d.Capabilities == nil {
				d.Capabilities = &protocol.ProviderCapabilities{}
			}
			d.Capabilities.Agent = &can
		}
		if d != (protocol.ProviderDetails{}) {
			all[name] = d
		}
	}
	for _, leaveOut := range []func(*protocol.ProviderDetails){
		func(d *protocol.ProviderDetails) { d.Icon = "" },
		func(d *protocol.ProviderDetails) { d.Description = "" },
		func(d *protocol.ProviderDetails) { d.Capabilities = nil },
	} {
		if len(protocol.Marshal(all)) <= protocol.MaxDetailsBytes {
			return all
		}
		for name, d := range all {
			leaveOut(&d)
			all[name] = d
		}
	}
	if len(protocol.Marshal(all)) > protocol.MaxDetailsBytes {
		return nil
	}
	return all
}
