// Package app joins the parts of sessionhub into a running node. It is the only
// package that knows all of them.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sessionhub/handlers"
	"sessionhub/hub"
	"sessionhub/internal/config"
	"sessionhub/metrics"
	"sessionhub/web"
	"sessionhub/worker"
)

// Version is set by the linker (see the Makefile).
var Version = "dev"

// Node is a running hub with its listeners, and its own worker unless told
// otherwise. Start it once; Stop it once.
type Node struct {
	cfg    config.Serve
	log    *slog.Logger
	name   string // of this process, among the nodes of its hub
	store  hub.Store
	hub    *hub.Hub
	worker *worker.Worker // nil with --worker none
	server *handlers.Server
	admin  *http.Server
	keys   *keyring

	listen, adminListen net.Listener

	// endLink ends the link of the embedded worker and waits, for at most the time of
	// ctx, until the hub has stored what came over it. nil without that worker.
	endLink func(ctx context.Context)

	leaving atomic.Bool // the drain is announced: see Serve

	ends   []func() // what Stop ends at last, in reverse order
	wg     sync.WaitGroup
	links  sync.WaitGroup // the hub's side of links inside this process
	failed chan error     // a part that ended by itself
}

// Start brings a node up: when it returns, requests are answered.
func Start(cfg config.Serve, log *slog.Logger) (*Node, error) {
	return start(context.Background(), cfg, log)
}

// start is Start; the end of ctx ends the wait for a store.
func start(ctx context.Context, cfg config.Serve, log *slog.Logger) (_ *Node, err error) {
	n := &Node{cfg: cfg, log: log, name: nodeName(), failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			n.abort()
		}
	}()
	p, err := prepare(&n.cfg, n.name, log)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(p.providers))
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	set := metrics.New(reg, metrics.Build{Version: Version}, names)

	if n.worker = p.worker; n.worker != nil {
		n.ends = append(n.ends, func() { _ = n.worker.Close() })
	}
	if err := n.openStore(ctx, set, &p); err != nil {
		return nil, err
	}
	// Behind the store: whoever comes while it is waited for is refused, and does
	// not wait for an answer too.
	if n.listen, err = listen(cfg.Listen); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if n.adminListen, err = listen(cfg.AdminListen); err != nil {
		return nil, fmt.Errorf("--admin-listen: %w", err)
	}
	n.keys = newKeyring(n.cfg, p.keys, p.workerKeys, log)
	n.hub = n.newHub(names, set)
	metrics.RegisterGauges(reg, names, n.hub.Gauges)
	if n.server, err = n.newServer(p, set); err != nil {
		return nil, err
	}
	n.admin = newAdmin(reg, n.ready, newAdminGuard(n.adminListen, p.adminHosts, log))
	n.run()
	return n, nil
}

func (n *Node) newHub(providers []string, set *metrics.Set) *hub.Hub {
	timers := hub.DefaultTimers
	timers.WriteTimeout = n.cfg.WriteTimeout
	timers.SSEMaxAge = n.cfg.SSEMaxAge
	timers.WorkerLease = n.cfg.WorkerLease
	// Three in a lease, and in whole seconds, as welcome tells them.
	timers.LinkHeartbeat = min(timers.LinkHeartbeat, (n.cfg.WorkerLease / 3).Truncate(time.Second))
	policy := hub.DefaultPolicy
	policy.MaxQueuedMessages, policy.ApprovalTimeout = n.cfg.MaxQueuedMessages, n.cfg.ApprovalTimeout
	policy.SessionIdleTTL, policy.CompactAfter = n.cfg.SessionIdleTTL, n.cfg.CompactAfter
	cfg := hub.Config{
		Node:   n.name,
		Policy: policy,
		Timers: timers,
		Limits: hub.Limits{
			SessionsPerUser: n.cfg.MaxSessionsPerUser, ConnectionsPerUser: n.cfg.MaxConnectionsPerUser,
			Messages: hub.Rate(n.cfg.RateMessages), Sessions: hub.Rate(n.cfg.RateSessions),
		},
		MaxEventBytes:            n.cfg.MaxEventBytes,
		MaxAttachmentBytes:       n.cfg.MaxAttachmentBytes,
		MaxAttachmentsBytes:      n.cfg.MaxAttachmentsBytes,
		MaxConnectionsPerSession: n.cfg.MaxConnectionsPerSession,
		MaxConnections:           n.cfg.MaxConnections,
		MaxSubscriptions:         n.cfg.MaxSubscriptions,
		DefaultProvider:          n.cfg.DefaultProvider,
		Providers:                providers,
		Preselect:                n.preselect(),
		ShareAgentSessions:       n.cfg.ShareAgentSessions || n.cfg.LocalMode(),
		SignInTTL:                n.cfg.SignInTTL,
		KeyHolds:                 n.keys.holds,
		Metrics:                  set,
		Log:                      n.log,
	}
	if n.worker != nil {
		cfg.ResolveDirectory = func(dir string) (string, error) {
			resolved, err := worker.Config{Root: n.cfg.WorkspaceRoot}.ResolveDir(dir)
			if errors.Is(err, worker.ErrWorkingDirectory) {
				return "", refusedDirectory{err}
			}
			return resolved, err
		}
	}
	return hub.New(cfg, n.store)
}

