// Package faultproxy is a TCP proxy that fails on command, for tests: it cuts,
// freezes, slows down and half-opens the connections that go through it, as
// networks do. It listens on loopback only.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Direction is one way through the proxy.
type Direction int

const (
	ToServer Direction = iota // what clients send
	ToClient                  // what the server sends
)

// Proxy passes connections on to one address. All methods may be called
// concurrently. Faults hold for the connections that are there and for those
// that come, until they are taken back; Heal takes all of them back.
//
// Each connection has two goroutines, one for each direction; Close waits for
// them. A direction holds at most bufferBytes of its own, so that back-pressure
// goes through.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	target  string
	fault   fault
	changed chan struct{} // closed and replaced with each change of fault
	conns   map[*link]struct{}
	total   int
	closed  bool
	held    int // directions that wait for Release
	wave    int // how often Release was called

	passed atomic.Int64
}

// fault is what is wrong now.
type fault struct {
	refuse bool    // new connections are cut at once
	freeze bool    // nothing moves
	hold   bool    // what the server sends waits for Release
	drop   [2]bool // what goes this way vanishes, and the sender is not told
	perSec int     // bytes in a second, of each direction of each connection; 0: as fast as it goes
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	lost           bool // guarded by Proxy.mu: something was dropped, so it can never go on
}

const (
	bufferBytes = 32 << 10
	dialTimeout = 5 * time.Second
	// slices is how many pieces a slow second is cut into.
	slices = 20
)

// New starts a proxy before the TCP address target.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, changed: make(chan struct{}), conns: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close cuts everything and waits for its goroutines. It may be called twice.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.setLocked(fault{refuse: true})
	p.mu.Unlock()
	err := p.listener.Close()
	p.Cut()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Retarget passes the connections that come on to another address, such as that
// of a server which was started anew. Those that are there stay as they are.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut resets every connection. New ones are let through.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		l.cut()
	}
}

// Refuse cuts every connection, and new ones as they come, until it is taken back.
func (p *Proxy) Refuse(on bool) {
	p.change(func(f *fault) { f.refuse = on })
	if on {
		p.Cut()
	}
}

// Freeze stops the bytes in both directions; connections stay open. Taken back,
// everything goes on where it stopped.
func (p *Proxy) Freeze(on bool) { p.change(func(f *fault) { f.freeze = on }) }

// Hold has what the server sends wait for Release, until it is taken back. So a test
// counts how often those behind the proxy wait for the server: what they ask side by side
// is answered by one Release.
func (p *Proxy) Hold(on bool) { p.change(func(f *fault) { f.hold = on }) }

// Held is how many connections have something from the server that waits.
func (p *Proxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Release lets through what the server has sent so far.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wave++
	p.setLocked(p.fault)
}

// Drop half-opens the connections: what goes this way vanishes while the sender's
// kernel believes that it has arrived. When it is taken back, connections that
// have lost something are reset, since no network hands over a stream with a hole.
func (p *Proxy) Drop(d Direction, on bool) {
	p.change(func(f *fault) { f.drop[d] = on })
	if on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		if l.lost {
			l.cut()
		}
	}
}

// Slow lets so many bytes through in a second, in each direction of each
// connection. 0 takes it back.
func (p *Proxy) Slow(bytesPerSecond int) { p.change(func(f *fault) { f.perSec = bytesPerSecond }) }

// Heal takes every fault back.
func (p *Proxy) Heal() {
	p.change(func(f *fault) { f.refuse, f.freeze, f.hold, f.perSec = false, false, false, 0 })
	p.Drop(ToServer, false)
	p.Drop(ToClient, false)
}

// Connections is how many connections there are now, and have been in all.
func (p *Proxy) Connections() (now, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns), p.total
}

// Passed is how many bytes have gone through, in both directions.
func (p *Proxy) Passed() int64 { return p.passed.Load() }

