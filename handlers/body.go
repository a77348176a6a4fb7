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
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sessionhub/handlers/wsconn"
	"sessionhub/protocol"
)

// Bounds for reading a body that is not wanted. Its sender can then finish and read the
// answer. Closing with unread input sends a reset, and the reset overtakes the answer (RFC
// 9112, section 9.6).
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 64 << 20
	maxLingers  = 128 // at once; beyond, the connection closes at once
	briefly     = 250 * time.Millisecond
	// inFlight is how long an answer waits for the rest of an unwanted body. If the rest
	// arrives by then, its client need not connect again.
	inFlight = 50 * time.Millisecond
)

// framing is what a header says about the length of its body.
type framing struct {
	length int // declared; 0: there is no body; -1: chunked
	// waits: the client sends the body only when it is told to (Expect: 100-continue; RFC
	// 9110, section 10.1.1).
	waits bool
}

// readFraming refuses a request whose end different readers could see in different places.
// Its last bytes could be taken for another request (RFC 9112, sections 2.2, 3.2, 5.2, 6.1
// and 6.3). raw are the header's lines. fasthttp is lenient here: if there are both
// Content-Length and Transfer-Encoding, it takes one of them.
func readFraming(raw []byte, http11 bool) (framing, error) {
	var f framing
	var lengths, codings, hosts int
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case len(line) == 0:
			continue
		case line[0] == ' ' || line[0] == '\t':
			return f, errors.New("a header line begins with white space")
		case bytes.ContainsAny(line, "\r\x00"):
			return f, errors.New("a header line holds a control character")
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.Trim(value, " \t")
		switch {
		case bytes.EqualFold(name, []byte(fiber.HeaderContentLength)):
			lengths++
			n, err := strconv.ParseUint(string(value), 10, strconv.IntSize-1)
			if err != nil {
				return f, errors.New("Content-Length is no number")
			}
			f.length = int(n)
		case bytes.EqualFold(name, []byte(fiber.HeaderTransferEncoding)):
			codings++
			if !bytes.EqualFold(value, []byte("chunked")) {
				return f, errors.New("the only Transfer-Encoding that is taken is chunked")
			}
		case bytes.EqualFold(name, []byte(fiber.HeaderHost)):
			hosts++
		case bytes.EqualFold(name, []byte(fiber.HeaderExpect)):
			f.waits = http11 && bytes.EqualFold(value, []byte("100-continue"))
		}
	}
	switch {
	case lengths > 0 && codings > 0:
		return f, errors.New("Content-Length and Transfer-Encoding exclude each other")
	case lengths > 1 || codings > 1:
		return f, errors.New("the length of the body is given more than once")
	case codings > 0 && !http11:
		return f, errors.New("Transfer-Encoding needs HTTP/1.1")
	case hosts > 1 || hosts == 0 && http11:
		return f, fmt.Errorf("HTTP/1.1 needs one Host header, there are %d", hosts)
	case codings > 0:
		f.length = -1
	}
	return f, nil
}

// deferBody has fasthttp call the handler as soon as the header is there. By itself,
// fasthttp first reads 8 KiB of the body, and sends 100 Continue to every client that waits
// for it. No request could then be refused before its body. fasthttp leaves a chunked body
// to its reader, so deferBody marks the body as chunked. receive restores the length.
func deferBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if h.ContentLength() > 0 {
		h.SetContentLength(-1)
	}
	h.Del(fiber.HeaderExpect)
	return fasthttp.RequestConfig{ReadTimeout: bodyTimeout}
}

// incoming is the body of one request. The handler reads it. A body costs memory only if
// its caller may send one, and only for the bytes that have arrived. Owned by the request's
// goroutine.
type incoming struct {
	stream io.Reader
	conn   *endNoting // what it is read from; nil in a test
	length int        // declared; -1: chunked
	waits  bool       // the client has still to be told to send it
	taken  int
	ahead  []byte // taken already, and still to be read: see readArrived
	done   bool   // read to its end
	failed error  // the connection can carry no other request
}

