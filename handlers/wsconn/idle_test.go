package wsconn

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// A connection that is awaited with little stack keeps little: heartbeats, pings and messages do not change that.
func TestAwaitKeepsTheStackSmall(t *testing.T) {
	const n = 1000
	s := start(t, handlers{ws: func(c *Conn) {
		for {
			c.Await()
			done := make(chan error)
			go func() { // the library's stack goes with this goroutine
				for {
					_, p, err := c.Next()
					if err == nil {
						err = c.WriteFrames(text(string(p)))
					}
					if err != nil {
						done <- err
						return
					}
				}
			}()
			if err := <-done; !errors.Is(err, ErrIdle) {
				return
			}
		}
	}})
	var conns []*client
	stack := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse)
	}
	s.open(t) // warms the pools
	before := stack()
	for range n {
		conns = append(conns, s.open(t))
	}
	for _, c := range conns {
		c.send(masked(0x8A, "") + masked(0x89, "p") + masked(0x81, "hello") + masked(0x8A, ""))
		c.expect(opPong, "p")
		c.expect(opText, "hello")
	}
	var each int64
	defer func() { t.Logf("%d bytes of stack each", each) }()
	judge.Within(t, patience, "small stacks", func() bool {
		each = (stack() - before) / n
		return each <= smallStack
	})
}

// Pongs that nobody waits for cost no turn of the reader, and count as a sign of life; what follows one in the same packet,
// or stands where one could, is read.
func TestAwaitTakesPongs(t *testing.T) {
	conns, turns := make(chan *Conn, 1), make(chan string, 10)
	s := start(t, handlers{ws: func(c *Conn) {
		conns <- c
		for {
			c.Await()
			_, p, err := c.Next()
			switch {
			case errors.Is(err, ErrIdle):
				turns <- "idle"
			case err != nil:
				turns <- "end"
				return
			default:
				turns <- string(p)
			}
		}
	}})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	if got := receive(t, "a turn", turns); got != "idle" { // only the library knows what it holds
		t.Errorf("got %q, want none", got)
	}
	opened := conn.LastHeard()
	c.send(masked(0x8A, ""))
	judge.Within(t, patience, "the pong is heard", func() bool { return conn.LastHeard() > opened })
	c.send(masked(0x8A, "") + masked(0x8A, "") + masked(0x81, "behind pongs"))
	if got := receive(t, "a turn", turns); got != "behind pongs" {
		t.Errorf("got %q first: a pong cost a turn", got)
	}
	if got := receive(t, "a turn", turns); got != "idle" {
		t.Errorf("got %q, want none", got)
	}
	// A message whose payload looks like a pong, in pieces; then a pong in pieces.
	pong := masked(0x8A, "")
	message := masked(0x81, "aaaaaaaaaaaa"+strings.Repeat("\x00", 20))
	c.send(message[:6])
	time.Sleep(10 * time.Millisecond) // only makes the split likely to be seen
	c.send(message[6:] + pong[:3])
	if got := receive(t, "a turn", turns); got != "aaaaaaaaaaaa"+strings.Repeat("\x00", 20) {
		t.Errorf("got %q", got)
	}
	c.send(pong[3:])
	if got := receive(t, "a turn", turns); got != "idle" {
		t.Errorf("got %q, want none", got)
	}
	c.send(masked(0x88, closePayload(1000)))
	for receive(t, "the end", turns) != "end" {
	}
}

