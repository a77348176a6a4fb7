package auth

import (
	"slices"
	"strings"
	"testing"
)

func origins(t testing.TB, list ...string) Origins {
	t.Helper()
	o, err := ParseOrigins(list)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOriginCheck(t *testing.T) {
	o := origins(t, "https://app.example.com", " HTTP://Dev.example.com:3000", "", "https://*.example.org",
		"https://*.example.net:8443", "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "http://[::1]:9000")
	const host = "hub.example.com:8080"
	for _, c := range []struct {
		origin, host string
		ok           bool
	}{
		// no page, the same origin
		{"", host, true},
		{"", "", true},
		{"http://hub.example.com:8080", host, true},
		{"https://hub.example.com:8080", host, true}, // a proxy ended TLS
		{"https://HUB.example.com:8080", "hub.EXAMPLE.com:8080", true},
		{"https://hub.example.com", "hub.example.com", true},
		{"https://hub.example.com", "hub.example.com:443", true},
		{"http://hub.example.com:80", "hub.example.com", true},
		{"http://[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", true},
		{"https://hub.example.com", "hub.example.com:80", false},
		{"http://hub.example.com", host, false},
		{"http://hub.example.com:8081", host, false},
		{"http://example.com:8080", host, false},
		{"http://evil.com", "", false},
		{"chrome-extension://hub", "hub", false},

		// the list
		{"https://app.example.com", host, true},
		{"https://app.example.com:443", host, true},
		{"https://app.example.com:444", host, false},
		{"http://app.example.com", host, false},
		{"http://dev.example.com:3000", host, true},
		{"http://dev.example.com", host, false},
		{"https://app.example.com.evil.com", host, false},
		{"https://evilapp.example.com", host, false},
		{"https://a.example.org", host, true},
		{"https://A-1.example.org", host, true},
		{"http://a.example.org", host, false},
		{"https://a.b.example.org", host, false},
		{"https://example.org", host, false},
		{"https://.example.org", host, false},
		{"https://evilexample.org", host, false},
		{"https://a.example.net:8443", host, true},
		{"https://a.example.net", host, false},
		{"http://[::1]:9000", host, true},
		{"chrome-extension://abcdefghijklmnopabcdefghijklmnop", host, true},
		{"chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba", host, false},
		{"https://abcdefghijklmnopabcdefghijklmnop", host, false},

		// what is no origin
		{"null", host, false},
		{"null", "null", false},
		{"file://", host, false},
		{"hub.example.com:8080", host, false},
		{"//hub.example.com:8080", host, false},
		{"https://app.example.com/", host, false},
		{"https://app.example.com/x", host, false},
		{"https://app.example.com?x", host, false},
		{"https://u@app.example.com", host, false},
		{"https://app.example.com, https://evil.com", host, false},
		{"https://app.example.com https://evil.com", host, false},
		{"https://*.example.org", host, false},
		{"https://app.example.com:0443", host, true}, // no browser writes it; the same number
		{"https://app.example.com:", host, false},
		{"https://app.example.com:x", host, false},
		{"https://app.example.com:99999", host, false},
		{"https://app.example.com.", host, false},
		{"ws://hub.example.com:8080", host, false},
		{"https://" + strings.Repeat("a", 400) + ".example.org", host, false},
	} {
		if got := o.Check(c.origin, c.host); got != c.ok {
			t.Errorf("Check(%q, %q) = %v, want %v", c.origin, c.host, got, c.ok)
		}
	}
	if (Origins{}).Check("https://app.example.com", host) {
		t.Error("the empty list allows another origin")
	}
}

func TestHostCheck(t *testing.T) {
	o := origins(t, "https://hub.example.com", "https://*.example.org:8443", "chrome-extension://abc", "http://10.0.0.5:8080")
	for host, ok := range map[string]bool{
		"localhost":                             true,
		"LOCALHOST:8080":                        true,
		"a.localhost:1":                         true,
		"a.b.localhost":                         true,
		"127.0.0.1":                             true,
		"127.0.0.1:8080":                        true,
		"127.255.1.2:8080":                      true,
		"[::1]":                                 true,
		"[::1]:8080":                            true,
		"[0:0:0:0:0:0:0:1]:80":                  true,
		"hub.example.com":                       true,
		"Hub.example.com:9":                     true,
		"a.example.org:1":                       true,
		"10.0.0.5":                              true,
		"":                                      false,
		":8080":                                 false,
		"evil.com":                              false,
		"evil.com:8080":                         false,
		"localhost.evil.com":                    false,
		"evillocalhost":                         false,
		".localhost":                            false,
		"localhost.":                            false,
		"127.0.0.1.evil.com":                    false,
		"127.0.0.1.":                            false,
		"127.1":                                 false,
		"0127.0.0.1":                            false,
		"2130706433":                            false,
		"0.0.0.0:8080":                          false,
		"128.0.0.1":                             false,
		"10.0.0.6":                              false,
		"::1":                                   false,
		"[::1":                                  false,
		"::1]":                                  false,
		"[::2]":                                 false,
		"[::1%lo]":                              false,
		"[::1]x":                                false,
		"[127.0.0.1]":                           false,
		"abc":                                   false,
		"example.org":                           false,
		"a.b.example.org":                       false,
		"localhost:0":                           false,
		"localhost:":                            false,
		"localhost:x":                           false,
		"localhost:8080:8080":                   false,
		"localhost/":                            false,
		"local host":                            false,
		"evil.com@localhost":                    false,
		"localhost\x00":                         false,
		"localhost,evil.com":                    false,
		strings.Repeat("a.", 200) + "localhost": false,
	} {
		if got := o.CheckHost(host); got != ok {
			t.Errorf("CheckHost(%q) = %v, want %v", host, got, ok)
		}
	}
}

func TestParseOriginsNamesEveryBadOne(t *testing.T) {
	bad := []string{"*", "null", "example.com", "https://", "https://*", "https://*.", "https://*.*.example.com",
		"https://a.*.com", "https://*a.com", "https://example.com/", "ftp://example.com", "https://exa mple.com",
		"chrome-extension://*.abc", "chrome-extension://abc:1", "https://*.10.0.0.1", "https://*.[::1]",
		"https://example.com:0", "https://ü.example"}
	_, err := ParseOrigins(slices.Concat([]string{"https://good.example"}, bad))
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range bad {
		if !strings.Contains(err.Error(), `origin "`+text+`": `) {
			t.Errorf("%q is not named", text)
		}
	}
	if strings.Contains(err.Error(), "good.example") {
		t.Errorf("the good one is named: %v", err)
	}
}

func FuzzHostCheck(f *testing.F) {
	for _, seed := range []string{"localhost:8080", "[::1]:1", "127.0.0.1", "a.example.org", "[::1%25lo]"} {
		f.Add(seed)
	}
	o := origins(f, "https://hub.example.com", "https://*.example.org")
	f.Fuzz(func(t *testing.T, host string) {
		if !o.CheckHost(host) {
			return
		}
		name := strings.ToLower(host)
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, ']') {
			name = name[:i]
		}
		if name != "localhost" && !strings.HasSuffix(name, ".localhost") && name != "hub.example.com" &&
			!strings.HasSuffix(name, ".example.org") && !strings.HasPrefix(name, "127.") && !strings.HasPrefix(name, "[") {
			t.Fatalf("%q passed", host)
		}
	})
}

func FuzzOrigins(f *testing.F) {
	f.Add("https://*.example.org", "https://a.example.org", "hub:8080")
	f.Add("chrome-extension://abc", "chrome-extension://abc", "abc")
	f.Add("https://example.org:8443", "null", "")
	f.Fuzz(func(t *testing.T, pattern, from, host string) {
		o, err := ParseOrigins([]string{pattern})
		if err != nil {
			return
		}
		if strings.TrimSpace(pattern) != "" && !strings.Contains(pattern, "*") && !o.Check(strings.TrimSpace(pattern), host) {
			t.Fatalf("%q does not allow itself", pattern)
		}
		if from == "" || !o.Check(from, host) {
			return
		}
		if _, ok := parseOrigin(from); !ok {
			t.Fatalf("%q passed for %q and is no origin", from, pattern)
		}
		if (Origins{}).Check(from, host) {
			return // the same origin
		}
		if _, name, _ := strings.Cut(strings.TrimSpace(pattern), "*"); !strings.Contains(strings.ToLower(from), strings.ToLower(strings.SplitN(name, ":", 2)[0])) {
			t.Fatalf("%q passed for %q", from, pattern)
		}
	})
}
