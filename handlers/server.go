// Package handlers is the edge of the hub. It speaks HTTP, server-sent events and WebSocket
// to clients, authenticates them, and calls the hub. It makes every refusal that it can
// make before the first byte of a stream.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Config holds the parts and the settings of a Server.
type Config struct {
	Node    string // its name
	Hub     *hub.Hub
	Signer  *auth.Signer
	Keys    func() auth.Keys // the API keys that are valid now
	Origins auth.Origins     // allowed besides the same origin
	Proxies Proxies          // may name a client's address for the log
	// Local lets requests without a credential act as the user "local", and checks their
	// Host. It is for a loopback listener without keys.
	Local bool
	// Anonymous lets requests without a credential act as the user "anonymous" on any
	// listener (--allow-anonymous). Requests from a page of another site stay refused.
	Anonymous       bool
	PublicURL       string // base of the URLs in answers; empty: from the request's Host
	MaxMessageBytes int    // of a request body or a WebSocket message
	MaxEventBytes   int    // of an event's data

	MaxAttachmentBytes int // of the body of an upload

	Ready      func() error     // whether the node takes new clients, for /readyz
	WorkerKeys func() auth.Keys // the keys that open the worker link now; none of them is in Keys
	Dashboard  fs.FS            // built files; without an index.html, a page says how to build them
	Metrics    *metrics.Set
	Log        *slog.Logger
}

