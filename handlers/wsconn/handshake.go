package wsconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

const (
	// readBufferBytes and writeBufferBytes are all the buffer that an idle WebSocket has. Large messages bypass the
	// first. The second holds one control frame (127 bytes), so that the library writes each frame in one piece.
	readBufferBytes  = 128
	writeBufferBytes = 128
)

// RefusedError says that a handshake cannot be accepted, and what the handler should answer.
type RefusedError struct {
	Status int         // 400, 405 or 426
	Header http.Header // what belongs to this answer: Upgrade, Connection, Sec-WebSocket-Version, Allow; nothing about a body
	Reason string      // for the client
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refuse WebSocket handshake (%d): %s", e.Status, e.Reason)
}

// accept judges the handshake. It gives a Conn that has no connection yet, and the response head that turns the protocol.
func accept(r *http.Request, opts *websocket.AcceptOptions, maxMessageBytes int64, o Options) (*Conn, []byte, error) {
	conn := &Conn{closeWait: o.CloseWait}
	var own websocket.AcceptOptions
	if opts != nil {
		own = *opts
	}
	own.OnPingReceived = conn.answerPingFor(own.OnPingReceived)
	w := &recorder{header: make(http.Header, 4), conn: conn}
	lib, err := websocket.Accept(w, r, &own)
	if err != nil {
		return nil, nil, w.refusal(err)
	}
	lib.SetReadLimit(maxMessageBytes)
	conn.lib = lib
	// The library reads through a reader: first the bytes that came with the handshake (none), then the connection.
	// Unless it is removed, that reader stays for the connection's life and costs 112 bytes.
	w.read.Reset((*libraryEnd)(conn))

	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	// Neither can fail: both write to a buffer.
	_ = w.header.Write(&head)
	head.WriteString("\r\n")
	return conn, head.Bytes(), nil
}

// recorder is the http.ResponseWriter that websocket.Accept sees. It notes the answer instead of sending it. Its Hijack
// gives a connection that is bound later, since fasthttp lets go of the real one only after the handler.
type recorder struct {
	header http.Header
	status int
	conn   *Conn
	read   *bufio.Reader // given away by Hijack
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil // the handler writes the body of a refusal itself
}

func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	end := (*libraryEnd)(w.conn)
	w.read = bufio.NewReaderSize(end, readBufferBytes)
	return end, bufio.NewReadWriter(w.read, bufio.NewWriterSize(end, writeBufferBytes)), nil
}

func (w *recorder) refusal(err error) *RefusedError {
	e := &RefusedError{Status: w.status, Header: w.header, Reason: err.Error()}
	if inner := errors.Unwrap(err); inner != nil {
		e.Reason = inner.Error() // without the library's "failed to accept ..."
	}
	e.Header.Del("Content-Type")
	e.Header.Del("X-Content-Type-Options")
	switch e.Status {
	case http.StatusUpgradeRequired: // RFC 9110, 15.5.22: must name the protocol; the library forgets it for HTTP/1.0
		e.Header.Set("Connection", "Upgrade")
		e.Header.Set("Upgrade", "websocket")
	case http.StatusMethodNotAllowed: // 15.5.6: must name the methods
		e.Header.Set("Allow", http.MethodGet)
	}
	return e
}

// handshakeHeaders are the headers that websocket.Accept reads.
var handshakeHeaders = [...]string{
	"Connection", "Upgrade", "Origin", "Sec-Websocket-Key", "Sec-Websocket-Version",
	"Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
}

// handshakeRequest copies the parts that websocket.Accept needs: fasthttp overwrites its own strings with the next
// request.
func handshakeRequest(c *fiber.Ctx) *http.Request {
	from := &c.Request().Header
	header := make(http.Header, len(handshakeHeaders))
	for _, name := range handshakeHeaders {
		for _, value := range from.PeekAll(name) {
			header[name] = append(header[name], string(value))
		}
	}
	r := &http.Request{
		Method: utils.CopyString(c.Method()), URL: &url.URL{Path: utils.CopyString(c.Path())}, Host: string(from.Host()),
		Proto: string(from.Protocol()), ProtoMajor: 1, Header: header, Body: http.NoBody,
	}
	if from.IsHTTP11() {
		r.ProtoMinor = 1
	}
	return r
}
