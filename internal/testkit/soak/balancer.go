package soak

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// balancer is the load balancer before some nodes: each TCP connection goes to one
// of those that take connections, whichever; nothing makes a client come back to
// the same. It listens on loopback. All methods may be called concurrently; Close
// cuts what is open and waits for its goroutines.
type balancer struct {
	listener net.Listener
	nodes    func() []string // addresses that may answer
	wg       sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// balancerDial bounds the attempt at one node, after which the next has its turn.
const balancerDial = time.Second

// balancerBuffer is what each direction of a connection holds.
const balancerBuffer = 4 << 10

func newBalancer(nodes func() []string) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start balancer: %w", err)
	}
	b := &balancer{listener: l, nodes: nodes, open: make(map[net.Conn]struct{})}
	b.wg.Go(b.accept)
	return b, nil
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

func (b *balancer) Close() {
	b.mu.Lock()
	b.closed = true
	for c := range b.open {
		_ = c.Close() // which ends its copies
	}
	b.mu.Unlock()
	_ = b.listener.Close()
	b.wg.Wait()
}

func (b *balancer) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		b.wg.Go(func() { b.serve(conn) })
	}
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	if !b.keep(client) {
		return
	}
	defer b.forget(client)
	node, err := b.dial()
	if err != nil {
		return // the client finds its connection closed and comes again
	}
	defer node.Close()
	if !b.keep(node) {
		return
	}
	defer b.forget(node)
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		// Bare, or the copy goes through a pipe: four more open files for each
		// connection, of which there may be thousands.
		_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, balancerBuffer))
		if half, ok := to.(*net.TCPConn); err == nil && ok && half.CloseWrite() == nil {
			return // an end in good order; the other direction may go on
		}
		_ = to.Close()
		_ = from.Close()
	}
	both.Go(func() { pass(node, client) })
	both.Go(func() { pass(client, node) })
	both.Wait()
}

// dial tries the nodes in a random order.
func (b *balancer) dial() (net.Conn, error) {
	addrs := b.nodes()
	errs := []error{errors.New("no node takes a connection")}
	for _, i := range rand.Perm(len(addrs)) {
		conn, err := net.DialTimeout("tcp", addrs[i], balancerDial)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// keep notes a connection for Close; false: it is too late for it.
func (b *balancer) keep(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.open[c] = struct{}{}
	return true
}

func (b *balancer) forget(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}
