package valkey

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

func TestURLs(t *testing.T) {
	for raw, want := range map[string]struct {
		addrs                   []string
		user, password, primary string
		db                      int
		tls                     bool
	}{
		"redis://h:1":                           {addrs: []string{"h:1"}},
		"valkey://h":                            {addrs: []string{"h:6379"}},
		"redis://u:p%40@h:1/2":                  {addrs: []string{"h:1"}, user: "u", password: "p@", db: 2},
		"rediss://:p@h:1":                       {addrs: []string{"h:1"}, password: "p", tls: true},
		"redis://u:p@a:1,b:2,[::1]:3":           {addrs: []string{"a:1", "b:2", "[::1]:3"}, user: "u", password: "p"},
		"redis://a:1,b:2?master_set=m":          {addrs: []string{"a:1", "b:2"}, primary: "m"},
		"redis://h:1/":                          {addrs: []string{"h:1"}},
		"redis://:p@h/":                         {addrs: []string{"h:6379"}, password: "p"},
		"redis://h:1/?db=2":                     {addrs: []string{"h:1"}, db: 2},
		"redis://a:1,b:2/?master_set=m":         {addrs: []string{"a:1", "b:2"}, primary: "m"},
		"rediss://a:1,b:2/":                     {addrs: []string{"a:1", "b:2"}, tls: true},
		"valkeys://a:1,b:2/?master_set=m&db=3x": {},
	} {
		o, err := clientOption(raw, time.Second)
		if want.addrs == nil {
			if err == nil {
				t.Errorf("%s is accepted", raw)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if !slices.Equal(o.InitAddress, want.addrs) || o.Username != want.user || o.Password != want.password ||
			o.Sentinel.MasterSet != want.primary || o.SelectDB != want.db || (o.TLSConfig != nil) != want.tls {
			t.Errorf("%s: %v, user %q, password %q, primary %q, db %d, tls %v", raw, o.InitAddress, o.Username, o.Password,
				o.Sentinel.MasterSet, o.SelectDB, o.TLSConfig != nil)
		}
	}
}

// An error about a URL is logged: it must not show what is in it.
func TestBadURLsAreNotRepeated(t *testing.T) {
	for _, raw := range []string{
		"", "secret", "http://u:secret@h:1", "redis://u:secret@", "redis://u:secret@a:1,", "redis://u:secret@h:port", "redis://u:secret@h:1/x",
		"redis://u:secret@h:1\x7f", "redis://u:secret%zz@h:1", "redis://u:secret@a:1,b:2/3", "redis://u:secret@h:1/1/2", "redis://u:secret@h:1:2:3",
	} {
		if err := CheckURL(raw); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// refused opens a store that must not open.
func refused(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Open(ctx, Options{URL: url, Retention: store.Retention{MaxEvents: 1, MaxBytes: 1}})
	if err == nil {
		s.Close()
		t.Fatal("it opened")
	}
	if ctx.Err() != nil {
		t.Errorf("it was not refused, but waited for: %v", err)
	}
	return err
}

func TestServerThatEvictsIsRefused(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t), "maxmemory 100mb", "maxmemory-policy allkeys-lru")
	if err := refused(t, server.URL()); !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("refused with %v", err)
	}
}

func TestCredentials(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t), "user default off", "user hub on >pass ~sessionhub:* &sessionhub:* +@all -@dangerous +info +config|get +role +cluster")
	host := strings.TrimPrefix(server.URL(), "redis://")
	for _, wrong := range []string{"redis://" + host, "redis://hub:wrong@" + host} {
		if err := refused(t, wrong); strings.Contains(err.Error(), "wrong@") || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("refused with %v", err)
		}
	}
	// A user that may touch nothing but the hub's keys and channels is enough.
	s := open(t, "redis://hub:pass@"+host, "sessionhub:")
	benchSession(t, s, "s1")
	judge.Within(t, 10*time.Second, "connection", func() bool { return s.Available("") == nil })
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	valkeytest.Start(t, valkeytest.Valkey(t), fmt.Sprintf("tls-port %d", port), "tls-auth-clients no",
		"tls-cert-file "+filepath.Join(dir, "cert.pem"), "tls-key-file "+filepath.Join(dir, "key.pem"))

	url := fmt.Sprintf("rediss://127.0.0.1:%d", port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if s, err := Open(ctx, Options{URL: url, Retention: store.Retention{MaxEvents: 1, MaxBytes: 1}}); err == nil {
		s.Close()
		t.Error("a certificate that nobody knows is taken")
	}
	benchSession(t, open(t, url+"?skip_verify=true", space()), "s1")
}

// A store is opened before its server is there, and waits for it.
func TestOpenWaitsForTheServer(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Options{URL: server.URL(), Retention: store.Retention{MaxEvents: 1, MaxBytes: 1}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("open without a server: %v, want ErrUnavailable", err)
	}
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		time.Sleep(200 * time.Millisecond)
		server.Restart()
	}()
	s := open(t, server.URL(), space())
	<-restarted
	benchSession(t, s, "s1")
}

// A failure is counted under a name of Ops, or not at all.
func TestEveryFailureHasAName(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`unavailable\(ctx, "([a-z_]+)"`)
	seen := 0
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllSubmatch(text, -1) {
			if seen++; !slices.Contains(Ops, string(m[1])) {
				t.Errorf("%s: the call %q is not in Ops", source, m[1])
			}
		}
	}
	if seen < len(Ops) {
		t.Errorf("%d calls were found, and there are %d names: the pattern finds no longer what it looks for", seen, len(Ops))
	}
}
