package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/config"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
)

// A node that waits for its Valkey refuses connections, where a listener that
// nobody serves would leave them without an answer, and ends at once when told to.
func TestNodeThatWaitsForItsStore(t *testing.T) {
	addr, admin, valkey := unusedAddress(t), unusedAddress(t), unusedAddress(t)
	cfg, err := config.Parse([]string{
		"--listen", addr, "--admin-listen", admin, "--workspace-root", t.TempDir(), "--valkey-url", "redis://" + valkey,
	}, func(name string) (string, bool) { v, ok := clusterEnv[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	said := &hubtest.Buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, cfg, slog.New(slog.NewJSONHandler(said, nil)), io.Discard, nil)
	}()
	judge.Within(t, 10*time.Second, "word that it waits", func() bool { return strings.Contains(said.String(), "does not answer yet") })
	for _, a := range []string{addr, admin} {
		if conn, err := net.Dial("tcp", a); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a connection meanwhile: %v, want it refused", err)
			if err == nil {
				_ = conn.Close()
			}
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("a node that was told to end: %v", err)
		}
	case <-time.After(patience):
		t.Error("it waits on, long after it was told to end")
		<-ended
	}
}

// unusedAddress is one that nobody listens on.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
