package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"sessionhub/internal/app"
	"sessionhub/internal/config"
)

func serve(ctx context.Context, args []string) int {
	cfg, err := config.Parse(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		serveUsage(os.Stdout)
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub serve:", err)
		return exitUsage
	}
	log := newLogger(cfg, os.Stderr)
	slog.SetDefault(log)
	// The first signal drains; from then on a second one ends that.
	force, cancel := context.WithCancel(context.Background())
	defer cancel()
	again := make(chan os.Signal, 1)
	context.AfterFunc(ctx, func() { signal.Notify(again, os.Interrupt, syscall.SIGTERM) })
	go func() {
		select {
		case <-again:
			cancel()
		case <-force.Done():
		}
	}()
	if err := app.Serve(ctx, cfg, log, os.Stdout, force); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub serve:", err)
		if errors.Is(err, app.ErrConfig) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

func serveUsage(w io.Writer) { config.Usage(w) }

// newLogger writes text for a person at a terminal, JSON for machines.
func newLogger(cfg config.Serve, w *os.File) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	text := cfg.LogFormat == config.LogText
	if cfg.LogFormat == config.LogAuto {
		info, err := w.Stat()
		text = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if text {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
