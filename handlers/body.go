package handlers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/protocol"
)

// How much of a body that nobody wants is read, so that its sender can finish
// and read the answer: closing with unread input sends a reset, and that
// overtakes the answer (RFC 9112, section 9.6).
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 64 << 20
	maxLingers  = 128 // at once; beyond, the connection closes at once
	briefly     = 250 * time.Millisecond
)

// checkFraming refuses a request whose end different readers could see in
// different places: what follows could be taken for another request (RFC 9112,
// sections 2.2, 3.2, 5.2, 6.1 and 6.3). raw are the header's lines. fasthttp is
// lenient here: of Content-Length and Transfer-Encoding it takes one.
func checkFraming(raw []byte, http11 bool) error {
	var lengths, codings, hosts int
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case len(line) == 0:
			continue
		case line[0] == ' ' || line[0] == '\t':
			return errors.New("a header line begins with white space")
		case bytes.ContainsAny(line, "\r\x00"):
			return errors.New("a header line holds a control character")
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte(fiber.HeaderContentLength)):
			lengths++
		case bytes.EqualFold(name, []byte(fiber.HeaderTransferEncoding)):
			codings++
			if !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return errors.New("the only Transfer-Encoding that is taken is chunked")
			}
		case bytes.EqualFold(name, []byte(fiber.HeaderHost)):
			hosts++
		}
	}
	switch {
	case lengths > 0 && codings > 0:
		return errors.New("Content-Length and Transfer-Encoding exclude each other")
	case lengths > 1 || codings > 1:
		return errors.New("the length of the body is given more than once")
	case codings > 0 && !http11:
		return errors.New("Transfer-Encoding needs HTTP/1.1")
	case hosts > 1 || hosts == 0 && http11:
		return fmt.Errorf("HTTP/1.1 needs one Host header, there are %d", hosts)
	}
	return nil
}

// incoming is the body of one request. It is read while its handler runs, so
// that a body costs memory only for a caller who may send one, and only for what
// has come of it. Owned by the request's goroutine.
type incoming struct {
	stream io.Reader
	conn   *endNoting // what it is read from; nil in a test
	length int        // declared; -1: chunked
	taken  int
	done   bool  // read to its end
	failed error // the connection can carry no other request
}

const incomingKey = "sessionhub.incoming"

// receive makes the request's body known, if it has one.
func receive(c *fiber.Ctx) {
	if stream := c.Context().RequestBodyStream(); stream != nil {
		conn, _ := c.Context().Conn().(*endNoting)
		c.Locals(incomingKey, &incoming{stream: stream, conn: conn, length: c.Request().Header.ContentLength()})
	}
}

// incomingOf gives the request's body; nil if it has none.
func incomingOf(c *fiber.Ctx) *incoming {
	in, _ := c.Locals(incomingKey).(*incoming)
	return in
}

func (in *incoming) chunked() bool { return in.length < 0 }

// Read implements io.Reader. Behind the end of a chunked body the stream would
// read the next request.
func (in *incoming) Read(p []byte) (int, error) {
	switch {
	case in.failed != nil:
		return 0, in.failed
	case in.done:
		return 0, io.EOF
	}
	n, err := in.stream.Read(p)
	in.taken += n
	if errors.Is(err, io.EOF) && in.brokeOff() {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(err, io.EOF):
		in.done = true
	case err != nil:
		in.failed = err
	case in.taken == in.length:
		in.done = true
	}
	return n, err
}

// brokeOff reports whether a body that the stream says is over has not come whole.
func (in *incoming) brokeOff() bool {
	if in.chunked() {
		return in.conn != nil && in.conn.ended
	}
	return in.taken < in.length
}

// skip reads the rest away, up to a bound, and reports whether that was all.
func (in *incoming) skip(most int) bool {
	if in.length > most {
		return false
	}
	_, _ = io.CopyN(io.Discard, in, int64(most)+1) // what went wrong is in in
	return in.done
}

