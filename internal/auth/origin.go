package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Origins says which web pages may speak to this node, and, in local mode,
// under which names it may be spoken to. It is immutable; the zero value allows
// the same origin alone.
type Origins struct {
	exact    []origin
	wildcard []origin // host is what follows "*"; one label stands in front
}

// origin is an origin of a page (RFC 6454): lower case, the port always given
// (0 where the scheme has none).
type origin struct {
	scheme, host string
	port         int
}

// extensionScheme is Chrome's for its extensions; the host is the id.
const extensionScheme = "chrome-extension"

// ParseOrigins reads a list: exact origins, patterns such as
// https://*.example.org (one label), chrome-extension://<id>. Empty entries do
// not count. Every bad one is named.
func ParseOrigins(list []string) (Origins, error) {
	var o Origins
	var errs []error
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if err := o.add(text); err != nil {
			errs = append(errs, fmt.Errorf("origin %q: %w", clip(text), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Origins{}, err
	}
	return o, nil
}

func (o *Origins) add(text string) error {
	const want = "want scheme://host[:port] without a path, https://*.example.org, or chrome-extension://<id>"
	switch text {
	case "*":
		return errors.New("every origin cannot be allowed: " + want)
	case "null":
		return errors.New(`"null" is what any sandboxed page sends: ` + want)
	}
	scheme, rest, _ := strings.Cut(text, "://")
	suffix, pattern := strings.CutPrefix(rest, "*.")
	if pattern {
		rest = suffix
	}
	parsed, ok := parseOrigin(scheme + "://" + rest)
	if !ok {
		return errors.New(want)
	}
	if !pattern {
		o.exact = append(o.exact, parsed)
		return nil
	}
	if _, err := netip.ParseAddr(strings.Trim(parsed.host, "[]")); err == nil || parsed.scheme == extensionScheme {
		return errors.New("a * stands only in front of a name: " + want)
	}
	parsed.host = "." + parsed.host
	o.wildcard = append(o.wildcard, parsed)
	return nil
}

// Check reports whether a request with these Origin and Host headers may act.
// Without an Origin it is no page's, or a browser's for its own origin, and
// passes. The same origin passes whatever its scheme, since a proxy in front
// may have ended TLS. "null" and garbage do not pass.
func (o Origins) Check(originHeader, hostHeader string) bool {
	if originHeader == "" {
		return true
	}
	from, ok := parseOrigin(originHeader)
	if !ok {
		return false
	}
	return from.isAt(hostHeader) || o.allows(from)
}

// CheckNamed is Check for a hub that lets everybody act without a credential. There
// the same origin passes only under a name that is surely the hub's: an address, a
// private name, or that of own, the URL that clients reach the hub at (may be empty).
// Any other name could belong to a page that pointed it at this hub (DNS rebinding).
func (o Origins) CheckNamed(originHeader, hostHeader, own string) bool {
	if originHeader == "" {
		return true
	}
	from, ok := parseOrigin(originHeader)
	if !ok {
		return false
	}
	if o.allows(from) {
		return true
	}
	if !from.isAt(hostHeader) {
		return false
	}
	scheme, rest, _ := strings.Cut(own, "://")
	authority, _, _ := strings.Cut(rest, "/")
	named, ok := parseOrigin(scheme + "://" + authority)
	return ok && named.host == from.host || isLoopback(from.host) || isAddress(from.host) || isPrivateName(from.host)
}

func (o Origins) allows(from origin) bool {
	if slices.Contains(o.exact, from) {
		return true
	}
	for _, w := range o.wildcard {
		if w.scheme == from.scheme && w.port == from.port && oneLabel(from.host, w.host) {
			return true
		}
	}
	return false
}

// CheckHost reports whether, in local mode, a request with this Host header may
// pass: a name of this machine, or the host of an allowed origin, with any
// port. Anything else may be a page that pointed its own name at this machine
// (DNS rebinding): for the browser that is the same origin.
func (o Origins) CheckHost(hostHeader string) bool {
	host, _, ok := splitHost(hostHeader)
	if !ok {
		return false
	}
	if isLoopback(host) {
		return true
	}
	named := func(a origin) bool { return a.scheme != extensionScheme && a.host == host }
	matched := func(a origin) bool { return oneLabel(host, a.host) }
	return slices.ContainsFunc(o.exact, named) || slices.ContainsFunc(o.wildcard, matched)
}

// isLoopback: localhost and below (RFC 6761, section 6.3), 127.0.0.0/8, ::1.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// oneLabel: host is one label and the suffix, which begins with a dot.
func oneLabel(host, suffix string) bool {
	label, ok := strings.CutSuffix(host, suffix)
	return ok && label != "" && !strings.Contains(label, ".")
}

// isAt reports whether the origin is that of a page from this Host. A port
// that is left out is that of the origin's scheme on both sides.
func (o origin) isAt(hostHeader string) bool {
	if o.scheme == extensionScheme {
		return false
	}
	host, port, ok := splitHost(hostHeader)
	if !ok {
		return false
	}
	if port == 0 {
		port = defaultPort(o.scheme)
	}
	return o.host == host && o.port == port
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// maxOrigin bounds an Origin or Host header: a name has at most 253 bytes.
const maxOrigin = 300

// parseOrigin reads an origin as a browser serialises it (RFC 6454, section
// 6.2). It is stricter than a URL's parser: no path, no user, no query.
func parseOrigin(text string) (origin, bool) {
	if len(text) > maxOrigin {
		return origin{}, false
	}
	scheme, rest, _ := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" && scheme != extensionScheme {
		return origin{}, false
	}
	host, port, ok := splitHost(rest)
	if !ok || (scheme == extensionScheme && port != 0) {
		return origin{}, false
	}
	if port == 0 {
		port = defaultPort(scheme)
	}
	return origin{scheme, host, port}, true
}

// splitHost reads host[:port] (RFC 9110, section 7.2) and gives the host in
// lower case, an IPv6 address in its brackets. Port 0: none is given.
func splitHost(text string) (host string, port int, ok bool) {
	if len(text) > maxOrigin {
		return "", 0, false
	}
	host, portText, hasPort := text, "", false
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, portText, hasPort = text[:i], text[i+1:], true
	}
	if hasPort {
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || n == 0 {
			return "", 0, false
		}
		port = int(n)
	}
	host = strings.ToLower(host)
	if inner, bracket := strings.CutPrefix(host, "["); bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !bracket || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", 0, false
		}
		return "[" + addr.String() + "]", port, true // one spelling
	}
	return host, port, isHostName(host)
}

// isHostName: labels of letters, digits, "-" and "_", with dots between them.
// Names beyond ASCII arrive in their ASCII form (RFC 5891).
func isHostName(s string) bool {
	if s == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
