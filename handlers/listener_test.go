package handlers

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failing gives its errors, one for each accept.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

// Out of descriptors, the listener once ended, and the whole node with it.
func TestListenerOutlivesALackOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		l := patientListener{&failing{errs: []error{full, full, full, net.ErrClosed}}, slog.New(slog.DiscardHandler)}
		started := time.Now()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(started); took != 35*time.Millisecond {
			t.Errorf("it waited %v", took)
		}
	})
}