// settle completes the answer, and sees to it that nothing of the body is left
// on a connection that is used again: it would be read as the next request.
func (s *Server) settle(c *fiber.Ctx) error {
	s.fresh.forget(c.Context().Conn())
	receive(c)
	commonHeaders(c)
	if err := c.Next(); err != nil {
		if err := s.onError(c, err); err != nil {
			return err
		}
	}
	in := incomingOf(c)
	switch {
	case in == nil:
	case in.chunked(), in.failed != nil:
		// Trailers are read differently by different servers: no request follows
		// a chunked one on its connection.
		c.Response().Header.SetConnectionClose()
		if in.failed == nil && !in.skip(s.cfg.MaxMessageBytes) && in.failed == nil {
			return s.closeLingering(c)
		}
	case !in.done && !in.skip(s.cfg.MaxMessageBytes):
		c.Response().Header.SetConnectionClose()
		if in.failed == nil {
			return s.closeLingering(c)
		}
	}
	if s.cfg.Hub.Draining() && !c.Context().Hijacked() {
		// A client behind a balancer of connections would ask this node again, over
		// the connection that it has kept, for as long as it is refused.
		c.Response().Header.SetConnectionClose()
	}
	return nil
}

// closeLingering writes the answer at once, and reads away what the client still
// sends: many clients look for an answer only when they have sent everything.
func (s *Server) closeLingering(c *fiber.Ctx) error {
	select {
	case s.lingers <- struct{}{}:
	default:
		return nil // the server's load counts more than this client's answer
	}
	release := func() { <-s.lingers }
	c.Response().SkipBody = c.Method() == fiber.MethodHead
	var answer bytes.Buffer
	w := bufio.NewWriter(&answer)
	if err := errors.Join(c.Response().Write(w), w.Flush()); err != nil {
		release()
		return fmt.Errorf("write the answer: %w", err)
	}
	err := s.bridge.Hijack(c, answer.Bytes(), func(sock *wsconn.Socket) {
		defer release()
		timer := time.AfterFunc(lingerTime, sock.Cut)
		defer timer.Stop()
		buf := make([]byte, 8<<10)
		for left := lingerBytes; left > 0; {
			n, err := sock.Read(buf)
			if err != nil {
				return
			}
			left -= n
		}
	}, func(error) { release() })
	if err != nil {
		release()
	}
	return err
}

// discardBriefly reads away what has come of a header that is too long.
func discardBriefly(conn net.Conn) {
	if conn.SetReadDeadline(time.Now().Add(briefly)) == nil {
		_, _ = io.CopyN(io.Discard, conn, 1<<20)
	}
}

// body reads a JSON body into v. An empty one leaves v as it is.
func (s *Server) body(c *fiber.Ctx, v any) error {
	var raw []byte
	if in := incomingOf(c); in != nil {
		var err error
		if raw, err = in.whole(s.cfg.MaxMessageBytes); err != nil {
			return err
		}
	}
	if len(raw) == 0 && c.Get(fiber.HeaderContentType) == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if err != nil || kind != fiber.MIMEApplicationJSON || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
		return refuse(protocol.CodeUnsupportedMedia, "the body must be declared as Content-Type: application/json")
	}
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(protocol.CodeUnsupportedMedia, "the body must not be compressed")
	}
	return decode(raw, v, "the body")
}

// whole reads the body, which must not be longer than most.
func (in *incoming) whole(most int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, refuse(protocol.CodeRequestTimeout, "the body did not come within %v", bodyTimeout)
	case err != nil:
		return nil, refuse(protocol.CodeInvalidRequest, "the body broke off or is not well-formed")
	case len(raw) > most:
		return nil, fiber.ErrRequestEntityTooLarge
	}
	return raw, nil
}

// decode reads JSON from outside. The library's own words for a wrong shape name
// types of this program: they are put into the client's.
func decode(raw []byte, v any, what string) error {
	var shape *json.UnmarshalTypeError
	switch err := protocol.Decode(raw, v); {
	case errors.As(err, &shape) && shape.Field != "":
		return refuse(protocol.CodeInvalidRequest, "%s: %s cannot be a JSON %s", what, shape.Field, shape.Value)
	case errors.As(err, &shape):
		return refuse(protocol.CodeInvalidRequest, "%s must be a JSON object, not a JSON %s", what, shape.Value)
	case err != nil:
		return refuse(protocol.CodeInvalidJSON, "%s is not JSON: %v", what, err)
	}
	return nil
}
