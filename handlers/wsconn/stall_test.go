package wsconn

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// stalledConn opens a connection whose client does not read, and a writer that waits because of it.
func stalledConn(t *testing.T, opts Options) (*server, *client, *Conn, chan error) {
	t.Helper()
	conns := make(chan *Conn, 1)
	s := start(t, handlers{opts: opts, ws: func(c *Conn) { conns <- c; drain(c) }})
	c := s.openWith(t, smallWindow(8<<10))
	conn := receive(t, "serve", conns)
	wrote := make(chan error, 1)
	go func() { wrote <- flood(conn) }()
	t.Cleanup(conn.Cut)
	judge.Within(t, patience, "the writer waits", func() bool { return conn.WaitingSince() != 0 })
	return s, c, conn, wrote
}

func TestCutFreesAStalledWriterAndResetsTheClient(t *testing.T) {
	s, c, conn, wrote := stalledConn(t, Options{})
	begin := time.Now()
	conn.Cut()
	if err := receive(t, "the writer", wrote); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the writer ended with %v", err)
	}
	judge.AtMost(t, "the cut", time.Since(begin), time.Second)
	if conn.WaitingSince() != 0 || conn.Stalled(0) {
		t.Error("a write still seems to wait")
	}
	if _, err := io.Copy(io.Discard, c.Conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
	judge.Within(t, patience, "serve ends", func() bool { return s.ended.Load() == 1 })
	if err := conn.WriteFrames(text("x")); err == nil {
		t.Error("wrote after the cut")
	}
	conn.Cut() // twice is fine
}

func TestCloseBehindAStalledWriterIsBounded(t *testing.T) {
	const wait = 100 * time.Millisecond
	_, _, conn, wrote := stalledConn(t, Options{CloseWait: wait})
	begin := time.Now()
	if err := conn.Close(4408, "took nothing for too long"); !errors.Is(err, errSilent) && !errors.Is(err, errStalled) {
		t.Errorf("Close: %v", err)
	}
	judge.AtMost(t, "Close", time.Since(begin), 10*wait)
	if err := receive(t, "the writer", wrote); err == nil {
		t.Error("the writer ended without an error")
	}
}

// The close frame for a violation has no more time than any other.
func TestViolationBehindAStalledWriterIsBounded(t *testing.T) {
	s, c, _, wrote := stalledConn(t, Options{CloseWait: 100 * time.Millisecond})
	c.send(masked(0x81, "\xff"))
	if err := receive(t, "the writer", wrote); err == nil {
		t.Error("the writer ended without an error")
	}
	judge.Within(t, patience, "serve ends", func() bool { return s.ended.Load() == 1 })
}

func TestCloseCutsAtOnceWhenAWriteHasStalled(t *testing.T) {
	const wait = 200 * time.Millisecond
	_, _, conn, _ := stalledConn(t, Options{CloseWait: wait})
	judge.Within(t, patience, "the write has waited for long", func() bool { return conn.Stalled(wait) })
	if err := conn.Close(4408, ""); !errors.Is(err, errStalled) {
		t.Errorf("Close: %v", err)
	}
}

// A client that was slow for a moment gets everything, then the close frame.
func TestCloseIsDeliveredWhenTheClientRecovers(t *testing.T) {
	_, c, conn, wrote := stalledConn(t, Options{CloseWait: time.Hour})
	closed := make(chan error, 1)
	go func() { closed <- conn.Close(4408, "slow") }()
	whole := strings.Repeat("z", 8<<10)
	for n := 0; ; n++ {
		f, err := c.next()
		if err != nil {
			t.Fatalf("after %d frames: %v", n, err)
		}
		if f.op == opClose {
			if n == 0 || f.payload != closePayload(4408)+"slow" {
				t.Fatalf("close %q after %d frames", f.payload, n)
			}
			break
		}
		if f.op != opText || f.payload != whole {
			t.Fatalf("frame %d is broken", n)
		}
	}
	c.send(masked(0x88, closePayload(4408)))
	c.expectEOF()
	if err := receive(t, "Close", closed); err != nil {
		t.Error(err)
	}
	if err := receive(t, "the writer", wrote); !errors.Is(err, ErrClosing) {
		t.Errorf("the writer ended with %v", err)
	}
}

