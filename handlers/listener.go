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
)

// patientListener goes on when the process or the system is out of descriptors
// or memory for a moment. fasthttp takes any failed accept for the listener's
// end: a peer that opens many connections would end the node with it.
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
	for pause := minAcceptPause; ; pause = min(2*pause, maxAcceptPause) {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			return &endNoting{Conn: conn}, nil
		case !passing(err):
			return nil, err
		}
		l.log.Warn("accept failed, trying again", "error", err, "pause", pause.String())
		time.Sleep(pause)
	}
}

// endNoting is a connection as fasthttp reads it. fasthttp ends a chunked body with
// the same io.EOF whether its last chunk came or the connection broke off behind
// another one; it reads no further than that chunk, so who knows whether the
// connection has ended knows which.
type endNoting struct {
	net.Conn
	ended bool // a read met the end; owned by who reads
}

// Read implements net.Conn.
func (c *endNoting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		c.ended = true
	}
	return n, err
}

// Bare is the connection itself, which is all that is kept when it is taken over.
func (c *endNoting) Bare() net.Conn { return c.Conn }

// freshConns are the connections that have not sent a whole header yet. Browsers
// hold some in reserve and send nothing over them; fasthttp takes a connection for
// busy from its start, and would wait for each when it shuts down. All methods may
// be called concurrently.
type freshConns struct {
	mu  sync.Mutex
	all map[net.Conn]bool // true: its wait for a header was ended
}

// note is fasthttp's ConnState hook.
func (f *freshConns) note(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.all == nil {
			f.all = make(map[net.Conn]bool)
		}
		f.all[c] = false
	case fasthttp.StateActive: // it says so before it has read anything
	default:
		f.forget(c)
	}
}

// forget takes a connection off whose request has come. If that was in the moment in
// which the wait for it was ended, there is still its body to be read.
func (f *freshConns) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all[c] {
		_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // a closed one has no body
	}
	delete(f.all, c)
}

// closeUntil has fasthttp close them, now and again until done is closed: one can
// have been accepted in the listener's last moment. It only ends the wait for a
// header: one can have come in this very moment, and fasthttp panics when the
// connection of a request that it serves was closed by somebody else.
func (f *freshConns) closeUntil(done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		for c := range f.all {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			f.all[c] = true
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
