package main

import (
	"context"
	"errors"
	"fmt"
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
		return help(os.Stdout, "serve")
	}
	if err != nil { // and what only the parts can judge, so that all is named at once
		err = errors.Join(err, app.Check(cfg, slog.New(slog.DiscardHandler)))
		fmt.Fprintln(os.Stderr, "sessionhub serve:", err)
		return exitUsage
	}
	log := newLogger(cfg.LogFormat, cfg.LogLevel, os.Stderr)
	slog.SetDefault(log)
	force, cancel := secondSignal(ctx)
	defer cancel()
	if err := app.Serve(ctx, cfg, log, os.Stdout, force); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub serve:", err)
		if errors.Is(err, app.ErrConfig) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// secondSignal gives a context that ends with the first signal after ctx, which
// the first of all has ended: that one drains, the second ends the drain.
func secondSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	force, cancel := context.WithCancel(context.Background())
	again := make(chan os.Signal, 1)
	context.AfterFunc(ctx, func() { signal.Notify(again, os.Interrupt, syscall.SIGTERM) })
	go func() {
		select {
		case <-again:
			cancel()
		case <-force.Done():
		}
	}()
	return force, cancel
}

// newLogger writes text for a person at a terminal, JSON for machines.
func newLogger(format string, level slog.Level, w *os.File) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	text := format == config.LogText
	if format == config.LogAuto {
		info, err := w.Stat()
		text = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if text {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