func (n *Node) newServer(p parts, set *metrics.Set) (*handlers.Server, error) {
	return handlers.New(handlers.Config{
		Node: n.name, Hub: n.hub, Signer: p.signer, Keys: n.keys.Keys, WorkerKeys: n.keys.WorkerKeys,
		Origins: p.origins, Proxies: p.proxies,
		Local: n.cfg.LocalMode(), Anonymous: n.cfg.Anonymous(),
		PublicURL: n.cfg.PublicURL, MaxMessageBytes: n.cfg.MaxMessageBytes, MaxEventBytes: n.cfg.MaxEventBytes, MaxAttachmentBytes: n.cfg.MaxAttachmentBytes,
		Ready: n.ready, Dashboard: web.Dist(), Metrics: set, Log: n.log,
	})
}

// preselect is the provider that pages offer first, if the operator has named one.
func (n *Node) preselect() string {
	if n.cfg.DefaultProviderSaid {
		return n.cfg.DefaultProvider
	}
	return ""
}

// refusedDirectory is the worker's refusal as the hub knows it: hub and worker do
// not know each other, and the text of both would say the same twice.
type refusedDirectory struct{ error }

func (refusedDirectory) Is(target error) bool { return target == hub.ErrWorkingDirectory }

func (e refusedDirectory) Unwrap() error { return e.error }

// run starts what runs beside the listeners, and then those.
func (n *Node) run() {
	hubCtx, stopHub := context.WithCancel(context.Background())
	n.wg.Go(func() { n.hub.Run(hubCtx) })
	n.keys.start(hubCtx, &n.wg, n.hub.RecheckKeys)
	n.wg.Go(func() { giveMemoryBack(hubCtx, n.log) })
	n.ends = append(n.ends, stopHub)
	if n.worker != nil {
		linkCtx, stopLink := context.WithCancel(context.Background())
		// The hub's side outlives the worker's: a release has no acknowledgement, so
		// the worker is done with it when it is written, and the hub is not.
		hubSide, cutLink := context.WithCancel(context.Background())
		dial := func(context.Context) (worker.Conn, error) { return n.dialWorker(hubSide) }
		gone := make(chan struct{})
		n.wg.Go(func() {
			defer close(gone)
			if err := n.worker.Run(linkCtx, dial); err != nil && linkCtx.Err() == nil {
				n.failed <- fmt.Errorf("embedded worker: %w", err)
			}
		})
		n.ends = append(n.ends, cutLink, stopLink)
		n.endLink = func(ctx context.Context) {
			stopLink()
			served := make(chan struct{})
			n.wg.Go(func() {
				defer close(served)
				<-gone
				n.links.Wait()
			})
			select {
			case <-served:
			case <-ctx.Done():
			}
		}
	}
	n.wg.Go(func() {
		if err := n.server.Serve(n.listen); err != nil {
			n.failed <- fmt.Errorf("serve %s: %w", n.listen.Addr(), err)
		}
	})
	n.wg.Go(func() {
		if err := n.admin.Serve(n.adminListen); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("serve %s: %w", n.adminListen.Addr(), err)
		}
	})
}

// dialWorker joins the embedded worker to the hub, as a WebSocket joins a
// remote one.
func (n *Node) dialWorker(ctx context.Context) (worker.Conn, error) {
	ours, theirs := newPipe()
	n.links.Add(1)
	n.wg.Go(func() {
		defer n.links.Done()
		_ = n.hub.ServeWorker(ctx, ours, hub.WorkerKey{})
	})
	return theirs, nil
}

// URL is where the API and the dashboard answer.
func (n *Node) URL() string { return "http://" + n.listen.Addr().String() }

// AdminURL is where the metrics are.
func (n *Node) AdminURL() string { return "http://" + n.adminListen.Addr().String() }

// Failed tells when a part ended by itself, which ends the node.
func (n *Node) Failed() <-chan error { return n.failed }

// abort ends what was started, the last first.
func (n *Node) abort() {
	for _, end := range slices.Backward(n.ends) {
		end()
	}
	n.ends = nil
	for _, l := range []net.Listener{n.listen, n.adminListen} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// Serve runs a node until ctx ends. Then it says for --drain-delay that it is not
// ready, while it goes on as before, and drains. again gives the signals behind the
// first: the next one ends what is under way, the delay or the drain. What fails for good
// meanwhile is in the error too.
func Serve(ctx context.Context, cfg config.Serve, log *slog.Logger, out io.Writer, again <-chan os.Signal) error {
	n, err := start(ctx, cfg, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was told to end before it began
		}
		return err
	}
	facts := []fact{{"dashboard", n.URL() + "/"}, {"metrics", n.AdminURL() + "/metrics"}, {"workspace", n.cfg.WorkspaceRoot}, {"sessions", n.keptIn()}}
	if n.worker != nil {
		facts = append(facts, fact{"agents", agentsLine(n.worker.ProviderNames())})
	}
	var notes []string
	if !web.HasDashboard() {
		notes = append(notes, "The dashboard is not in this build: install Node 20 or newer and run `make build`. The API works.")
	}
	banner(out, cfg.LogFormat, facts, notes...)
	// Not in Start: its caller may attach a worker.
	if n.worker == nil && n.keys.WorkerKeys().Len() == 0 && cfg.WorkerKeysFile == "" {
		log.Warn("no worker can join: --worker is none, and there is no worker key (SESSIONHUB_WORKER_KEY, SESSIONHUB_WORKER_KEYS_FILE)")
	}
	var failure error
	select {
	case <-ctx.Done():
		failure = n.announceDrain(again)
		log.Info("stopping: turns may finish", "timeout", cfg.DrainTimeout.String())
	case failure = <-n.Failed():
		log.Error("a part failed", "error", failure)
	}
	return errors.Join(failure, n.stopUntil(again))
}
