package handlers

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"sessionhub/internal/backoff"
)

// patientListener goes on when the process or the system is briefly out of descriptors or
// memory. fasthttp takes any failed accept for the listener's end, so a peer that opens
// many connections would end the node.
type patientListener struct {
	net.Listener
	log *slog.Logger
}

// The pauses after a failed accept, as net/http has them.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Accept implements net.Listener.
func (l patientListener) Accept() (net.Conn, error) {
	for pauses := (backoff.Backoff{Base: minAcceptPause, Max: maxAcceptPause}); ; {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			return &endNoting{Conn: conn}, nil
		case !passing(err):
			return nil, err
		}
		pause := pauses.Bound()
		l.log.Warn("accept failed, trying again", "error", err, "pause", pause.String())
		time.Sleep(pause)
	}
}

// endNoting is a connection as fasthttp reads it, and notes when the connection has ended.
// fasthttp ends a chunked body with the same io.EOF in two cases: its last chunk came, or
// the connection broke off after another chunk. In the second case the connection has
// ended. endNoting also keeps facts that fasthttp does not tell.
type endNoting struct {
	net.Conn

	// Owned by the goroutine that serves the connection.
	ended bool // a read met the end
	held  bool // fasthttp may hold an answer back, since another request has come already
	heard bool // something has come
	mute  bool // writes go nowhere: see brokenOff
}

// Read implements net.Conn.
func (c *endNoting) Read(p []byte) (int, error) {
	c.held = false // it writes what it holds before it waits for another header
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard = true
	}
	if errors.Is(err, io.EOF) {
		c.ended = true
	}
	return n, err
}

// Write implements net.Conn.
func (c *endNoting) Write(p []byte) (int, error) {
	if c.mute {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// proceed tells a client that waits with its body to send it (RFC 9110, section 15.2.1). It
// does not tell a client that has sent this request before it got an earlier answer. That
// client would take the 100 for a part of the earlier answer. Such a client must not wait
// for long.
func (c *endNoting) proceed() error {
	if c.held {
		return nil
	}
	if err := c.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.Conn, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// Bare is the connection itself. It is all that is kept when the connection is taken over.
func (c *endNoting) Bare() net.Conn { return c.Conn }

// freshConns holds the new connections, and those whose next header has begun and is not
// whole yet. Browsers hold some connections in reserve and send nothing over them. fasthttp
// counts a connection as busy from its start, and would wait for each when it shuts down.
// All methods may be called concurrently.
type freshConns struct {
	mu     sync.Mutex
	all    map[net.Conn]bool     // true: its wait for a header was ended
	bodies map[net.Conn]struct{} // those whose request's body may not have arrived yet
}

// bodyGrace is how long the rest of a body may take when the server stops.
const bodyGrace = 2 * time.Second

// expectBody notes that the body of a request is awaited, until arrived is called.
func (f *freshConns) expectBody(c net.Conn) (arrived func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bodies == nil {
		f.bodies = make(map[net.Conn]struct{})
	}
	f.bodies[c] = struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.bodies, c)
	}
}

// note is fasthttp's ConnState hook.
func (f *freshConns) note(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew, fasthttp.StateActive: // of a new one it says both before it has read anything
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.all == nil {
			f.all = make(map[net.Conn]bool)
		}
		f.all[c] = false
	default:
		f.forget(c)
	}
}

// forget drops a connection whose request has arrived. If closeUntil ended the wait for the
// header in that moment, the connection still has a body to be read.
func (f *freshConns) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all[c] {
		_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // a closed one has no body
	}
	delete(f.all, c)
}

// closeUntil makes fasthttp close the fresh connections, again and again until done is
// closed: the listener can have accepted one in its last moment. After bodyGrace it also
// ends the waits for bodies.
//
// It only ends a wait, and never closes a connection itself. A header can have arrived in
// this very moment. fasthttp panics when another goroutine closes the connection of a
// request that it serves.
func (f *freshConns) closeUntil(done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		f.mu.Lock()
		for c := range f.all {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			f.all[c] = true
		}
		if time.Since(began) >= bodyGrace {
			for c := range f.bodies {
				_ = c.SetReadDeadline(time.Unix(1, 0))
			}
		}
		f.mu.Unlock()
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// passing reports whether a failed accept says nothing about the next one.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
