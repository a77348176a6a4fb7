package app

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/config"
	"sessionhub/internal/testkit/judge"
)

// A node whose disk hangs while it starts ends when it is told to. It was deaf to
// SIGTERM, and whoever had started it had to kill it. A file that is a pipe hangs as a
// file on such a disk does.
func TestNodeThatWaitsForItsDisk(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "format")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", t.TempDir(), "--data-dir", dir,
	}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, cfg, slog.New(slog.DiscardHandler), io.Discard, nil) }()
	var disk *os.File
	judge.Within(t, 10*time.Second, "the node reads", func() bool {
		disk, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails until somebody reads
		return err == nil
	})
	defer disk.Close() // the read ends
	select {
	case err := <-ended:
		t.Fatalf("the node did not wait for its disk: %v", err)
	default:
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("a node that was told to end: %v", err)
		}
	case <-time.After(patience):
		t.Error("it waits on, long after it was told to end")
		_ = disk.Close()
		<-ended
	}
}
