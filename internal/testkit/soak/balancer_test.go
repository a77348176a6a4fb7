package soak

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// A balancer passes over what takes no connection, and goes on to what comes back.
func TestBalancerFindsANodeThatLives(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := node.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(conn, conn) // until the other side ends
				_ = conn.Close()
			})
		}
	})
	b, err := newBalancer(func() []string { return []string{dead.Addr().String(), node.Addr().String()} })
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.Dial("tcp", b.addr())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(judge.Patience))
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		if echo, err := io.ReadAll(conn); string(echo) != "hello" || err != nil {
			t.Fatalf("echo %q, %v", echo, err)
		}
		_ = conn.Close()
	}
	open, err := net.Dial("tcp", b.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	b.Close() // cuts what is open
	_ = open.SetDeadline(time.Now().Add(judge.Patience))
	if _, err := io.ReadAll(open); err != nil && err.(net.Error).Timeout() {
		t.Error("a connection outlives its balancer")
	}
	_ = node.Close()
	wg.Wait()
}
