package app

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sessionhub/handlers"
	"sessionhub/hub/store/valkey"
	"sessionhub/internal/auth"
	"sessionhub/internal/config"
	"sessionhub/protocol"
	"sessionhub/worker"
)

// ErrConfig is wrapped by what Start refuses because of a setting.
var ErrConfig = errors.New("bad configuration")

// demoProvider is the provider that every build has.
const demoProvider = "demo"

// parts is what is made from the settings before anything starts.
type parts struct {
	providers map[string]worker.Provider
	worker    *worker.Worker // nil with --worker none
	signer    *auth.Signer
	origins   auth.Origins
	proxies   handlers.Proxies

	adminHosts auth.Hosts

	keys, workerKeys auth.Keys
}

// prepare makes the parts. It names every bad setting, not the first one only.
func prepare(cfg *config.Serve, node string, log *slog.Logger) (p parts, err error) {
	var errs []error
	check := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	cfg.WorkspaceRoot, err = filepath.Abs(cfg.WorkspaceRoot)
	check("--workspace-root", err)
	offered, err := loadProviders(cfg.ProvidersFile)
	check("--providers-file", err)
	check("--leave-out-agents", checkLeftOut(cfg.LeaveOutAgents))
	find := discovery(cfg.Discovers(), cfg.WorkspaceRoot, cfg.LeaveOutAgents)
	p.providers = maps.Clone(offered)
	if find != nil && err == nil {
		p.providers = find()
		maps.Copy(p.providers, offered)
	}
	if names := slices.Sorted(maps.Keys(p.providers)); err == nil && !slices.Contains(names, cfg.DefaultProvider) {
		check("--default-provider", fmt.Errorf("there is no %q, but %s; `sessionhub agents` tells what is missing", cfg.DefaultProvider, strings.Join(names, ", ")))
	}
	if cfg.ValkeyURL != "" {
		check("--valkey-url", valkey.CheckURL(cfg.ValkeyURL))
	}
	p.signer, err = newSigner(*cfg)
	check("SESSIONHUB_TOKEN_SECRET", err)
	p.origins, err = auth.ParseOrigins(cfg.AllowedOrigins)
	check("--allowed-origins", err)
	p.adminHosts, err = auth.ParseHosts(cfg.AdminHosts)
	check("--admin-hosts", err)
	p.proxies, err = handlers.ParseProxies(cfg.TrustedProxies)
	check("--trusted-proxies", err)
	p.keys, err = loadKeys("SESSIONHUB_API_KEY", cfg.APIKey, cfg.APIKeysFile)
	check("SESSIONHUB_API_KEYS_FILE", err)
	p.workerKeys, err = loadKeys("SESSIONHUB_WORKER_KEY", cfg.WorkerKey, cfg.WorkerKeysFile)
	check("SESSIONHUB_WORKER_KEYS_FILE", err)
	check("API keys and worker keys", checkApart(p.keys, p.workerKeys))
	if cfg.Worker != config.WorkerNone {
		if len(offered) == 0 { // to find what else is wrong
			offered = map[string]worker.Provider{demoProvider: {Command: demoProvider}}
		}
		p.worker, err = worker.New(workerConfig(*cfg, node, offered, find, log))
		check("embedded worker", err)
	}
	if len(errs) > 0 {
		if p.worker != nil {
			_ = p.worker.Close()
		}
		return parts{}, fmt.Errorf("%w:\n%w", ErrConfig, errors.Join(errs...))
	}
	return p, nil
}

// Check judges what package config cannot: files, secrets, origins, addresses. It
// starts nothing. Its error, if there is one, wraps ErrConfig.
func Check(cfg config.Serve, log *slog.Logger) error {
	p, err := prepare(&cfg, "check", log)
	if p.worker != nil {
		_ = p.worker.Close()
	}
	return err
}

// loadProviders gives the built-in provider and those of the file. Of two with one name the
// last of these counts.
func loadProviders(file string) (map[string]worker.Provider, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	providers := map[string]worker.Provider{demoProvider: {
		Command: self, Args: []string{"demo-agent"}, AskingModes: []string{"ask"}, AllowedModes: []string{"auto"},
		Title: "Demo agent", Description: "It obeys simple commands, without a model.",
	}}
	if file == "" {
		return providers, nil
	}
	more, err := worker.LoadProviders(file)
	if err != nil {
		return nil, err
	}
	maps.Copy(providers, more)
	return providers, nil
}

func workerConfig(cfg config.Serve, name string, providers map[string]worker.Provider, find func() map[string]worker.Provider, log *slog.Logger) worker.Config {
	return worker.Config{
		Name: name, Version: Version, Root: cfg.WorkspaceRoot, Capacity: cfg.WorkerCapacity,
		Worktrees: worktreesDir(cfg.Worktrees, os.Getenv),
		Providers: providers, Discover: find, AgentIdle: cfg.AgentIdle, ChildrenIdle: cfg.ChildrenIdle, TurnTimeout: cfg.TurnTimeout, BufferBytes: cfg.WorkerBuffer, Log: log,
		// Below this the hub cuts: a worker needs room for what is never cut.
		MaxEventBytes: max(cfg.MaxEventBytes, 64<<10),
		SessionMCP:    sessionMCP(cfg),
	}
}

// sessionMCP says which MCP servers sessions may bring where the providers file does not. A
// server of the type stdio is a command: whoever talks to a hub of one person on its own
// machine may run commands there anyway.
func sessionMCP(cfg config.Serve) protocol.SessionMCP {
	if cfg.Personal() {
		return protocol.SessionMCPAny
	}
	return protocol.SessionMCPNone
}

func newSigner(cfg config.Serve) (*auth.Signer, error) {
	secrets := [][]byte{auth.RandomSecret()}
	if cfg.TokenSecret.IsSet() {
		var err error
		if secrets, err = auth.ParseSecrets(cfg.TokenSecret.Reveal()); err != nil {
			return nil, err
		}
	}
	return auth.NewSigner(secrets, cfg.TokenTTL)
}
