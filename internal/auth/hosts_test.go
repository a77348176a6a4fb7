package auth

import (
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	h, err := ParseHosts([]string{"node1", " Hub.Example.org ", "*.pods.example.org", "::1", "10.0.0.7", ""})
	if err != nil {
		t.Fatal(err)
	}
	for host, ok := range map[string]bool{
		"node1": true, "NODE1:9464": true, "hub.example.org:1": true, "a.pods.example.org": true, "[::1]:9464": true, "10.0.0.7": true,
		"": false, "node2": false, "example.org": false, "pods.example.org": false, "a.b.pods.example.org": false,
		"xpods.example.org": false, "10.0.0.8": false, "node1.": false, "node1:x": false, "node1/": false,
	} {
		if h.Check(host) != ok {
			t.Errorf("%q: %v", host, !ok)
		}
	}
	if (Hosts{}).Check("localhost") {
		t.Error("an empty list has a host")
	}
	_, err = ParseHosts([]string{"a:1", "ok", "http://b", "*", "*.", "*.10.0.0.1", "c/d", "a b", "x.*.y"})
	for _, bad := range []string{`"a:1"`, `"http://b"`, `"*"`, `"*."`, `"*.10.0.0.1"`, `"c/d"`, `"a b"`, `"x.*.y"`} {
		if err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%v does not name %s", err, bad)
		}
	}
	if err != nil && strings.Contains(err.Error(), `"ok"`) {
		t.Errorf("%v names a good one", err)
	}
}

func TestHostKinds(t *testing.T) {
	for host, want := range map[string][2]bool{
		"localhost:1": {true, false}, "a.localhost": {true, false}, "127.0.0.9": {true, true}, "[::1]:2": {true, true},
		"192.0.2.1:80": {false, true}, "[2001:db8::1]": {false, true}, "0.0.0.0": {false, true},
		"localhost.evil.example": {false, false}, "127.0.0.1.evil.example": {false, false}, "": {false, false}, "[::1": {false, false},
	} {
		if got := [2]bool{IsLoopbackHost(host), IsAddressHost(host)}; got != want {
			t.Errorf("%q: loopback and address %v, want %v", host, got, want)
		}
	}
	for host, want := range map[string]bool{
		"nas": true, "hub.local": true, "a.b.internal": true, "x.home.arpa": true,
		"hub.example": false, "local.example": false, "evil.xlocal": false,
	} {
		if isPrivateName(host) != want {
			t.Errorf("%q: private %v", host, !want)
		}
	}
}
