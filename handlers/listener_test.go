package handlers

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"
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

// A node that stopped once panicked when the request on a connection that it took for
// a silent one had come in that moment.
func TestSilentConnectionSpeaksWhileTheServerStops(t *testing.T) {
	var fresh freshConns
	app := fiber.New(fiber.Config{ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, DisableStartupMessage: true})
	app.Server().ConnState = fresh.note
	arrived, answer := make(chan struct{}), make(chan struct{})
	app.Get("/", func(c *fiber.Ctx) error {
		close(arrived)
		<-answer
		return c.SendString("ok")
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = app.Listener(ln) })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-arrived
	done := make(chan struct{})
	close(done)
	fresh.closeUntil(done) // nobody has told it of the request yet
	close(answer)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the answer is %v, %v", response, err)
	}
	if err := app.Shutdown(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// Its body, too, is read then.
func TestBodyComesWhileTheServerStops(t *testing.T) {
	var fresh freshConns
	app := fiber.New(fiber.Config{ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, StreamRequestBody: true, DisableStartupMessage: true})
	app.Server().ConnState = fresh.note
	arrived, stopping := make(chan struct{}), make(chan struct{})
	app.Post("/", func(c *fiber.Ctx) error {
		close(arrived)
		<-stopping
		fresh.forget(c.Context().Conn()) // as settle does
		body, err := io.ReadAll(c.Context().RequestBodyStream())
		if err != nil {
			return err
		}
		return c.Send(body)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = app.Listener(ln) })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// More than fasthttp reads before it calls the handler.
	first, rest := strings.Repeat("a", 9000), strings.Repeat("b", 1000)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n"+first); err != nil {
		t.Fatal(err)
	}
	<-arrived
	done := make(chan struct{})
	close(done)
	fresh.closeUntil(done)
	close(stopping)
	if _, err := io.WriteString(conn, rest); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != first+rest {
		t.Errorf("%s: %d bytes came back, %v", response.Status, len(body), err)
	}
	if err := app.Shutdown(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
