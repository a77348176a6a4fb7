package wsconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/judge"
)

// TestViolationsCloseWithTheirCode sends much more behind each violation, as a client would that is in the middle of
// something: the close frame must arrive all the same, and an orderly end after it, not a reset.
func TestViolationsCloseWithTheirCode(t *testing.T) { bothWays(t, testViolationsCloseWithTheirCode) }

func testViolationsCloseWithTheirCode(t *testing.T, read reader) {
	const limit = 100_000
	ends := make(chan error, 100) // more than there are cases
	s := start(t, handlers{limit: limit, ws: func(c *Conn) {
		for {
			if _, _, err := read(c); err != nil {
				ends <- err
				if _, _, err := read(c); err == nil {
					t.Error("Read goes on after a violation")
				}
				return
			}
		}
	}})
	more := strings.Repeat(masked(0x81, strings.Repeat("m", 1000)), 300)
	for name, tc := range map[string]struct {
		bytes string
		code  uint16
	}{
		"not masked":                 {"\x81\x01x", 1002},
		"reserved bit 1":             {masked(0xC1, "x"), 1002},
		"reserved bit 3":             {masked(0x91, "x"), 1002},
		"unknown data opcode":        {masked(0x83, "x"), 1002},
		"unknown control opcode":     {masked(0x8B, "x"), 1002},
		"fragmented ping":            {masked(0x09, "x"), 1002},
		"long ping":                  {masked(0x89, strings.Repeat("x", 126)), 1002},
		"continuation of nothing":    {masked(0x80, "x"), 1002},
		"text inside a message":      {masked(0x01, "x") + masked(0x81, "x"), 1002},
		"negative length":            {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", 1002},
		"close payload of one byte":  {masked(0x88, "x"), 1002},
		"close code 1005":            {masked(0x88, closePayload(1005)), 1002},
		"close reason not in UTF-8":  {masked(0x88, closePayload(1000)+"bye \xff"), 1007},
		"close code 999":             {masked(0x88, closePayload(999)), 1002},
		"text that is not UTF-8":     {masked(0x81, "a\xc3\x28"), 1007},
		"UTF-8 broken by the end":    {masked(0x01, "\xe2\x82") + masked(0x80, ""), 1007},
		"a surrogate in UTF-8":       {masked(0x81, "\xed\xa0\x80"), 1007},
		"message over the limit":     {masked(0x81, strings.Repeat("x", limit+1)), 1009},
		"fragments over the limit":   {masked(0x01, strings.Repeat("x", limit)) + masked(0x80, "xx"), 1009},
		"an announced giant message": {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask" + strings.Repeat("x", limit), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.open(t)
			c.send(tc.bytes + more)
			c.expectClose(tc.code)
			c.expectEOF()
			_ = c.Close()
			err := receive(t, "the end of Read", ends)
			if v, ok := errors.AsType[*ViolationError](err); !ok || uint16(v.Code) != tc.code || v.Unwrap() == nil || v.Error() == "" {
				t.Errorf("Read ended with %v", err)
			}
		})
	}
}

func TestFragmentsAndTheirLimit(t *testing.T) { bothWays(t, testFragmentsAndTheirLimit) }

func testFragmentsAndTheirLimit(t *testing.T, read reader) {
	s := start(t, handlers{limit: 10, ws: echoBy(read)})
	c := s.open(t)
	c.send(masked(0x01, "he") + masked(0x89, "in between") + masked(0x00, "l") + masked(0x80, "lo"))
	c.expect(opPong, "in between")
	c.expect(opText, "hello")
	c.send(masked(0x01, "\xe2\x82") + masked(0x80, "\xac")) // a letter in two fragments is good
	c.expect(opText, "\u20ac")
	c.send(masked(0x81, "0123456789")) // exactly the limit
	c.expect(opText, "0123456789")
	c.send(masked(0x81, ""))
	c.expect(opText, "")
	c.send(masked(0x8A, "a pong that nobody asked for") + masked(0x82, "\xff"))
	c.expect(opText, "\xff") // binary need not be UTF-8; the caller refuses it or not
}

func TestClientClosesFirst(t *testing.T) { bothWays(t, testClientClosesFirst) }

func testClientClosesFirst(t *testing.T, read reader) {
	ends := make(chan error, 1)
	s := start(t, handlers{ws: func(c *Conn) {
		_, _, err := read(c)
		ends <- err
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("Close after the client's: %v", err)
		}
		if err := c.WriteFrames(text("late")); !errors.Is(err, ErrClosing) {
			t.Errorf("frames after the close: %v", err)
		}
	}})
	c := s.open(t)
	c.send(masked(0x88, closePayload(3456)+"bye"))
	if reason := c.expectClose(3456); reason != "bye" {
		t.Errorf("reason %q", reason)
	}
	c.expectEOF()
	if err := receive(t, "the end of Read", ends); websocket.CloseStatus(err) != 3456 {
		t.Errorf("Read ended with %v", err)
	}
}

