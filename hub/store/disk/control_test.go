package disk

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The socket is for its owner alone, is there in the deepest directory, comes in the
// place of one that a killed node has left, and goes with the node.
func TestControlSocket(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 20), "data")
	if len(deep) < 200 {
		t.Fatal("it is not deep")
	}
	for _, dir := range []string{t.TempDir(), deep} {
		s := openAt(t, dir, nil)
		s.Close()
		path := filepath.Join(dir, controlSocket)
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket outlives its node")
		}
		listener, err := listenControl(dir)
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close() // and nobody removes it
		if _, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, controlSocket+".new", "x"), "of one that was killed even earlier")
		s = openAt(t, dir, nil)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if made, err := Backup(t.Context(), dir, filepath.Join(t.TempDir(), "copy")); err != nil || !made.Running {
			t.Errorf("%+v, %v", made, err)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 3 { // control, format, sessions
			t.Errorf("the directory holds %v, %v", names, err)
		}
		s.Close()
	}
}

// What is no order is answered with the end of the connection, and more than a few
// connections at once are not served. The next order is.
func TestOrdersThatAreNone(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, nil)
	dial := func() net.Conn {
		t.Helper()
		conn, err := dialControl(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for _, text := range []string{"\n", "null and void\n", strings.Repeat("x", maxOrder) + "\n", `{"backup":1}` + "\n"} {
		conn := dial()
		_, _ = conn.Write([]byte(text)) // it may be closed in the middle
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%.20q is answered with %q", text, got)
		}
	}
	for text, want := range map[string]string{
		`{"from a later version":1}` + "\n": "{}\n",
		`{"backup":"relative"}` + "\n":      "not an absolute path",
	} {
		conn := dial()
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 1000)
		n, err := conn.Read(line)
		if err != nil || !bytes.Contains(line[:n], []byte(want)) {
			t.Errorf("%q is answered with %q, %v", text, line[:n], err)
		}
	}
	var silent []net.Conn
	for range maxOrders {
		silent = append(silent, dial())
	}
	over := dial()
	if got, err := io.ReadAll(over); len(got) > 0 || err != nil { // it is closed at once
		t.Errorf("one too many gets %q, %v", got, err)
	}
	s.Close() // which ends the silent ones
	for _, conn := range silent {
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("a silent one gets %q", got)
		}
	}
}

// A directory that no socket can be in keeps a store all the same, and the command
// says why it cannot do more.
func TestNoControlSocket(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, formatFile), "1\n")
	if err := os.MkdirAll(filepath.Join(dir, controlSocket, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir, nil)
	create(t, s, "s1")
	if _, err := Backup(t.Context(), dir, filepath.Join(t.TempDir(), "copy")); err == nil || !strings.Contains(err.Error(), "does not take orders") {
		t.Errorf("the error is %v", err)
	}
}
