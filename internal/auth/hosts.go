package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Hosts is a list of names by which a listener may be addressed, as Host headers
// have them. It is immutable; the zero value is empty.
type Hosts struct {
	exact    []string
	wildcard []string // what follows "*"; one label stands in front
}

// ParseHosts reads a list of names and addresses without ports; *.example.org stands
// for one label. Empty entries do not count. Every bad one is named.
func ParseHosts(list []string) (Hosts, error) {
	const want = "want a name or an address without a port, or *.example.org"
	var h Hosts
	var errs []error
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		name, pattern := strings.CutPrefix(text, "*.")
		host, port, ok := splitHost(name)
		if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() && addr.Zone() == "" {
			host, port, ok = "["+addr.String()+"]", 0, true // as it stands in a Host header
		}
		switch {
		case !ok || port != 0, pattern && isAddress(host):
			errs = append(errs, fmt.Errorf("host %q: %s", clip(text), want))
		case pattern:
			h.wildcard = append(h.wildcard, "."+host)
		default:
			h.exact = append(h.exact, host)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Hosts{}, err
	}
	return h, nil
}

// Check reports whether a Host header, with any port, is in the list.
func (h Hosts) Check(hostHeader string) bool {
	host, _, ok := splitHost(hostHeader)
	return ok && (slices.Contains(h.exact, host) ||
		slices.ContainsFunc(h.wildcard, func(suffix string) bool { return oneLabel(host, suffix) }))
}

// IsLoopbackHost reports whether a Host header names this machine itself: localhost,
// a name below it, or an address of the loopback. No DNS server has a say in that.
func IsLoopbackHost(hostHeader string) bool {
	host, _, ok := splitHost(hostHeader)
	return ok && isLoopback(host)
}

// IsAddressHost reports whether a Host header is an IP address: no page that pointed
// its own name here sends one.
func IsAddressHost(hostHeader string) bool {
	host, _, ok := splitHost(hostHeader)
	return ok && isAddress(host)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// isPrivateName: no public DNS server can have the name, so no page from elsewhere
// can point it at a hub. It has one label, or lies below a domain that is reserved
// for private networks: local (RFC 6762), home.arpa (RFC 8375), internal (ICANN 2024).
func isPrivateName(host string) bool {
	if !strings.Contains(host, ".") {
		return true
	}
	return slices.ContainsFunc([]string{".local", ".internal", ".home.arpa"}, func(domain string) bool {
		return strings.HasSuffix(host, domain)
	})
}

// CrossSite is what a browser says in Sec-Fetch-Site of a request that a page of
// another site has caused (Fetch Metadata, section 2.3). Pages cannot set it.
const CrossSite = "cross-site"
