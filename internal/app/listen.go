package app

import (
	"net"
	"net/netip"
)

// listen opens a listener on host:port. An IPv4 address is IPv4 alone, 0.0.0.0 too:
// Go would take IPv6 along. [::] and no host at all are both, where the machine has
// IPv6; any other IPv6 address is that one alone.
func listen(address string) (net.Listener, error) {
	network := "tcp"
	if host, _, err := net.SplitHostPort(address); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
			network = "tcp4"
		}
	}
	return net.Listen(network, address)
}
