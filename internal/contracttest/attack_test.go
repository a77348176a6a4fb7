package contracttest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// assault is one attack on a node. Its goroutines and connections end with it.
type assault struct {
	n      *node
	s      session // the attacker's own
	ctx    context.Context
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
	failed []error
}

// attacks are what docs/ATTACK-COSTS.md bounds. kib is the most that the server's
// memory may grow for each connection; what belongs to the process as a whole
// is in slackKiB.
var attacks = []struct {
	name        string
	flags       []string
	connections int
	kib         int
	begin       func(a *assault, count int)
}{
	{"headers in drops", nil, 1000, 40, func(a *assault, count int) {
		a.each(count, func(_ int, c net.Conn) {
			_, _ = fmt.Fprintf(c, "GET /api/sessions HTTP/1.1\r\nHost: %s\r\n", a.n.Host())
			a.drip(c, "X-Drop: y\r\n")
		})
	}},
	{"bodies in drops", nil, 500, 100, func(a *assault, count int) {
		a.each(count, func(i int, c net.Conn) {
			s := a.s
			if i%2 == 1 {
				s.Token = "a.b.c" // who may not send one
			}
			_, _ = io.WriteString(c, s.posted(1<<20)+strings.Repeat("x", 16<<10))
			a.drip(c, "x")
		})
	}},
	{"sockets that say nothing", nil, 2000, 40, func(a *assault, count int) {
		a.each(count, func(int, net.Conn) {})
	}},
	{"handshakes that never end", nil, 1000, 40, func(a *assault, count int) {
		a.each(count, func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, strings.TrimSuffix(a.s.handshake(""), "\r\n"))
			a.drip(c, "X-Drop: y\r\n")
		})
	}},
	{"header bombs", nil, 100, 100, func(a *assault, count int) {
		bomb := "GET / HTTP/1.1\r\nHost: " + a.n.Host() + "\r\n" + strings.Repeat("X-Bomb: "+strings.Repeat("y", 100)+"\r\n", 5000)
		// A hundred in a second, one after the other: in one blow they would fill
		// the attacker's own core, and the measurement with it.
		a.each(count, func(i int, c net.Conn) {
			select {
			case <-a.ctx.Done():
				return
			case <-time.After(time.Duration(i) * time.Second / time.Duration(count)):
			}
			_, _ = io.WriteString(c, bomb) // fails when the hub has had enough
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				a.fail(fmt.Errorf("a header bomb is answered by %d", resp.StatusCode))
			}
		})
	}},
	{"giant frames", nil, 300, 40, func(a *assault, count int) {
		a.each(count, func(_ int, c net.Conn) {
			if a.upgrade(c) == nil {
				return
			}
			_, _ = c.Write([]byte{0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // a terabyte is to come
			a.drip(c, "x")
		})
	}},
	{"messages in fragments", nil, 50, 3 << 10, func(a *assault, count int) {
		piece := wsFrame(0x0, bytes.Repeat([]byte("x"), 4000))
		piece[0] = 0x00 // not the last
		a.each(count, func(_ int, c net.Conn) {
			if a.upgrade(c) == nil {
				return
			}
			_, _ = c.Write([]byte{0x01, 0x80, 0, 0, 0, 0}) // begins, and never ends
			_, _ = c.Write(bytes.Repeat(piece, 250))
			a.drip(c, string([]byte{0x00, 0x81, 0, 0, 0, 0, 'x'}))
		})
	}},
	{"floods of pings", nil, 20, 256, func(a *assault, count int) {
		flood := bytes.Repeat(wsFrame(0x9, bytes.Repeat([]byte("p"), 125)), 10)
		a.each(count, func(_ int, c net.Conn) {
			if a.upgrade(c) == nil {
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10) // the pongs are not read
			a.every(50*time.Millisecond, func() bool { _, err := c.Write(flood); return err == nil })
		})
	}},
	{"floods of commands", []string{"--rate-messages", "5/s:20"}, 20, 256, func(a *assault, count int) {
		a.each(count, func(i int, c net.Conn) {
			if a.upgrade(c) == nil {
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10) // nor are the answers
			flood := bytes.Repeat(wsFrame(0x1, []byte(`{"type":"ping","id":"`+strings.Repeat("i", 200)+`"}`)), 5)
			if i%4 == 0 {
				flood = bytes.Repeat(wsFrame(0x1, []byte(`{"type":"message","id":"m","data":{"content":"/help"}}`)), 5)
			}
			a.every(50*time.Millisecond, func() bool { _, err := c.Write(flood); return err == nil })
		})
	}},
	{"floods without a pause", nil, 20, 256, func(a *assault, count int) {
		fragment := wsFrame(0x0, []byte("x"))
		fragment[0] = 0x00 // not the last
		kinds := [][]byte{
			bytes.Repeat(wsFrame(0x9, nil), 1000),
			bytes.Repeat(wsFrame(0xA, nil), 1000), // pongs that answer nothing
			bytes.Repeat(fragment, 1000),
			bytes.Repeat(wsFrame(0x1, []byte(`{"type":"ping","id":"1"}`)), 1000),
			bytes.Repeat(wsFrame(0x1, []byte(`{"type":"cancel","id":"1"}`)), 1000),
		}
		a.each(count, func(i int, c net.Conn) {
			in := a.upgrade(c)
			if in == nil {
				return
			}
			a.wg.Go(func() { _, _ = io.Copy(io.Discard, in) }) // the answers are taken, so they never stop
			kind := kinds[i%len(kinds)]
			if i%len(kinds) == 2 {
				_, _ = c.Write([]byte{0x01, 0x80, 0, 0, 0, 0}) // begins
			}
			for a.ctx.Err() == nil {
				if _, err := c.Write(kind); err != nil {
					return
				}
			}
		})
	}},
	{"subscribers that never read", nil, 60, 256, func(a *assault, count int) {
		a.each(count, func(_ int, c net.Conn) {
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
			a.upgrade(c)
		})
		a.s.send("/stream 100000 8000 50")
	}},
	{"storms of connections", nil, 50, 256, func(a *assault, count int) {
		for range count {
			a.wg.Go(func() {
				a.every(100*time.Millisecond, func() bool {
					c, err := net.Dial("tcp", a.n.Host())
					if err != nil {
						return false
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(10 * time.Second))
					_, _ = io.WriteString(c, a.s.handshake(""))
					_, err = c.Read(make([]byte, 12))
					return err == nil
				})
			})
		}
	}},
}

// each opens connections, a hundred at a time, and has a goroutine for each. It
// returns when all are open.
func (a *assault) each(count int, do func(i int, c net.Conn)) {
	for i := range count {
		c, err := net.Dial("tcp", a.n.Host())
		if err != nil {
			a.fail(err)
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		a.mu.Lock()
		a.conns = append(a.conns, c)
		a.mu.Unlock()
		a.wg.Go(func() { do(i, c) })
	}
}

// every does something at a steady pace until it is over.
func (a *assault) every(pause time.Duration, do func() bool) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for do() {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *assault) drip(c net.Conn, drop string) {
	a.every(time.Second, func() bool { _, err := io.WriteString(c, drop); return err == nil })
}

// upgrade opens the attacker's WebSocket; nil if that fails.
func (a *assault) upgrade(c net.Conn) *bufio.Reader {
	_, _ = io.WriteString(c, a.s.handshake("?after=latest"))
	in := bufio.NewReaderSize(c, 512)
	resp, err := http.ReadResponse(in, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the handshake is answered by %d", resp.StatusCode)
	}
	if err != nil {
		if a.ctx.Err() == nil {
			a.fail(err)
		}
		return nil
	}
	return in
}

func (a *assault) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = append(a.failed, err)
}

// end ends the attack and waits until nothing of it is left here.
func (a *assault) end(stop context.CancelFunc) {
	stop()
	a.mu.Lock()
	for _, c := range a.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // no ports are left waiting
		_ = c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// memory is the resident memory of the server's process in KiB (proc(5), status).
func (n *node) memory() int {
	n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				n.t.Fatal(err)
			}
			return kib
		}
	}
	n.t.Fatal("there is no VmRSS")
	return 0
}

