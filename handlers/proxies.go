package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Proxies are the proxies that may name the address of a request's client. They may name
// nothing else: Config.PublicURL says under which address and scheme people reach the hub.
// Proxies is immutable; the zero value trusts nobody.
type Proxies struct{ trusted []netip.Prefix }

// ParseProxies reads addresses and CIDRs. It ignores empty entries. Its error names every
// bad entry.
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	var errs []error
	for _, text := range list {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := parsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%.60q is no address: want one such as 10.0.0.1, or many as 10.0.0.0/8", text))
			continue
		}
		p.trusted = append(p.trusted, prefix)
	}
	if err := errors.Join(errs...); err != nil {
		return Proxies{}, err
	}
	return p, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if addr := prefix.Addr(); err == nil && addr.Is4In6() { // peers are compared unmapped
		return addr.Unmap().Prefix(prefix.Bits() - 96)
	}
	return prefix, err
}

func (p Proxies) trust(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(addr) })
}

// client is the address of the client: the last address in X-Forwarded-For that is not a
// trusted proxy. Each proxy adds the address that it has seen at the end; the client may
// have written the entries before. An entry that cannot be read ends the search. The values
// are those of all such headers, in order.
func (p Proxies) client(peer netip.Addr, forwarded [][]byte) netip.Addr {
	client := peer
	for _, value := range slices.Backward(forwarded) {
		for more := true; more; {
			if !p.trust(client) {
				return client
			}
			comma := bytes.LastIndexByte(value, ',')
			addr, ok := parseHop(string(bytes.TrimSpace(value[comma+1:])))
			if !ok {
				return client
			}
			client = addr
			value, more = value[:max(comma, 0)], comma >= 0
		}
	}
	return client
}

// parseHop reads one entry. Some proxies add a port.
func parseHop(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		with, portErr := netip.ParseAddrPort(text)
		addr, err = with.Addr(), portErr
	}
	return addr.Unmap().WithZone(""), err == nil
}

// remote is where a request comes from, for the log: the peer with its port, or the client
// that a trusted proxy names.
func (s *Server) remote(c *fiber.Ctx) net.Addr {
	peer := c.Context().RemoteAddr()
	tcp, ok := peer.(*net.TCPAddr)
	if !ok || len(s.cfg.Proxies.trusted) == 0 {
		return peer
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if client := s.cfg.Proxies.client(addr, c.Request().Header.PeekAll(fiber.HeaderXForwardedFor)); client != addr {
		return &net.IPAddr{IP: client.AsSlice()}
	}
	return peer
}
