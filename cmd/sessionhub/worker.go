package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"sessionhub/internal/app"
	"sessionhub/internal/config"
)

func runWorker(ctx context.Context, args []string) int {
	cfg, err := config.ParseWorker(args, os.LookupEnv, app.ParseHub)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, "worker")
	}
	if err != nil { // and what only the parts can judge, so that all is named at once
		err = errors.Join(err, app.CheckWorker(cfg, slog.New(slog.DiscardHandler)))
		complain("worker", cfg.LogFormat, err)
		return exitUsage
	}
	log := newLogger(cfg.LogFormat, cfg.LogLevel, os.Stderr)
	slog.SetDefault(log)
	force, cancel := secondSignal(ctx)
	defer cancel()
	if err := app.RunWorker(ctx, cfg, log, os.Stdout, force); err != nil {
		complain("worker", cfg.LogFormat, err)
		if errors.Is(err, app.ErrConfig) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
