package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/need"
)

// certificate is one for this machine that a test makes for itself.
type certificate struct {
	pem, key, both string // files
	pool           *x509.CertPool
}

func makeCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sessionhub test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	c := certificate{pem: filepath.Join(dir, "hub.pem"), key: filepath.Join(dir, "hub.key"), both: filepath.Join(dir, "both.pem"), pool: x509.NewCertPool()}
	c.pool.AppendCertsFromPEM(certPEM)
	for path, text := range map[string][]byte{c.pem: certPEM, c.key: keyPEM, c.both: append(certPEM, keyPEM...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// frontDoor is a real proxy that runs a file of deploy/proxy, at another address and
// with another certificate.
type frontDoor struct {
	t    *testing.T
	argv []string
	addr string
	cert certificate
	cmd  *exec.Cmd
	log  *hubtest.Buffer
}

// frontDoors say how each proxy runs: what in its file is replaced, what else has to
// stand around it, and how it is started. DIR is a directory of the test's own.
var frontDoors = map[string]struct {
	program need.Program
	file    string
	replace func(addr, hub string, c certificate) []string
	around  string // with FILE where the file stands
	argv    []string
}{
	"nginx": {
		program: need.Nginx, file: "nginx.conf",
		replace: func(addr, hub string, c certificate) []string {
			return []string{"listen 443", "listen " + addr, "127.0.0.1:8080", hub,
				"/etc/ssl/hub.example.org.pem", c.pem, "/etc/ssl/hub.example.org.key", c.key}
		},
		around: "daemon off;\npid DIR/pid;\nerror_log DIR/error.log;\nworker_processes 1;\nUSER\nevents {}\nhttp {\naccess_log off;\n" +
			"client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;\nFILE\n}\n",
		argv: []string{"-p", "DIR", "-e", "DIR/error.log", "-c", "CONFIG"},
	},
	"caddy": {
		program: need.Caddy, file: "Caddyfile",
		replace: func(addr, hub string, c certificate) []string {
			return []string{"grace_period 5s", "grace_period 500ms\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tstorage file_system DIR/storage",
				"\nhub.example.org {", "\nhttps://" + addr + " {\n\ttls " + c.pem + " " + c.key, "127.0.0.1:8080", hub}
		},
		around: "FILE",
		argv:   []string{"run", "--adapter", "caddyfile", "--config", "CONFIG"},
	},
	"haproxy": {
		program: need.HAProxy, file: "haproxy.cfg",
		replace: func(addr, hub string, c certificate) []string {
			return []string{"bind :443", "bind " + addr, "127.0.0.1:8080", hub, "/etc/ssl/hub.example.org.both.pem", c.both}
		},
		around: "FILE",
		argv:   []string{"-db", "-f", "CONFIG"},
	},
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// openDoor starts a proxy at an address before a hub.
func openDoor(t *testing.T, name, addr, hub string) *frontDoor {
	t.Helper()
	kind := frontDoors[name]
	program := kind.program.Path(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "proxy", kind.file))
	if err != nil {
		t.Fatal(err)
	}
	d := &frontDoor{t: t, addr: addr, cert: makeCertificate(t), log: &hubtest.Buffer{}}
	replace := kind.replace(addr, hub, d.cert)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("%s has no %q any more: the test would run another file", kind.file, replace[i])
		}
	}
	dir, user := t.TempDir(), ""
	if os.Getuid() == 0 {
		user = "user root;" // else it gives up its rights, and cannot read what is the test's own
	}
	config := strings.Replace(kind.around, "FILE", strings.NewReplacer(replace...).Replace(string(text)), 1)
	config = strings.NewReplacer("DIR", dir, "USER", user).Replace(config)
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.argv = append([]string{program}, kind.argv...)
	for i, a := range d.argv {
		d.argv[i] = strings.NewReplacer("DIR", dir, "CONFIG", path).Replace(a)
	}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, d.log)
		}
	})
	d.start()
	return d
}

// start runs the proxy and waits until it takes connections.
func (d *frontDoor) start() {
	d.t.Helper()
	d.cmd = exec.Command(d.argv[0], d.argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.Env = append(os.Environ(), "HOME="+d.t.TempDir())
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: d.cert.pool})
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s does not answer: %v\n%s", d.argv[0], err, d.log)
		}
	}
}

// stop ends the proxy and its children, which are a process group.
func (d *frontDoor) stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) })
	_ = d.cmd.Wait()
	kill.Stop()
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // what was left of it
	d.cmd = nil
}

// client reaches the hub through the proxy.
func (d *frontDoor) client(key string) *client.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.cert.pool}, ForceAttemptHTTP2: true}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &client.Client{BaseURL: "https://" + d.addr, APIKey: key, HTTPClient: &http.Client{Transport: transport}}
}
