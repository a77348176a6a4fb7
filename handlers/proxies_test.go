package handlers

import (
	"net/netip"
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