const incomingKey = "sessionhub.incoming"

// receive finds the request's body, if it has one. It refuses a request whose end is not
// clear, and reads no more of it.
func receive(c *fiber.Ctx) error {
	header := &c.Request().Header
	if err := checkVersion(header); err != nil {
		c.Response().Header.SetConnectionClose()
		return err
	}
	f, err := readFraming(header.RawHeaders(), header.IsHTTP11())
	if err != nil {
		c.Response().Header.SetConnectionClose()
		return refuse(protocol.CodeInvalidRequest, "%v", err)
	}
	if f.length == 0 {
		return nil
	}
	if f.length > 0 { // see deferBody
		header.SetContentLength(f.length)
	}
	conn, _ := c.Context().Conn().(*endNoting)
	c.Locals(incomingKey, &incoming{
		stream: c.Context().RequestBodyStream(), conn: conn, length: f.length, waits: f.waits && conn != nil,
	})
	return nil
}

// checkVersion refuses a request that is not HTTP/1. fasthttp takes every other version
// for 1.0. A later minor version is answered as 1.0, which each of them can read (RFC
// 9110, section 2.5).
func checkVersion(header *fasthttp.RequestHeader) error {
	switch version := string(header.Protocol()); {
	case strings.HasPrefix(version, "HTTP/1."):
		return nil
	case strings.HasPrefix(version, "HTTP/"):
		return refuse(protocol.CodeHTTPVersion, "this hub speaks HTTP/1.0 and HTTP/1.1: a proxy before it can speak others")
	}
	return refuse(protocol.CodeInvalidRequest, "the first line of the request is not one of HTTP/1")
}

// incomingOf returns the request's body, or nil if it has none.
func incomingOf(c *fiber.Ctx) *incoming {
	in, _ := c.Locals(incomingKey).(*incoming)
	return in
}

func (in *incoming) chunked() bool { return in.length < 0 }

// Read implements io.Reader. It stops at the end of a chunked body: the stream would go on
// with the next request.
func (in *incoming) Read(p []byte) (int, error) {
	switch {
	case in.failed != nil:
		return 0, in.failed
	case len(in.ahead) > 0:
		n := copy(p, in.ahead)
		in.ahead = in.ahead[n:]
		in.done = len(in.ahead) == 0 && in.taken == in.length
		return n, nil
	case in.done:
		return 0, io.EOF
	}
	if in.waits {
		in.waits = false
		if in.failed = in.conn.proceed(); in.failed != nil {
			return 0, in.failed
		}
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

// brokeOff reports whether the body is incomplete although the stream says that it is over.
func (in *incoming) brokeOff() bool {
	if in.chunked() {
		return in.conn != nil && in.conn.ended
	}
	return in.taken < in.length
}

// skip reads and drops the rest of the body. It reports whether the whole rest, at most
// most bytes, arrived within inFlight. It does not tell a waiting client to send.
func (in *incoming) skip(most int) bool {
	if in.done {
		return true
	}
	if in.waits || in.failed != nil || in.length > most || in.conn == nil || in.conn.SetReadDeadline(time.Now().Add(inFlight)) != nil {
		return false
	}
	_, _ = io.CopyN(io.Discard, in, int64(most)+1) // in keeps the error
	return in.done
}

// settle completes the answer. If the connection is used again, settle leaves none of the
// body on it: the rest would be read as the next request.
func (s *Server) settle(c *fiber.Ctx) error {
	conn := c.Context().Conn()
	s.fresh.forget(conn)
	err := receive(c)
	commonHeaders(c)
	if err == nil {
		arrived := func() {}
		if incomingOf(c) != nil {
			arrived = s.fresh.expectBody(conn)
		}
		err = c.Next()
		arrived()
	}
	if err != nil {
		if err := s.onError(c, err); err != nil {
			return err
		}
	}
	if c.Context().Hijacked() {
		return nil
	}
	if in := incomingOf(c); in != nil {
		broken := in.failed != nil
		whole := in.skip(s.cfg.MaxMessageBytes)
		if !whole || in.chunked() {
			// Different servers read trailers differently: no request follows a chunked one
			// on its connection.
			c.Response().Header.SetConnectionClose()
		}
		if !whole && !broken {
			return s.closeLingering(c)
		}
	}
	if s.cfg.Hub.Draining() {
		// A load balancer would send the client's next requests over this connection, to
		// this node, for as long as it refuses them.
		c.Response().Header.SetConnectionClose()
	}
	if noting, ok := conn.(*endNoting); ok {
		noting.held = true
	}
	return nil
}

// closeLingering writes the answer at once, then reads and drops the rest of the request.
// Many clients read an answer only when they have sent everything.
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

// discardBriefly reads and drops the bytes of a too long header that have arrived.
func discardBriefly(conn net.Conn) {
	if conn.SetReadDeadline(time.Now().Add(briefly)) == nil {
		_, _ = io.CopyN(io.Discard, conn, 1<<20)
	}
}

// body reads a JSON body into v. An empty body leaves v as it is. The header is judged
// before the body is read.
func (s *Server) body(c *fiber.Ctx, v any) error { return s.bodyUpTo(c, v, s.cfg.MaxMessageBytes) }

// bodyUpTo is body with another bound, for callers that are not known yet.
func (s *Server) bodyUpTo(c *fiber.Ctx, v any, most int) error {
	in := incomingOf(c)
	if c.Get(fiber.HeaderContentType) == "" && (in == nil || in.chunked() && in.empty()) {
		return nil
	}
	kind, params, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if err != nil || kind != fiber.MIMEApplicationJSON || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
		return refuse(protocol.CodeUnsupportedMedia, "the body must be declared as Content-Type: application/json")
	}
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(protocol.CodeUnsupportedMedia, "the body must not be compressed")
	}
	var raw []byte
	if in != nil {
		if raw, err = in.whole(most); err != nil {
			if s.stopping.Load() && toAnswer(err).code == protocol.CodeRequestTimeout {
				err = errStopping // the node ended the wait
			}
			return err
		}
	}
	return decode(raw, v, "the body")
}

