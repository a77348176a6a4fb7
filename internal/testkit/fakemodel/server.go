package fakemodel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// maxRequestBytes bounds a request's body. An agent sends its instructions,
	// its tools and the conversation with each: some 100 KB.
	maxRequestBytes = 16 << 20
	// maxRecorded is how many requests are kept for inspection; the oldest goes
	// when one more arrives.
	maxRecorded = 256
)

// Request is a request as it arrived, for a test to look at. The credential is
// not kept.
type Request struct {
	Path string
	Body json.RawMessage
	Turn Turn
}

// Server is a model API on a free port of 127.0.0.1. Its methods may be called
// concurrently. Whoever made it must Close it.
type Server struct {
	script   Script
	http     *http.Server
	listener net.Listener
	ctx      context.Context // ends every reply that is under way
	cancel   context.CancelFunc
	served   sync.WaitGroup // the goroutine that accepts connections

	mu       sync.Mutex
	requests []Request     // the newest maxRecorded
	total    int           // requests recorded so far
	active   int           // requests that are being read or answered
	closed   bool          // no further request is taken
	left     chan struct{} // closed and replaced whenever active goes down
}

// New starts a server that answers as the script says; nil stands for
// [Directives].
func New(script Script) (*Server, error) {
	if script == nil {
		script = Directives
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the model api: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{script: script, listener: listener, ctx: ctx, cancel: cancel, left: make(chan struct{})}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	s.served.Go(func() { _ = s.http.Serve(listener) }) // always ErrServerClosed, or the listener is gone and clients see it
	return s, nil
}

// URL is the server's base, without a trailing slash and without "/v1".
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close ends every reply and connection and waits until all is done. It may be
// called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	_ = s.http.Close() // an error means that the listener was closed before
	s.served.Wait()
	_ = s.AwaitIdle(context.Background()) // every reply ends with s.ctx
}

// Requests are the newest requests so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// AwaitIdle returns when no reply is being sent, as after a cancel that has
// reached the model, or with ctx's error.
func (s *Server) AwaitIdle(ctx context.Context) error {
	for {
		s.mu.Lock()
		active, left := s.active, s.left
		s.mu.Unlock()
		if active == 0 {
			return nil
		}
		select {
		case <-left:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d replies to end: %w", active, ctx.Err())
		}
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/responses", s.serve(decodeResponses, newResponsesWire, openaiFailure))
	// Codex asks its own model provider for a WebSocket first. This answer makes
	// it take HTTP without asking again (RFC 9110, section 15.5.22).
	mux.HandleFunc("GET /v1/responses", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUpgradeRequired) })
	mux.HandleFunc("POST /v1/messages", s.serve(decodeMessages, newMessagesWire, anthropicFailure))
	mux.HandleFunc("POST /v1/chat/completions", s.serve(decodeChat, newChatWire, openaiFailure))
	mux.HandleFunc("POST /v1beta/models/{call}", s.serve(decodeGemini, newGeminiWire, geminiFailure))
	return mux
}

// wire writes one reply in a vendor's stream format. The calls come in the
// order start, thought, text (for each delta), tool, end: start always, end
// unless the stream breaks off, the others as the reply has them.
type wire interface {
	start()
	thought(text string)
	text(delta string)
	tool(callID string, call ToolCall)
	end()
}

// serve is the one handler; the vendors differ in the parameters only.
func (s *Server) serve(decode func([]byte) (Turn, error), newWire func(*stream, Turn) wire, fail failure) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.leave()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
		if err != nil {
			fail.answer(w, http.StatusBadRequest, "the body could not be read")
			return
		}
		turn, err := decode(body)
		if err != nil {
			fail.answer(w, http.StatusBadRequest, err.Error())
			return
		}
		number := s.record(Request{Path: r.URL.Path, Body: body, Turn: turn})

		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()

		reply := s.script(turn)
		switch {
		case reply.Status != 0:
			fail.answer(w, reply.Status, "scripted error")
			return
		case reply.Silent:
			<-ctx.Done()
			panic(http.ErrAbortHandler) // else net/http would send an empty 200
		}
		if err := send(ctx, reply, newWire(newStream(w, number), turn), number); err != nil {
			panic(http.ErrAbortHandler) // cuts the connection in mid-stream
		}
	}
}

// errBroken is how a reply that is to break off ends.
var errBroken = errors.New("scripted break")

// send plays a reply. An error means that the connection is to be cut.
func send(ctx context.Context, reply Reply, out wire, number int) error {
	out.start()
	if reply.Thought != "" {
		out.thought(reply.Thought)
	}
	for i, delta := range reply.Deltas {
		if i > 0 && reply.Interval > 0 {
			select {
			case <-time.After(reply.Interval):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		out.text(delta)
	}
	if reply.Break {
		return errBroken
	}
	if reply.Tool != nil {
		out.tool(fmt.Sprintf("call_%d", number), *reply.Tool)
	}
	out.end()
	return nil
}

// enter counts a request in; false: the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	close(s.left)
	s.left = make(chan struct{})
}

// record keeps a request for inspection. It returns the request's number, from 1.
func (s *Server) record(r Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	s.requests = append(s.requests, r)
	if len(s.requests) > maxRecorded {
		s.requests = slices.Delete(s.requests, 0, len(s.requests)-maxRecorded)
	}
	return s.total
}
