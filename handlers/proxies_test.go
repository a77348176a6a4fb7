package handlers

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestClientBehindProxies(t *testing.T) {
	p, err := ParseProxies([]string{"10.0.0.0/8", " 192.0.2.7 ", "", "2001:db8::/32", "::ffff:198.18.0.0/111", "::ffff:192.0.2.8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, peer string
		headers    []string
		want       string
	}{
		{"a stranger is not believed", "198.51.100.1", []string{"203.0.113.9"}, "198.51.100.1"},
		{"a proxy that says nothing", "10.0.0.1", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what a client has written", "10.0.0.1", []string{"10.9.9.9, 192.0.2.1, 203.0.113.9"}, "203.0.113.9"},
		{"what a client has written in a header of its own", "10.0.0.1", []string{"192.0.2.1", "203.0.113.9"}, "203.0.113.9"},
		{"several proxies", "10.0.0.1", []string{"203.0.113.9,192.0.2.7", "192.0.2.8 , 10.1.1.1"}, "203.0.113.9"},
		{"proxies only", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", "10.0.0.1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"version 6", "2001:db8::1", []string{"2001:db8::2, [2001:470::5]:4711"}, "2001:470::5"},
		{"version 4 in 6", "10.0.0.1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"a net of version 4 in 6", "198.19.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"garbage", "10.0.0.1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"garbage alone", "10.0.0.1", []string{"_hidden"}, "10.0.0.1"},
		{"nothing between commas", "10.0.0.1", []string{"203.0.113.9,,"}, "10.0.0.1"},
		{"an empty header", "10.0.0.1", []string{"203.0.113.9", ""}, "10.0.0.1"},
	} {
		var values [][]byte
		for _, h := range test.headers {
			values = append(values, []byte(h))
		}
		if got := p.client(netip.MustParseAddr(test.peer), values); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if got := (Proxies{}).client(netip.MustParseAddr("127.0.0.1"), [][]byte{[]byte("203.0.113.9")}); got.String() != "127.0.0.1" {
		t.Errorf("with no trusted proxy the client is %s", got)
	}
}

func TestBadProxiesAreAllNamed(t *testing.T) {
	_, err := ParseProxies([]string{"10.0.0.1", "proxy.example.org", "10.0.0.0/33"})
	if err == nil || !strings.Contains(err.Error(), "proxy.example.org") || !strings.Contains(err.Error(), "10.0.0.0/33") {
		t.Error(err)
	}
}

// FuzzForwardedFor: whatever the headers hold, the client is the peer or an address
// that stands in them, and all on the way to it are trusted proxies. Each line of
// headers is one header.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range [][3]string{
		{"10.0.0.0/8", "10.0.0.1", "203.0.113.9"},
		{"10.0.0.0/8", "198.51.100.1", "10.0.0.2"},
		{"10.0.0.0/8,192.0.2.7", "10.0.0.1", "10.9.9.9, 192.0.2.1, 203.0.113.9,192.0.2.7\n 10.1.1.1"},
		{"10.0.0.0/8", "10.0.0.1", "203.0.113.9:4711, 10.0.0.2:80, 10.0.0.3:65536"},
		{"2001:db8::/32", "2001:db8::1", "[2001:470::5]:4711, [2001:db8::2]:1, 2001:db8::3"},
		{"fe80::/10,fe80::1%eth0", "fe80::1%eth0", "2001:470::5%eth0, fe80::2%1, [fe80::3%lo]:80"},
		{"::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "::ffff:203.0.113.9, ::ffff:10.0.0.2, [::ffff:10.0.0.3]:80"},
		{"0.0.0.0/0,::/0", "127.0.0.1", "1.1.1.1,::1,,2.2.2.2"},
		{"10.0.0.1", "10.0.0.1", strings.Repeat(",", 5000)},
		{"10.0.0.1", "10.0.0.1", strings.Repeat("10.0.0.1,", 500) + "10.0.0.1"},
		{"10.0.0.1", "10.0.0.1", "\n\n"},
		{"10.0.0.1", "10.0.0.1", "unknown, _hidden, 10.0.0.1;x, \x00, 10.0.0.1 10.0.0.2, 010.0.0.1, 0x7f.1, [::1], \"10.0.0.1\""},
		{"", "127.0.0.1", "203.0.113.9"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, trusted, from, headers string) {
		p, err := ParseProxies(strings.Split(trusted, ","))
		if err != nil {
			return
		}
		peer, err := netip.ParseAddr(from)
		if err != nil {
			return
		}
		peer = peer.Unmap().WithZone("")
		var values [][]byte
		for h := range strings.SplitSeq(headers, "\n") {
			values = append(values, []byte(h))
		}
		got := p.client(peer, values)

		// Several headers are one list (RFC 9110, section 5.3), the nearest last.
		hops := []netip.Addr{peer}
		for _, entry := range slices.Backward(strings.Split(strings.Join(strings.Split(headers, "\n"), ","), ",")) {
			addr, ok := parseHop(strings.TrimSpace(entry))
			if !ok {
				break
			}
			hops = append(hops, addr)
		}
		i := slices.IndexFunc(hops, func(a netip.Addr) bool { return !p.trust(a) })
		if i < 0 {
			i = len(hops) - 1 // proxies all the way
		}
		if got != hops[i] {
			t.Fatalf("the client is %s, want %s: %d of %v", got, hops[i], i, hops)
		}
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%s cannot be compared with others", got)
		}
		if got != peer && !p.trust(peer) {
			t.Fatalf("%s was believed, which is no proxy of ours", peer)
		}
	})
}