// readArrived reads the part of the body that has arrived with the header. It reports
// whether that was the whole body; a missing body counts as whole. It waits for nothing. A
// later Read gives these bytes again.
func (in *incoming) readArrived(most int) bool {
	if in == nil {
		return true
	}
	if in.waits || in.chunked() || in.length > most || in.conn == nil || in.conn.SetReadDeadline(time.Now()) != nil {
		return false
	}
	buf := make([]byte, min(in.length, maxHeaderBytes)) // what came with the header is in a buffer of that size
	var err error
	for n := 0; err == nil && in.taken < in.length && len(in.ahead) < len(buf); {
		n, err = in.stream.Read(buf[len(in.ahead):])
		in.ahead = buf[:len(in.ahead)+n]
		in.taken += n
	}
	if in.conn.SetReadDeadline(time.Now().Add(bodyTimeout)) != nil {
		return false
	}
	return in.taken == in.length
}

// empty waits for the first byte of the body, and reports whether the body ends instead.
func (in *incoming) empty() bool {
	n, err := in.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
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

// decode reads JSON from outside. The JSON library's errors name types of this program:
// decode says them in the client's words.
func decode(raw []byte, v any, what string) error {
	var shape *json.UnmarshalTypeError
	switch err := protocol.Decode(raw, v); {
	case errors.As(err, &shape) && shape.Field != "":
		return refuse(protocol.CodeInvalidRequest, "%s: %s cannot be a JSON %s", what, shape.Field, shape.Value)
	case errors.As(err, &shape):
		return refuse(protocol.CodeInvalidRequest, "%s must be a JSON object, not a JSON %s", what, shape.Value)
	case errors.Is(err, protocol.ErrOptionValue):
		return refuse(protocol.CodeInvalidRequest, "%s: %v", what, err)
	case err != nil:
		return refuse(protocol.CodeInvalidJSON, "%s is not JSON: %v", what, err)
	}
	return nil
}
