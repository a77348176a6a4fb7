package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sessionhub/internal/auth"
	"sessionhub/internal/config"
	"sessionhub/metrics"
	"sessionhub/worker"
	"sessionhub/worker/wslink"
)

// ParseHub reads the address of a hub for a worker.
func ParseHub(text string) (*url.URL, error) { return wslink.ParseHub(text) }

// RunWorker runs agents for a hub elsewhere until ctx ends; then it drains, for at
// most --drain-timeout or until force ends. It returns an error that wraps
// ErrConfig for what is wrong with a setting, and another when the hub refuses
// the key, when the listener fails, or when what was to be handed over could not.
// Nothing is left running when it returns.
func RunWorker(ctx context.Context, cfg config.Worker, log *slog.Logger, out io.Writer, force context.Context) error {
	if root, err := filepath.Abs(cfg.WorkspaceRoot); err == nil {
		cfg.WorkspaceRoot = root // for the banner; what is wrong with it is found below
	}
	w, names, err := newWorker(cfg, log)
	if err != nil {
		return err
	}
	defer w.Close()
	dialer := wslink.NewDialer(cfg.Hub, cfg.WorkerKey.Reveal())
	defer dialer.Close()
	admin, adminURL, err := startWorkerAdmin(cfg, w, log)
	if err != nil {
		return err
	}
	defer admin.stop()
	facts := []fact{{"hub", cfg.Hub.String()}, {"workspace", cfg.WorkspaceRoot}, {"providers", strings.Join(names, ", ")}}
	if adminURL != "" {
		facts = append(facts, fact{"metrics", adminURL + "/metrics"})
	}
	banner(out, cfg.LogFormat, facts)
	if cfg.Hub.Scheme == "ws" && !isLoopbackHost(cfg.Hub.Hostname()) {
		log.Warn("the key and everything the agents say go over the network in the clear: use wss://", "hub", cfg.Hub.String())
	}

	life, stop := context.WithCancel(context.Background())
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- w.Run(life, dialer.Dial) }()
	select {
	case err := <-ran:
		return err
	case err := <-admin.failed:
		stop()
		<-ran
		return err
	case <-ctx.Done():
	}
	log.Info("stopping: turns may finish", "timeout", cfg.DrainTimeout.String())
	err = drainWorker(w, cfg.DrainTimeout, force, ran)
	stop()
	if runErr := <-ran; err == nil && !errors.Is(runErr, worker.ErrClosed) {
		err = runErr
	}
	log.Info("stopped", "error", err)
	return err
}

// drainWorker hands over what the worker has. The end of force, or of its link for
// good, ends that.
func drainWorker(w *worker.Worker, timeout time.Duration, force context.Context, ran chan error) error {
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(drain) }()
	select {
	case err := <-drained:
		return err
	case <-force.Done():
		_ = w.Close() // Drain returns
		return <-drained
	case err := <-ran:
		_ = w.Close()
		<-drained
		ran <- err // for the caller
		return err
	}
}

// newWorker makes the worker, and names every setting that is wrong.
func newWorker(cfg config.Worker, log *slog.Logger) (*worker.Worker, []string, error) {
	providers, err := loadProviders(cfg.ProvidersFile)
	var errs []error
	if err != nil {
		errs = append(errs, fmt.Errorf("--providers-file: %w", err))
		providers = map[string]worker.Provider{demoProvider: {Command: demoProvider}} // to find what else is wrong
	}
	if err := checkLeftOut(cfg.LeaveOutAgents); err != nil {
		errs = append(errs, fmt.Errorf("--leave-out-agents: %w", err))
	}
	if _, err := auth.ParseHosts(cfg.AdminHosts); err != nil {
		errs = append(errs, fmt.Errorf("--admin-hosts: %w", err))
	}
	w, err := worker.New(worker.Config{
		Name: cfg.Name, Version: Version, Root: cfg.WorkspaceRoot, Workspace: cfg.Workspace, Capacity: cfg.WorkerCapacity,
		Worktrees: worktreesDir(cfg.Worktrees, os.Getenv),
		Providers: providers, Discover: discovery(cfg.DiscoverAgents, cfg.WorkspaceRoot, cfg.LeaveOutAgents), AgentIdle: cfg.AgentIdle, ChildrenIdle: cfg.ChildrenIdle, TurnTimeout: cfg.TurnTimeout, BufferBytes: cfg.WorkerBuffer, Log: log,
	})
	if err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		if w != nil {
			_ = w.Close()
		}
		return nil, nil, fmt.Errorf("%w:\n%w", ErrConfig, err)
	}
	return w, w.ProviderNames(), nil
}

// worktreesDir is where a worker keeps worktrees; empty: it makes none.
func worktreesDir(setting string, getenv func(string) string) string {
	switch setting {
	case config.WorktreesNone:
		return ""
	case "":
	default:
		return setting
	}
	// The XDG Base Directory Specification has no use for a relative path.
	data := getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "sessionhub", "worktrees")
}

// CheckWorker is Check for the settings of a worker.
func CheckWorker(cfg config.Worker, log *slog.Logger) error {
	w, _, err := newWorker(cfg, log)
	if w != nil {
		_ = w.Close()
	}
	return err
}

// workerAdmin is a worker's own listener, or nothing.
type workerAdmin struct {
	server *http.Server // nil: there is none
	ended  chan struct{}
	failed chan error
}

func startWorkerAdmin(cfg config.Worker, w *worker.Worker, log *slog.Logger) (*workerAdmin, string, error) {
	a := &workerAdmin{ended: make(chan struct{}), failed: make(chan error, 1)}
	if cfg.AdminListen == "" {
		return a, "", nil
	}
	hosts, err := auth.ParseHosts(cfg.AdminHosts)
	if err != nil {
		return nil, "", fmt.Errorf("--admin-hosts: %w", err)
	}
	l, err := listen(cfg.AdminListen)
	if err != nil {
		return nil, "", fmt.Errorf("--admin-listen: %w", err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.RegisterWorker(reg, metrics.Build{Version: Version}, func() metrics.WorkerStats { return metrics.WorkerStats(w.Stats()) })
	a.server = newAdmin(reg, func() error {
		switch st := w.Stats(); {
		case st.Draining:
			return errors.New("the worker is draining")
		case !st.Linked:
			return errors.New("there is no link to the hub")
		}
		return nil
	}, newAdminGuard(l, hosts, log))
	go func() {
		defer close(a.ended)
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
	}()
	return a, "http://" + l.Addr().String(), nil
}

func (a *workerAdmin) stop() {
	if a.server != nil {
		_ = a.server.Close()
		<-a.ended
	}
}

// isLoopbackHost judges the host of an address.
func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