// Whatever is sent, in whatever pieces, Await and Next give the messages that Read gives.
func TestAwaitLosesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := start(t, handlers{ws: echo})
	c := s.open(t)
	for i := range 300 {
		var wire, want strings.Builder
		fmt.Fprintf(&want, "%d:%s", i, strings.Repeat(string([]byte{0, 1, 2, 'a'}[rnd.IntN(4)]), rnd.IntN(400)))
		whole := want.String()
		var pings []string
		for first, rest := true, whole; first || rest != ""; first = false {
			n := len(rest)
			if rnd.IntN(2) == 0 {
				n = rnd.IntN(n + 1)
			}
			head := byte(0)
			if first {
				head = opText
			}
			if n == len(rest) {
				head |= 0x80
			}
			for range rnd.IntN(3) {
				switch rnd.IntN(3) {
				case 0:
					wire.WriteString(masked(0x8A, ""))
				case 1:
					wire.WriteString(masked(0x8A, "unasked"))
				default:
					pings = append(pings, fmt.Sprint(i, len(pings)))
					wire.WriteString(masked(0x89, pings[len(pings)-1]))
				}
			}
			wire.WriteString(masked(head, rest[:n]))
			if rest = rest[n:]; head&0x80 != 0 {
				break
			}
		}
		for bytes := wire.String(); bytes != ""; {
			n := 1 + rnd.IntN(len(bytes))
			if rnd.IntN(2) == 0 {
				n = len(bytes)
			}
			c.send(bytes[:n])
			bytes = bytes[n:]
			if rnd.IntN(20) == 0 {
				time.Sleep(time.Millisecond) // only makes it likely that the pieces are seen as such
			}
		}
		for {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == opPong { // of several pings the latest counts
				continue
			}
			if f.op != opText || f.payload != whole {
				t.Fatalf("message %d: got frame %d %.60q, want %.60q", i, f.op, f.payload, whole)
			}
			break
		}
	}
}

// What the client has broken is found out behind Await too, and the end of a connection that was cut here.
func TestAwaitEnds(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) { conns <- c; drain(c) }})
	for name, end := range map[string]func(c *client, conn *Conn){
		"FIN":       func(c *client, _ *Conn) { _ = c.Close() },
		"RST":       func(c *client, _ *Conn) { _ = c.Conn.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"half pong": func(c *client, _ *Conn) { c.send(masked(0x8A, "")[:3]); _ = c.Close() },
		"unmasked":  func(c *client, _ *Conn) { c.send("\x8a\x00"); c.expectClose(1002); _ = c.Close() },
		"cut":       func(_ *client, conn *Conn) { conn.Cut() },
		"closed": func(c *client, conn *Conn) {
			done := make(chan error, 1)
			go func() { done <- conn.Close(1001, "") }()
			c.expectClose(1001)
			// While it closes, pongs may be anywhere.
			c.send(masked(0x8A, "") + masked(0x81, "ignored") + masked(0x8A, "") + masked(0x88, closePayload(1001)))
			if err := receive(t, "Close", done); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.ended.Load()
			c := s.open(t)
			end(c, receive(t, "serve", conns))
			judge.Within(t, patience, "serve ends", func() bool { return s.ended.Load() == before+1 })
		})
	}
}

func FuzzFrameBorder(f *testing.F) {
	f.Add([]byte(masked(0x81, "hello")), uint8(3))
	f.Add([]byte(masked(0x01, "he")+masked(0x89, "")+masked(0x80, "llo")), uint8(1))
	f.Add([]byte(masked(0x82, strings.Repeat("x", 300))+masked(0x88, "")), uint8(7))
	f.Add(bytes.Repeat([]byte{0xff}, 20), uint8(2))
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		var whole, pieces frameBorder
		whole.pass(wire)
		for rest := wire; len(rest) > 0; {
			n := min(len(rest), 1+int(piece))
			pieces.pass(rest[:n])
			rest = rest[n:]
		}
		// Of what the header was no byte is left to matter between frames.
		if whole.between() != pieces.between() || whole.rest != pieces.rest || whole.seen != pieces.seen || whole.fragments != pieces.fragments {
			t.Errorf("in one piece %+v, in pieces of %d %+v", whole, 1+int(piece), pieces)
		}
		if want := wholeMessages(wire); whole.between() != want {
			t.Errorf("between messages: %v, want %v", whole.between(), want)
		}
	})
}

// wholeMessages reports whether the bytes end behind a frame that ends a message, by another way of reading them.
func wholeMessages(wire []byte) bool {
	open := false
	for len(wire) > 0 {
		if len(wire) < 2 {
			return false
		}
		head, size, n := wire[0], 2, uint64(wire[1]&0x7f)
		more := map[uint64]int{126: 2, 127: 8}[n]
		if wire[1]&0x80 != 0 {
			size += 4
		}
		if size += more; len(wire) < size {
			return false
		}
		if more > 0 {
			n = 0
			for _, b := range wire[2 : 2+more] {
				n = n<<8 | uint64(b)
			}
		}
		if uint64(len(wire)-size) < n {
			return false
		}
		wire = wire[uint64(size)+n:]
		if head&8 == 0 {
			open = head&0x80 == 0
		}
	}
	return !open
}