func (p *Proxy) change(f func(*fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	next := p.fault
	f(&next)
	p.setLocked(next)
}

func (p *Proxy) setLocked(f fault) {
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) now() (fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if f, _ := p.now(); f.refuse {
			reset(conn)
			continue
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

// serve is the life of one connection.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	if p.fault.refuse {
		p.mu.Unlock()
		l.cut()
		return
	}
	p.conns[l] = struct{}{}
	p.total++
	p.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	pass := func(d Direction, to, from net.Conn) {
		// An end in good order is passed on; the other direction may go on.
		if p.pass(ctx, l, d, to, from) {
			if half, ok := to.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				return
			}
		}
		cancel()
		l.cut()
	}
	both.Go(func() { pass(ToServer, server, client) })
	both.Go(func() { pass(ToClient, client, server) })
	both.Wait()
	cancel()
	_ = client.Close()
	_ = server.Close()
	p.mu.Lock()
	delete(p.conns, l)
	p.mu.Unlock()
}

// pass moves bytes one way. It returns true when the sender has closed in order.
func (p *Proxy) pass(ctx context.Context, l *link, d Direction, to, from net.Conn) bool {
	buf := make([]byte, bufferBytes)
	for {
		n, err := from.Read(buf)
		bytes := buf[:n]
		if n > 0 && d == ToClient && p.await(ctx) {
			bytes = append(bytes, arrived(from)...)
		}
		for rest := bytes; len(rest) > 0; {
			sent, ok := p.move(ctx, l, d, to, rest)
			if !ok {
				return false
			}
			rest = rest[sent:]
		}
		if err != nil {
			// The news of an end travels as the bytes do.
			through := p.wait(ctx, func(f fault) bool { return !f.freeze && !f.drop[d] })
			return through && errors.Is(err, io.EOF) && !p.hasLost(l)
		}
	}
}

// arrived is what else the sender has sent by now.
func arrived(from net.Conn) (bytes []byte) {
	defer func() { _ = from.SetReadDeadline(time.Time{}) }()
	for buf := make([]byte, bufferBytes); ; {
		_ = from.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err := from.Read(buf)
		bytes = append(bytes, buf[:n]...)
		if err != nil { // an end is met again by the next Read
			return bytes
		}
	}
}

// await waits for Release, while answers are held. It reports whether they were.
func (p *Proxy) await(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fault.hold {
		return false
	}
	p.held++
	for wave := p.wave; p.fault.hold && p.wave == wave && ctx.Err() == nil; {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	p.held--
	return true
}

func (p *Proxy) hasLost(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.lost
}

// move sends what the present fault lets through of p, and waits as long as it
// takes.
func (p *Proxy) move(ctx context.Context, l *link, d Direction, to net.Conn, bytes []byte) (int, bool) {
	for {
		f, changed := p.now()
		switch {
		case f.freeze:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return 0, false
			}
		case f.drop[d]:
			p.mu.Lock()
			l.lost = true
			p.mu.Unlock()
			return len(bytes), true
		case f.perSec > 0:
			piece := min(len(bytes), max(1, f.perSec/slices))
			pause := time.NewTimer(time.Duration(piece) * time.Second / time.Duration(f.perSec))
			select {
			case <-pause.C:
			case <-changed:
				pause.Stop()
				continue
			case <-ctx.Done():
				pause.Stop()
				return 0, false
			}
			n, err := to.Write(bytes[:piece])
			p.passed.Add(int64(n))
			return n, err == nil
		}
		n, err := to.Write(bytes)
		p.passed.Add(int64(n))
		return n, err == nil
	}
}

// wait waits until the fault is as wanted.
func (p *Proxy) wait(ctx context.Context, ok func(fault) bool) bool {
	for {
		f, changed := p.now()
		if ok(f) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// cut resets both ends.
func (l *link) cut() {
	reset(l.client)
	reset(l.server)
}

// reset closes a connection so that its peer gets a reset, whatever is unsent.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