func TestCloseComesAfterTheFramesBeforeIt(t *testing.T) {
	s := start(t, handlers{ws: func(c *Conn) {
		joined := append(text("one"), text(strings.Repeat("2", 70_000))...)
		if err := c.WriteFrames(joined); err != nil {
			t.Error(err)
		}
		if err := c.Close(4410, "the session has ended"); err != nil {
			t.Error(err)
		}
		if err := c.Close(4401, "again"); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := c.WriteFrames(text("late")); !errors.Is(err, ErrClosing) {
			t.Errorf("frames after Close: %v", err)
		}
	}})
	c := s.open(t)
	c.expect(opText, "one")
	c.expect(opText, strings.Repeat("2", 70_000))
	if reason := c.expectClose(4410); reason != "the session has ended" {
		t.Errorf("reason %q", reason)
	}
	// What was on its way is discarded, a ping does not disturb the handshake.
	c.send(masked(0x81, "too late") + masked(0x89, "ping") + masked(0x88, closePayload(4410)))
	c.expectEOF()
}

// Close may come from another goroutine while the reader waits for a message.
func TestCloseWhileTheReaderWaits(t *testing.T) { bothWays(t, testCloseWhileTheReaderWaits) }

func testCloseWhileTheReaderWaits(t *testing.T, read reader) {
	conns, ends := make(chan *Conn, 1), make(chan error, 1)
	s := start(t, handlers{ws: func(c *Conn) {
		conns <- c
		_, _, err := read(c)
		ends <- err
	}})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	closed := make(chan error, 1)
	go func() { closed <- conn.Close(websocket.StatusGoingAway, strings.Repeat("\u20ac", 60)) }()
	if reason := c.expectClose(1001); reason != strings.Repeat("\u20ac", 41) || !utf8.ValidString(reason) {
		t.Errorf("reason of %d bytes: %q", len(reason), reason)
	}
	c.send(masked(0x88, closePayload(1001)))
	c.expectEOF()
	if err := receive(t, "Close", closed); err != nil {
		t.Error(err)
	}
	// Whether Read or Close was the one to read the answer, it is no violation.
	err := receive(t, "the end of Read", ends)
	if _, violation := errors.AsType[*ViolationError](err); violation || err == nil {
		t.Errorf("Read ended with %v", err)
	}
}

func TestSilentClientIsCutAfterCloseWait(t *testing.T) {
	bothWays(t, testSilentClientIsCutAfterCloseWait)
}

func testSilentClientIsCutAfterCloseWait(t *testing.T, read reader) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{opts: Options{CloseWait: 50 * time.Millisecond}, ws: func(c *Conn) { conns <- c; drainBy(read)(c) }})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	if err := conn.Close(4401, ""); !errors.Is(err, errSilent) {
		t.Errorf("Close: %v", err)
	}
	judge.Within(t, patience, "serve ends", func() bool { return s.ended.Load() == 1 })
	c.expectClose(4401)
}

func TestVanishedClientEndsRead(t *testing.T) { bothWays(t, testVanishedClientEndsRead) }

func testVanishedClientEndsRead(t *testing.T, read reader) {
	ends := make(chan error, 1)
	s := start(t, handlers{ws: func(c *Conn) {
		_, _, err := read(c)
		ends <- err
	}})
	for name, leave := range map[string]func(c *client){
		"FIN":              func(c *client) { _ = c.Close() },
		"RST":              func(c *client) { _ = c.Conn.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"inside a message": func(c *client) { c.send(masked(0x81, "hello")[:8]); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			leave(s.open(t))
			err := receive(t, "the end of Read", ends)
			if _, violation := errors.AsType[*ViolationError](err); violation || websocket.CloseStatus(err) != -1 {
				t.Errorf("Read ended with %v", err)
			}
		})
	}
}

func TestLastHeardMovesWithAnyFrame(t *testing.T) { bothWays(t, testLastHeardMovesWithAnyFrame) }

func testLastHeardMovesWithAnyFrame(t *testing.T, read reader) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) { conns <- c; drainBy(read)(c) }})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	last := conn.LastHeard()
	if age := time.Since(time.Unix(0, last)); age < 0 || age > patience {
		t.Fatalf("first stamp is %v old", age)
	}
	if err := conn.WriteFrames([]byte{0x89, 0}); err != nil { // a ping of the caller's
		t.Fatal(err)
	}
	c.expect(opPing, "")
	for _, bytes := range []string{masked(0x8A, ""), masked(0x81, "x"), masked(0x01, "")[:1]} {
		c.send(bytes)
		judge.Within(t, patience, "the stamp moves", func() bool { return conn.LastHeard() > last })
		last = conn.LastHeard()
	}
}

func TestShutdownLeavesConnectionsToTheirOwner(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) { conns <- c; echo(c) }})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	begin := time.Now()
	if err := s.app.ShutdownWithTimeout(patience); err != nil {
		t.Fatal(err)
	}
	judge.AtMost(t, "the shutdown", time.Since(begin), patience/2)
	c.send(masked(0x81, "still here"))
	c.expect(opText, "still here")

	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.bridge.Wait(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait with an open connection: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.bridge.Wait(context.Background()) }()
	conn.Cut()
	if err := receive(t, "Wait", waited); err != nil {
		t.Error(err)
	}
	if s.ended.Load() != 1 {
		t.Error("Wait returned before serve")
	}
}

// The library's end of the connection takes a whole close frame and nothing else, whatever a later version may write.
func TestForeignWritesAreRefused(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	conn := &Conn{}
	if err := conn.sock.bind(near, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	end := (*libraryEnd)(conn)
	for _, p := range []string{"", "\x88", "\x88\x02a", "\x8a\x00", "\x81\x01x", "\x88\x00\x8a\x00"} {
		if _, err := end.Write([]byte(p)); !errors.Is(err, errForeignWrite) {
			t.Errorf("%x: %v", p, err)
		}
	}
}
