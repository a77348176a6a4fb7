package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should happen at once; stillness is how long nothing may
// happen where nothing should.
const (
	patience  = 10 * time.Second
	stillness = 300 * time.Millisecond
)

// start makes a server that echoes, and a proxy before it.
func start(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	p, err := faultproxy.New(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		_ = p.Close()
		_ = l.Close()
		wg.Wait()
	})
	return p
}

func dial(t *testing.T, p *faultproxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends a text and wants it back.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	send(t, c, text)
	hear(t, c, text)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("heard %q, %v; want %q", buf, err, text)
	}
}

// silent wants nothing to come for a while.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(stillness))
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("heard %d bytes, %v; want silence", n, err)
	}
}

// ended wants a reset, or the end.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection goes on: %v", err)
	}
}

func TestPassesBytesAndTheirEnd(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	text := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB: more than any buffer
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, []byte(text)) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	judge.Within(t, patience, "of one connection none is left", func() bool {
		now, total := p.Connections()
		return now == 0 && total == 1
	})
}

func TestCutResetsWhatIsThere(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	say(t, c, "one")
	p.Cut()
	ended(t, c)
	say(t, dial(t, p), "two")
}

func TestRefuseCutsWhatComes(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	say(t, c, "one")
	p.Refuse(true)
	ended(t, c)
	// The reset may be there before the dial has its connection.
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		defer c.Close()
		ended(t, c)
	}
	p.Heal()
	say(t, dial(t, p), "two")
}

func TestFreezeHoldsAndLosesNothing(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	say(t, c, "one")
	p.Freeze(true)
	send(t, c, "two")
	silent(t, c)
	p.Freeze(false)
	hear(t, c, "two")
}

// A peer that goes away behind a frozen network is missed later.
func TestFreezeHoldsTheNewsOfAnEnd(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	say(t, c, "one")
	p.Freeze(true)
	_ = c.Close()
	time.Sleep(stillness)
	if now, _ := p.Connections(); now != 1 {
		t.Fatalf("%d connections", now)
	}
	p.Freeze(false)
	judge.Within(t, patience, "the end comes through", func() bool {
		now, _ := p.Connections()
		return now == 0
	})
}

func TestSlowHoldsTheRate(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	p.Slow(10_000)
	began := time.Now()
	say(t, c, strings.Repeat("x", 5_000))
	// 0.5 s each way, the pieces of both overlapping.
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("5,000 bytes at 10,000 a second took %v", took)
	}
	p.Slow(0)
	say(t, c, strings.Repeat("y", 1<<20)[:100_000])
}

func TestDropHalfOpens(t *testing.T) {
	for name, d := range map[string]faultproxy.Direction{"to the server": faultproxy.ToServer, "to the client": faultproxy.ToClient} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			c, idle := dial(t, p), dial(t, p)
			say(t, c, "one")
			say(t, idle, "one")
			p.Drop(d, true)
			send(t, c, "lost") // it goes out as if all was well
			silent(t, c)
			p.Drop(d, false)
			ended(t, c)         // a stream with a hole never goes on
			say(t, idle, "two") // one that has lost nothing does
		})
	}
}

// What is asked side by side is answered by one Release, on one connection and on two.
func TestHoldCountsWaits(t *testing.T) {
	p := start(t)
	a, b := dial(t, p), dial(t, p)
	say(t, a, "one")
	say(t, b, "one")
	p.Hold(true)
	send(t, a, "two")
	silent(t, a)
	send(t, a, "three")
	send(t, b, "two")
	judge.Within(t, patience, "both answers wait", func() bool { return p.Held() == 2 })
	time.Sleep(stillness) // the second one of a lies behind the first
	p.Release()
	hear(t, a, "twothree")
	hear(t, b, "two")
	send(t, a, "four")
	judge.Within(t, patience, "the next answer waits", func() bool { return p.Held() == 1 })
	p.Hold(false)
	hear(t, a, "four")
	say(t, a, "five")
}
