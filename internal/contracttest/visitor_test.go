package contracttest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// What a web page can make a visitor's browser send to a hub that the browser reaches
// and the page's owner does not.

// reach turns the address of a listener on all interfaces into one to dial.
func reach(address string) string {
	return strings.NewReplacer("[::]", "127.0.0.1", "0.0.0.0", "127.0.0.1").Replace(address)
}

// admin asks the operators' listener, and gives the status and the body.
func (n *node) askAdmin(path string, header ...string) (int, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), "GET", reach(n.Admin)+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// The operators' listener answered whatever Host a request named: a page that pointed
// its own name at a person's machine could read the command line, all goroutines and
// the metrics.
func TestAdminListenerIsNotForPages(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		open  []string // Hosts that are answered
		shut  []string
	}{
		{"loopback", nil,
			[]string{"localhost:9464", "127.0.0.1:9464", "[::1]", "x.localhost"},
			[]string{"evil.example", "evil.example:9464", "127.0.0.1.evil.example", "192.0.2.1:9464", "node1:9464", "0.0.0.0"}},
		{"loopback, with names", []string{"--admin-hosts", "node1,*.pods.example.org"},
			[]string{"localhost", "node1:9464", "a.pods.example.org"},
			[]string{"evil.example", "pods.example.org", "192.0.2.1"}},
		{"everywhere", []string{"--admin-listen", "0.0.0.0:0"},
			[]string{"localhost:9464", "10.1.2.3:9464", "[2001:db8::1]:9464"},
			[]string{"evil.example", "node1:9464", "10.1.2.3.evil.example"}},
		{"everywhere, with names", []string{"--admin-listen", "0.0.0.0:0", "--admin-hosts", "hub.monitoring.svc"},
			[]string{"10.1.2.3:9464", "hub.monitoring.svc:9464"},
			[]string{"evil.example", "monitoring.svc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := serveEnv(t, []string{"SESSIONHUB_ALLOWED_ORIGINS=https://page.example"}, c.flags...)
			for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
				for _, host := range c.open {
					if status, body := n.askAdmin(path, "Host", host); status != 200 {
						t.Errorf("%s as %s: %d %s", path, host, status, body)
					}
				}
				for _, host := range c.shut {
					if status, body := n.askAdmin(path, "Host", host); status != 403 || !strings.Contains(body, "--admin-hosts") {
						t.Errorf("%s as %s: %d %.100s", path, host, status, body)
					}
				}
				for _, header := range [][]string{
					{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://localhost:1"}, {"Origin", "https://page.example"},
					{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
				} {
					if status, body := n.askAdmin(path, header...); status != 403 {
						t.Errorf("%s with %v: %d %.100s", path, header, status, body)
					}
				}
			}
			if status, _ := n.askAdmin("/metrics", "Origin", reach(n.Admin), "Sec-Fetch-Site", "same-origin"); status != 200 {
				t.Errorf("its own page: %d", status)
			}
			// Probes know the machine by any name.
			for _, path := range []string{"/healthz", "/readyz"} {
				for _, host := range append(c.open, c.shut...) {
					if status, body := n.askAdmin(path, "Host", host, "User-Agent", "kube-probe/1.31"); status != 200 {
						t.Errorf("%s as %s: %d %s", path, host, status, body)
					}
				}
			}
			if !strings.Contains(n.Log.String(), "a request to --admin-listen was refused") {
				t.Error("the log says nothing of it")
			}
		})
	}
	for _, of := range [][]string{{"serve"}, {"worker", "--hub", "http://127.0.0.1:1"}} {
		args := append(of, "--admin-listen", "127.0.0.1:0", "--admin-hosts", "good,http://bad")
		if code, out := run(t, []string{"SESSIONHUB_WORKER_KEY=a-worker-key-1"}, args...); code != 2 || !strings.Contains(out, "--admin-hosts") || !strings.Contains(out, `"http://bad"`) {
			t.Errorf("%s with a bad name: exit code %d: %s", of[0], code, out)
		}
	}
}

// A hub that everybody may use took requests of any page: one that pointed its own
// name at the hub was the same origin to the browser and to the hub.
func TestAnonymousHubIsNotForForeignPages(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_ALLOWED_ORIGINS=https://page.example"},
		"--listen", "0.0.0.0:0", "--allow-anonymous", "--public-url", "https://hub.example/base")
	n.URL = reach(n.URL)
	for name, c := range map[string]struct {
		header []string
		open   bool
	}{
		"curl":                           {nil, true},
		"curl by a name":                 {[]string{"Host", "any.example"}, true},
		"curl by an address":             {[]string{"Host", "192.0.2.1:8080"}, true},
		"its own page at an address":     {[]string{"Origin", n.URL, "Sec-Fetch-Site", "same-origin"}, true},
		"its own page at another one":    {[]string{"Host", "192.0.2.1:8080", "Origin", "http://192.0.2.1:8080"}, true},
		"its own page at a local name":   {[]string{"Host", "nas:8080", "Origin", "http://nas:8080"}, true},
		"its own page at an mDNS name":   {[]string{"Host", "hub.local", "Origin", "http://hub.local"}, true},
		"its own page at the public URL": {[]string{"Host", "hub.example", "Origin", "https://hub.example", "Sec-Fetch-Site", "same-origin"}, true},
		"a page of the same site":        {[]string{"Sec-Fetch-Site", "same-site"}, true},
		"an allowed page":                {[]string{"Origin", "https://page.example", "Sec-Fetch-Site", "cross-site"}, true},
		"a page that rebinds its name":   {[]string{"Host", "evil.example", "Origin", "http://evil.example"}, false},
		"the same, with the port":        {[]string{"Host", "evil.example:8080", "Origin", "http://evil.example:8080", "Sec-Fetch-Site", "same-origin"}, false},
		"a page elsewhere":               {[]string{"Origin", "https://evil.example"}, false},
		"a form elsewhere":               {[]string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, false},
		"a page that hides its origin":   {[]string{"Sec-Fetch-Site", "cross-site"}, false},
		"a link to the API":              {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, false},
	} {
		for _, call := range [][3]string{{"POST", "/api/sessions", `{}`}, {"GET", "/api/sessions", ""}} {
			r := n.call(call[0], call[1], call[2], c.header...)
			if c.open && r.StatusCode >= 300 {
				t.Errorf("%s: %s: %d %s", name, call[0], r.StatusCode, r.Body)
			} else if err := r.Problem(403, protocol.CodeOriginRefused); !c.open && err != nil {
				t.Errorf("%s: %s: %v", name, call[0], err)
			}
		}
	}
	// A link on another site opens the dashboard.
	if r := n.call("GET", "/", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"); r.StatusCode != 200 {
		t.Errorf("a link to the dashboard: %d %s", r.StatusCode, r.Body)
	}
	// A hub on a person's machine takes nothing that a page elsewhere caused, either.
	local := serve(t)
	local.refused(403, protocol.CodeOriginRefused, "GET", "/api/sessions", "", "Sec-Fetch-Site", "cross-site")
	if r := local.call("GET", "/api/sessions", "", "Sec-Fetch-Site", "none"); r.StatusCode != 200 {
		t.Errorf("a person who types the address: %d", r.StatusCode)
	}
	// With a key the key decides.
	keyed := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-of-the-service"})
	if r := keyed.call("GET", "/api/sessions", "", "X-API-Key", "key-of-the-service", "Host", "any.example", "Origin", "https://any.example", "Sec-Fetch-Site", "cross-site"); r.StatusCode != 200 {
		t.Errorf("with a key: %d %s", r.StatusCode, r.Body)
	}
}
