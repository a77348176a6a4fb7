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
	"sessionhub/internal/text"
)

func serve(ctx context.Context, args []string) int {
	cfg, err := config.Parse(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, "serve")
	}
	if err != nil { // and what only the parts can judge, so that all is named at once
		err = errors.Join(err, app.Check(cfg, slog.New(slog.DiscardHandler)))
		complain("serve", cfg.LogFormat, err)
		return exitUsage
	}
	log := newLogger(cfg.LogFormat, cfg.LogLevel, os.Stderr)
	slog.SetDefault(log)
	if err := app.Serve(ctx, cfg, log, os.Stdout, laterSignals(ctx)); err != nil {
		complain("serve", cfg.LogFormat, err)
		if errors.Is(err, app.ErrConfig) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// complain says why a command ends.
func complain(command, format string, err error) {
	if format == config.LogJSON {
		newLogger(format, slog.LevelError, os.Stderr).Error("sessionhub "+command, "error", err)
		return
	}
	fmt.Fprintf(os.Stderr, "sessionhub %s: %v\n", command, err)
}

// laterSignals gives the signals after ctx, which the first of all has ended.
func laterSignals(ctx context.Context) <-chan os.Signal {
	again := make(chan os.Signal, 1)
	context.AfterFunc(ctx, func() { signal.Notify(again, os.Interrupt, syscall.SIGTERM) })
	return again
}

// secondSignal gives a context that ends with the first signal after ctx, which
// the first of all has ended: that one drains, the second ends the drain.
func secondSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	force, cancel := context.WithCancel(context.Background())
	again := laterSignals(ctx)
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
	plain := format == config.LogText
	if format == config.LogAuto {
		info, err := w.Stat()
		plain = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if plain {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(visible{w}, opts))
}

// visible writes JSON that no terminal obeys which somebody reads a log on: what
// agents and clients say stands in errors. The text format quotes it by itself.
type visible struct{ w io.Writer }

func (v visible) Write(line []byte) (int, error) {
	if _, err := v.w.Write(text.JSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