// busy is how long the server's process has kept a core busy (proc(5), stat). It
// is the same however much else runs on the machine.
func (n *node) busy() time.Duration {
	n.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	// Behind the name, which can hold anything: utime and stime are the 14th and
	// the 15th field, in hundredths of a second.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	total := 0
	for _, field := range f[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			n.t.Fatal(err)
		}
		total += ticks
	}
	return time.Duration(total) * 10 * time.Millisecond
}

// bystander is a hub's session that somebody watches while something else goes
// on, and how long each event took to its reader.
type bystander struct {
	t    *testing.T
	done chan struct{}

	mu    sync.Mutex
	delay []time.Duration
	err   error
}

// watch begins a session of the node that streams, and a reader of it.
func (n *node) watch(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{t: t, done: make(chan struct{})}
	s := n.create(`{}`)
	st := s.ws("")
	go b.read(st)
	t.Cleanup(func() { st.close(); <-b.done })
	s.send("/stream 100000 100 200")
	judge.Within(t, 20*time.Second, "the agent speaks", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.delay) > 20
	})
	return b
}

func (b *bystander) read(st *stream) {
	defer close(b.done)
	last := uint64(0)
	for {
		f, err := st.next()
		b.mu.Lock()
		if err == nil && f.Seq != 0 && last != 0 && f.Seq != last+1 {
			err = fmt.Errorf("event %d came behind %d", f.Seq, last)
		}
		if err != nil {
			b.err = err
			b.mu.Unlock()
			return
		}
		if f.Seq != 0 {
			last = f.Seq
		}
		if f.Type == "output" {
			b.delay = append(b.delay, time.Since(f.Time))
		}
		b.mu.Unlock()
	}
}