func TestStampStandsStillWithoutProgressAndMovesWithIt(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) { conns <- c; drain(c) }})
	c := s.openWith(t, smallWindow(8<<10))
	conn := receive(t, "serve", conns)
	wrote := make(chan error, 1)
	go func() { wrote <- conn.WriteFrames(text(strings.Repeat("s", 4<<20))) }() // one write: only its parts can move the stamp
	// Only the stamp is looked at: Stalled would move it itself.
	atRest := func() bool {
		since := conn.WaitingSince()
		return since != 0 && time.Since(time.Unix(0, since)) > 100*time.Millisecond
	}
	judge.Within(t, patience, "the write comes to rest", atRest)
	buf := make([]byte, 256<<10)
	for range 3 {
		since := conn.WaitingSince()
		if _, err := io.ReadFull(c.br, buf); err != nil {
			t.Fatal(err)
		}
		judge.Within(t, patience, "the stamp moves", func() bool { return conn.WaitingSince() > since })
		judge.Within(t, patience, "the write comes to rest", atRest)
	}
	if conn.Stalled(patience) {
		t.Error("the time before the last progress counts")
	}
	// The first look finds that the client's kernel took some more since then; the later ones find nothing new.
	judge.Within(t, patience, "the client counts as stalled", func() bool { return conn.Stalled(100 * time.Millisecond) })
	conn.Cut()
	if err := receive(t, "the writer", wrote); err == nil {
		t.Error("no error after the cut")
	}
}

// A client on a thin line takes bytes for a long time before a third of the send buffer is free, which is when the
// kernel wakes the writer. It must not count as stalled.
func TestProgressIsSeenBeforeTheKernelWakesTheWriter(t *testing.T) {
	if !knowsUnsent {
		t.Log("this system does not tell what the send queue holds; progress is coarser here, as documented")
		return
	}
	_, c, conn, _ := stalledConn(t, Options{})
	judge.Within(t, patience, "the send queue comes to rest", func() bool { return conn.Stalled(50 * time.Millisecond) })
	begin, queue := conn.WaitingSince(), conn.sock.unsent.Load()
	buf := make([]byte, 1<<10)
	taken := 0
	judge.Within(t, patience, "the sweeper sees that bytes were taken", func() bool {
		n, err := io.ReadFull(c.br, buf)
		if err != nil {
			t.Fatal(err)
		}
		taken += n
		return !conn.Stalled(time.Nanosecond)
	})
	if conn.WaitingSince() <= begin {
		t.Error("the stamp stands still")
	}
	if left := conn.sock.unsent.Load(); left >= queue || int64(taken) > queue/3 {
		t.Errorf("queue %d -> %d after the client took %d: the kernel woke the writer by itself", queue, left, taken)
	}
}

// A reader that has stopped holds less than 256 KB of the server's memory, the kernel's buffer counted.
func TestStalledReaderHoldsLittle(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) { conns <- c; drain(c) }})
	s.open(t) // with a receive window as wide as it likes
	conn := receive(t, "serve", conns)
	go flood(conn)
	defer conn.Cut()
	judge.Within(t, patience, "the send queue comes to rest", func() bool { return conn.Stalled(100 * time.Millisecond) })
	held := conn.sock.unsent.Load()
	t.Logf("the kernel holds %d bytes for a stalled reader", held)
	if held >= 256<<10 || (knowsUnsent && held < 16<<10) {
		t.Errorf("the kernel holds %d bytes", held)
	}
}

// A reader must not be held up by a write that waits: it answers a ping as soon as the write gets on, and messages come in.
func TestPingsAndMessagesDuringAStalledWrite(t *testing.T) {
	bothWays(t, testPingsAndMessagesDuringAStalledWrite)
}

func testPingsAndMessagesDuringAStalledWrite(t *testing.T, read reader) {
	conns, messages := make(chan *Conn, 1), make(chan string, 1)
	s := start(t, handlers{ws: func(c *Conn) {
		conns <- c
		for {
			_, p, err := c.Read(t.Context())
			if err != nil {
				return
			}
			messages <- string(p)
		}
	}})
	c := s.openWith(t, smallWindow(8<<10))
	conn := receive(t, "serve", conns)
	whole := strings.Repeat("w", 1<<20)
	wrote := make(chan error, 1)
	go func() { wrote <- conn.WriteFrames(text(whole)) }()
	judge.Within(t, patience, "the writer waits", func() bool { return conn.WaitingSince() != 0 })
	c.send(masked(0x89, "first") + masked(0x89, "last") + masked(0x81, "cancel"))
	if m := receive(t, "the message", messages); m != "cancel" {
		t.Errorf("message %q", m)
	}
	c.expect(opText, whole)
	c.expect(opPong, "last") // RFC 6455, 5.5.3: the latest is enough
	if err := receive(t, "the writer", wrote); err != nil {
		t.Error(err)
	}
}
