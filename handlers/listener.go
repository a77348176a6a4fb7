package handlers

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
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
		if err == nil || !passing(err) {
			return conn, err
		}
		l.log.Warn("accept failed, trying again", "error", err, "pause", pause.String())
		time.Sleep(pause)
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