// Server is the HTTP side of a node. Serve may be called once.
type Server struct {
	cfg    Config
	app    *fiber.App
	bridge *wsconn.Bridge
	// basePath is the path of Config.PublicURL, without a slash at its end. It comes before
	// every path that clients see; the proxy removes it.
	basePath string

	uploads     transfers
	downloads   transfers // transcripts and files
	attachments transfers // that are read

	fresh     freshConns
	stopping  atomic.Bool     // Shutdown was called
	lingers   chan struct{}   // one token for each connection that closeLingering holds
	links     context.Context // ends with the worker links
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
	public, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("the public URL: %w", err)
	}
	s := &Server{
		cfg: cfg, lingers: make(chan struct{}, maxLingers), basePath: strings.TrimRight(public.EscapedPath(), "/"),
		uploads:     transfers{what: "uploads", most: maxUploads, perUser: maxUploadsPerUser},
		downloads:   transfers{what: "transcripts and files", most: maxDownloads, perUser: maxDownloadsPerUser},
		attachments: transfers{what: "attachments", most: maxAttachmentDownloads, perUser: maxAttachmentDownloadsPerUser},
	}
	s.links, s.stopLinks = context.WithCancelCause(context.Background())
	s.app = fiber.New(fiber.Config{
		AppName:               "sessionhub",
		DisableStartupMessage: true,
		Immutable:             true, // strings outlive their request here
		CaseSensitive:         true,
		StrictRouting:         false,
		// The handlers read and bound the bodies: see incoming. By itself, fasthttp would
		// allocate the memory that a header declares, and write forms to disk, before the
		// caller is known.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		BodyLimit:                    math.MaxInt,

		ReadBufferSize: maxHeaderBytes,
		ReadTimeout:    headerTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		// fiber believes no proxy's headers. The host is the one in Host, and remote
		// decides where a request comes from.
		EnableTrustedProxyCheck: true,
		ErrorHandler:            s.onError,
	})
	s.app.Server().ConnState = s.fresh.note
	s.app.Server().HeaderReceived = deferBody
	s.bridge = wsconn.Configure(s.app, wsconn.Options{})
	s.app.Server().Handler = s.knownMethods(s.app.Server().Handler)
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
	api.Get("/agent-sessions", s.listAgentSessions)
	api.Add(fiber.MethodGet, "/ws", s.channelSocket)
	api.Add(fiber.MethodGet, "/events", s.channelEvents)
	api.Post("/events", s.channelEvents)
	api.Post("/events/:connection", s.changeChannel)
	api.Post("/worktrees", s.prepareWorktree)
	api.Post("/user/token", s.postUserToken)
	api.Delete("/user/token", s.deleteUserToken)
	api.Post("/sign-in", s.postSignIn)
	api.Delete("/sign-in", s.deleteSignIn)
	api.Post("/sign-in/ticket", s.postSignInTicket)
	api.Get("/sign-ins", s.listSignIns)
	api.Delete("/sign-ins/:signInId", s.deleteSignIns)
	api.Post("/sessions", s.createSession)
	api.Get("/sessions", s.listSessions)
	api.Post("/sessions/batch", s.postBatch)
	api.Get("/inbox", s.readInbox)
	one := api.Group("/sessions/:id")
	one.Get("/", s.getSession)
	one.Delete("/", s.deleteSession)
	one.Patch("/", s.patchSession)
	one.Add(fiber.MethodGet, "/events", s.events) // not Get, which also takes HEAD: a stream has none
	one.Add(fiber.MethodGet, "/ws", s.websocket)
	one.Get("/history", s.history)
	one.Get("/transcript", s.transcript)
	one.Post("/messages", s.postMessage)
	one.Post("/attachments", s.postAttachment)
	one.Get("/attachments/:attachmentId", s.getAttachment)
	one.Post("/fork", s.forkSession)
	one.Post("/approve", s.postApprove)
	one.Get("/approvals", s.listApprovals)
	one.Get("/approvals/:interactionId/content", s.approvalContent)
	one.Post("/answer", s.postAnswer)
	one.Get("/elicitations", s.listElicitations)
	one.Get("/elicitations/:interactionId", s.getElicitation)
	one.Post("/cancel", s.postCancel)
	one.Post("/seen", s.postSeen)
	one.Get("/options", s.listOptions)
	one.Patch("/options", s.patchOptions)
	one.Get("/files", s.listFiles)
	one.Get("/files/content", s.fileContent)
	one.Get("/files/search", s.searchFiles)
	one.Get("/changes", s.listChanges)
	one.Get("/changes/diff", s.fileDiff)
	one.Get("/worktree", s.getWorktree)
	one.Post("/worktree", s.postWorktree)
	one.Get("/queue", s.getQueue)
	one.Post("/queue", s.postQueue)
	one.Post("/token", s.postToken)
	one.Delete("/token", s.deleteToken)
	one.Post("/ticket", s.postTicket)
	one.Post("/cookie", s.postCookie)
	s.app.Add(fiber.MethodGet, protocol.WorkerLinkPath, s.workerLink)
	s.documented = registered(s.app) // the dashboard's files are no API
	return s.dashboard()
}

// knownMethods refuses methods that fiber does not know. fiber would answer in text, and
// read the body as the next request on the connection.
func (s *Server) knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	known := s.app.Config().RequestMethods
	return func(ctx *fasthttp.RequestCtx) {
		if slices.Contains(known, string(ctx.Method())) {
			next(ctx)
			return
		}
		s.fresh.forget(ctx.Conn())
		c := s.app.AcquireCtx(ctx)
		defer s.app.ReleaseCtx(c)
		ctx.Response.Header.SetConnectionClose()
		// It cannot fail: the answer is in memory.
		_ = s.onError(c, refuse(protocol.CodeNotImplemented, "HTTP has no such method"))
	}
}

// Serve answers on the listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.cfg.Hub.Channels.Serve(s.changeSubscriptions)
	if err := s.app.Listener(patientListener{l, s.cfg.Log}); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting, ends the worker links, and waits until requests and streams
// have ended. Before it, hub.Drain must have told the streams to end.
func (s *Server) Shutdown(ctx context.Context) error {
	s.EndWorkerLinks()
	s.stopping.Store(true)
	s.downloads.cut()
	s.attachments.cut()
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
	if err := s.cfg.Ready(); err != nil {
		return err
	}
	return c.SendString("ready\n")
}
