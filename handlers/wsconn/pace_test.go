package wsconn

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/internal/testkit/judge"
)

// A flood is read at its pace, whatever it is made of: a second's worth at once, and the rest as time goes by.
func TestFloodIsHeldToItsPace(t *testing.T) {
	for name, flood := range map[string]struct {
		of string
		n  int // what two seconds allow
	}{
		"pings":     {masked(0x89, "p"), 1000},
		"pongs":     {masked(0x8A, ""), 1000}, // Await takes them
		"messages":  {masked(0x81, "m"), 1000},
		"fragments": {masked(0x01, "f") + strings.Repeat(masked(0x00, ""), 19) + masked(0x80, ""), 340}, // each of 20 and the last
		"bytes":     {masked(0x82, strings.Repeat("b", 60_000)), 35},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, read reader) {
				ended := make(chan time.Time, 1)
				s := start(t, handlers{ws: func(c *Conn) {
					c.Pace(1 << 20)
					for {
						_, p, err := read(c)
						if err != nil {
							return
						}
						if string(p) == "end" {
							ended <- time.Now()
						}
					}
				}, limit: 1 << 20})
				c := s.open(t)
				began := time.Now()
				c.send(strings.Repeat(flood.of, flood.n) + masked(0x81, "end"))
				if took := receive(t, "the end", ended).Sub(began); took < 900*time.Millisecond {
					t.Errorf("a second's worth over the burst was read in %v", took)
				}
			})
		})
	}
}

// One that speaks as people and programs do never waits.
func TestUsualTrafficIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1 << 20
		c := new(Conn)
		c.Pace(4 * most)
		var b frameBorder
		send := func(frames string) {
			c.charge(len(frames), b.pass([]byte(frames)))
			if c.ahead() > 0 {
				t.Errorf("%d bytes and it is held back by %v", len(frames), c.ahead())
			}
		}
		send(masked(0x82, strings.Repeat("b", most))) // the largest message at once
		time.Sleep(time.Second)
		for range 20 { // a burst of commands
			send(masked(0x81, strings.Repeat("c", 200)))
		}
		for range 1000 { // and so on for a long time
			send(masked(0x81, strings.Repeat("c", 200)))
			send(masked(0x8A, ""))
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// A connection that closes is not kept waiting by what its client has sent too fast.
func TestCloseDoesNotWaitForThePace(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{ws: func(c *Conn) {
		c.Pace(1 << 20)
		conns <- c
		drain(c)
	}, opts: Options{CloseWait: 5 * time.Second}})
	c := s.open(t)
	conn := receive(t, "serve", conns)
	c.send(strings.Repeat(masked(0x89, ""), 5000)) // ten seconds' worth
	judge.Within(t, patience, "it is held back", func() bool { return conn.ahead() > 0 })
	c.send(masked(0x88, "\x03\xe8")) // its own close frame stands behind all that
	began := time.Now()
	_ = conn.Close(1001, "")
	judge.AtMost(t, "the close", time.Since(began), 3*time.Second)
}
