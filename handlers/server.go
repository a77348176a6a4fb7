// Package handlers is the edge: it speaks HTTP, server-sent events and
// WebSocket to clients, decides who they are, and calls the hub. Everything
// that can be refused is refused before the first byte of a stream.
package handlers

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Config is what a Server needs.
type Config struct {
	Node    string // its name
	Hub     *hub.Hub
	Signer  *auth.Signer
	Keys    func() auth.Keys // those that count now
	Origins auth.Origins     // allowed besides the same origin
	Proxies Proxies          // believed for where a request comes from, in the log
	// Local lets requests without a credential act as the user "local", and
	// checks their Host: for a loopback listener without keys.
	Local bool
	// Anonymous lets requests without a credential act as the user
	// "anonymous" on any listener and any Host (--allow-anonymous).
	Anonymous       bool
	PublicURL       string           // base of the URLs in answers; empty: from the request's Host
	MaxMessageBytes int              // of a request body or a WebSocket message
	MaxEventBytes   int              // of an event's data
	WorkerKeys      func() auth.Keys // those that open the worker link now; none of them is in Keys
	Dashboard       fs.FS            // built files; without an index.html a page says how to build them
	Metrics         *metrics.Set
	Log             *slog.Logger
}

// Server is the HTTP side of a node. Serve it once.
type Server struct {
	cfg    Config
	app    *fiber.App
	bridge *wsconn.Bridge

	fresh     freshConns
	lingers   chan struct{}   // a place for each connection that closeLingering holds
	links     context.Context // the life of the worker links
	stopLinks context.CancelCauseFunc

	documented []Route // see Routes
}

// Bounds of a request, against peers that send slowly or without end.
const (
	maxHeaderBytes = 16 << 10
	headerTimeout  = 10 * time.Second // from the first byte, or from the connection's start
	bodyTimeout    = 30 * time.Second // from the end of the header
	idleTimeout    = 75 * time.Second // of a kept connection
	answerTimeout  = 30 * time.Second
)

// New makes the routes.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, lingers: make(chan struct{}, maxLingers)}
	s.links, s.stopLinks = context.WithCancelCause(context.Background())
	s.app = fiber.New(fiber.Config{
		AppName:               "sessionhub",
		DisableStartupMessage: true,
		Immutable:             true, // strings outlive their request here
		CaseSensitive:         true,
		StrictRouting:         false,
		// Bodies are read by the handlers, which bound them: see incoming. On its
		// own fasthttp would take the memory for what a header declares, and
		// write forms to disk, before anybody asked who sends it.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		BodyLimit:                    math.MaxInt,

		ReadBufferSize: maxHeaderBytes,
		ReadTimeout:    headerTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		// The framework believes no proxy's headers: the host is the one in
		// Host, and where a request comes from is judged by remote.
		EnableTrustedProxyCheck: true,
		ErrorHandler:            s.onError,
	})
	s.app.Server().ConnState = s.fresh.note
	s.app.Server().HeaderReceived = func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
		return fasthttp.RequestConfig{ReadTimeout: bodyTimeout}
	}
	s.bridge = wsconn.Configure(s.app, wsconn.Options{})
	if err := s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) routes() error {
	s.app.Use(s.settle, s.recoverPanic, s.guard)
	s.app.Get("/healthz", s.healthz)
	s.app.Get("/readyz", s.readyz)

	api := s.app.Group("/api")
	api.Get("/openapi.yaml", s.openAPI)
	api.Get("/asyncapi.yaml", s.asyncAPI)
	api.Get("/providers", s.listProviders)
	api.Get("/stats", s.stats)
	api.Post("/sessions", s.createSession)
	api.Get("/sessions", s.listSessions)
	one := api.Group("/sessions/:id")
	one.Get("/", s.getSession)
	one.Delete("/", s.deleteSession)
	one.Get("/events", s.events)
	one.Get("/ws", s.websocket)
	one.Get("/history", s.history)
	one.Post("/messages", s.postMessage)
	one.Post("/approve", s.postApprove)
	one.Get("/approvals", s.listApprovals)
	one.Post("/cancel", s.postCancel)
	one.Post("/token", s.postToken)
	one.Delete("/token", s.deleteToken)
	one.Post("/ticket", s.postTicket)
	one.Post("/cookie", s.postCookie)
	s.app.Get(protocol.WorkerLinkPath, s.workerLink)
	s.documented = registered(s.app) // the dashboard's files are no API
	return s.dashboard()
}

// Serve answers on the listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.app.Listener(patientListener{l, s.cfg.Log}); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting, ends the worker links, and waits for requests and
// streams to end. The streams must have been told to end: see hub.Drain.
func (s *Server) Shutdown(ctx context.Context) error {
	s.EndWorkerLinks()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { s.fresh.closeUntil(done) })
	err := s.app.ShutdownWithContext(ctx)
	close(done)
	wg.Wait()
	return errors.Join(err, s.bridge.Wait(ctx))
}

func (s *Server) healthz(c *fiber.Ctx) error { return c.SendString("ok\n") }

func (s *Server) readyz(c *fiber.Ctx) error {
	if err := s.cfg.Hub.Ready(); err != nil {
		return err
	}
	return c.SendString("ready\n")
}