// forget begins a measurement.
func (b *bystander) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delay = b.delay[:0]
}

// p99 is the 99th percentile of the deliveries since forget.
func (b *bystander) p99() time.Duration {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		b.t.Fatalf("the bystander's stream broke: %v", b.err)
	}
	if len(b.delay) == 0 || judge.Load() && len(b.delay) < 50 {
		b.t.Fatalf("%d deliveries are too few to judge", len(b.delay))
	}
	all := slices.Sorted(slices.Values(b.delay))
	return all[len(all)*99/100]
}

const (
	slackKiB = 24 << 10 // of the process: the collector's head room, stacks, the log of the attacker's session
	// A delivery beside an attack may take half as long again, and this much
	// more, which is what two busy cores do to any process now and then.
	noise = 10 * time.Millisecond
	// What an attack may take of one core: what it takes, others do not get. It
	// does not depend on what else the machine does, as deliveries do.
	mostLoad = .3
	// A measurement that is bad by chance is not bad each time; harm is. Deliveries
	// and load are judged where time is (make test-load), and only written down else.
	rounds = 5
)

// The document's table has the attacks and their bounds, both ways.
func TestAttacksAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/ATTACK-COSTS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (\d+) KiB \|`).FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = m[2]
	}
	for _, attack := range attacks {
		if got, want := documented[attack.name], strconv.Itoa(attack.kib); got != want {
			t.Errorf("docs/ATTACK-COSTS.md bounds %q by %q KiB, the test by %s", attack.name, got, want)
		}
		delete(documented, attack.name)
	}
	if len(documented) > 0 {
		t.Errorf("no test attacks with %v", documented)
	}
}

// TestResourceAttacks holds the hub to docs/ATTACK-COSTS.md: each attack costs it
// little memory, and other sessions lose nothing. In a run that judges time, it costs
// little of a core, and others do not notice. A hub that nobody attacks runs
// beside it: what its readers feel is the machine's doing, and the attacker's,
// who has the same two cores.
func TestResourceAttacks(t *testing.T) {
	untouched := serve(t, "--log-level", "warn").watch(t)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			n := serve(t, append([]string{"--max-connections-per-user", "10000", "--max-connections-per-session", "10000", "--log-level", "warn"}, attack.flags...)...)
			victim := n.watch(t)
			base, peak := n.memory(), 0
			for round := 1; ; round++ {
				start, began := n.busy(), time.Now()
				calm := measure(time.Second, func() {}, victim)[0]
				idle := float64(n.busy()-start) / float64(time.Since(began))
				ctx, stop := context.WithCancel(t.Context())
				a := &assault{n: n, s: n.create(`{}`), ctx: ctx}
				attack.begin(a, attack.connections)
				start, began = n.busy(), time.Now()
				p := measure(1500*time.Millisecond, func() { peak = max(peak, n.memory()) }, victim, untouched)
				beside, control := p[0], p[1]
				load := float64(n.busy()-start)/float64(time.Since(began)) - idle
				a.end(stop)
				for _, err := range a.failed {
					t.Error(err)
				}
				t.Logf("p99 %v without, %v beside it, %v at an untouched hub; %.2f of a core; memory %d KiB, at most %d beside it: %.1f for each of %d",
					calm, beside, control, load, base, peak, float64(peak-base)/float64(attack.connections), attack.connections)
				usual := max(calm, control)
				if !judge.Load() || beside <= max(3*usual/2, usual+noise) && load <= mostLoad {
					break
				}
				if round == rounds {
					t.Errorf("it takes %.2f of a core, and deliveries of another session took %v (p99) beside it, %v without, %v at an untouched hub", load, beside, calm, control)
					break
				}
			}
			if most := base + slackKiB + attack.connections*attack.kib; peak > most {
				t.Errorf("memory went from %d KiB to %d, over %d", base, peak, most)
			}
			if r := n.call("GET", "/healthz", ""); r.StatusCode != 200 {
				t.Errorf("afterwards the hub is not well: %d", r.StatusCode)
			}
		})
	}
}

// measure calls meet again and again for a while, and gives what each bystander
// felt.
func measure(while time.Duration, meet func(), who ...*bystander) (p99 []time.Duration) {
	for _, b := range who {
		b.forget()
	}
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		meet()
	}
	for _, b := range who {
		p99 = append(p99, b.p99())
	}
	return p99
}
