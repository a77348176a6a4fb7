package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"sessionhub/internal/app"
	"sessionhub/internal/bench"
	"sessionhub/internal/config"
)

// benchNode is the word behind `bench` that makes this program the hub under
// test. It is not for people.
const benchNode = "node"

func benchmark(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == benchNode {
		return serveBench(ctx)
	}
	o, asJSON, err := benchOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench:", err)
		return exitUsage
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench: find this program:", err)
		return exitFailed
	}
	start := func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", benchNode) }
	report, err := bench.Run(ctx, o, start, progressLine(os.Stderr))
	if err == nil || errors.Is(err, bench.ErrLoss) {
		printReport(report, asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench:", err)
		return exitFailed
	}
	return exitOK
}

// benchOptions reads the flags: the mode first, since it sets the defaults of
// the others.
func benchOptions(args []string) (o bench.Options, asJSON bool, err error) {
	mode := bench.ModeFanout
	for pass := range 2 {
		if o, err = bench.Preset(mode); err != nil {
			return o, false, err
		}
		f := flag.NewFlagSet("sessionhub bench", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		if pass == 1 {
			f.SetOutput(os.Stderr)
		}
		f.StringVar(&mode, "mode", mode, "`name` of a shape: idle, fanout or sessions; sets the defaults of the others")
		f.IntVar(&o.Subscribers, "subscribers", o.Subscribers, "connections")
		f.IntVar(&o.Sessions, "sessions", o.Sessions, "sessions, over which the subscribers are spread; with --mode sessions or idle and no --sessions: one each")
		f.IntVar(&o.Events, "events", o.Events, "events of each session; 0: idle connections only")
		f.IntVar(&o.Bytes, "bytes", o.Bytes, "bytes of text in an event")
		f.IntVar(&o.Rate, "rate", o.Rate, "events a second of each session; 0: as fast as its subscribers take them")
		f.IntVar(&o.Window, "window", o.Window, "with --rate 0: events of a turn; two turns are under way")
		f.StringVar(&o.Transport, "transport", o.Transport, "`name`: websocket, sse or mixed")
		f.IntVar(&o.Connecting, "connecting", o.Connecting, "connections that are opened at once")
		f.DurationVar(&o.Settle, "settle", o.Settle, "wait before memory is measured")
		f.DurationVar(&o.Timeout, "timeout", o.Timeout, "of the whole run")
		f.StringVar(&o.Hub, "hub", "", "`URL` of a hub that runs; otherwise one is started, with limits that fit and a worker without agents (key: SESSIONHUB_API_KEY)")
		f.StringVar(&o.Admin, "admin", "", "`URL` of that hub's --admin-listen, for goroutines and garbage collection")
		f.IntVar(&o.PID, "pid", 0, "process of that hub on this machine, for CPU and memory")
		f.StringVar(&o.Profile, "profile", "", "`directory` for the hub's profiles (heap and goroutines when idle, CPU under load)")
		f.BoolVar(&asJSON, "json", false, "print the report as JSON")
		if err := f.Parse(args); err != nil {
			if pass == 0 && !errors.Is(err, flag.ErrHelp) {
				continue // said again, aloud, by the second pass
			}
			if pass == 1 {
				return o, false, err
			}
		}
		if f.NArg() > 0 {
			return o, false, fmt.Errorf("%q is not expected", f.Arg(0))
		}
		sessionsGiven := false
		f.Visit(func(given *flag.Flag) { sessionsGiven = sessionsGiven || given.Name == "sessions" })
		if mode != bench.ModeFanout && !sessionsGiven {
			o.Sessions = o.Subscribers
		}
	}
	if o.Hub != "" {
		o.APIKey = os.Getenv("SESSIONHUB_API_KEY")
	}
	o.Mode = mode
	return o, asJSON, o.Check()
}

func printReport(r bench.Report, asJSON bool) {
	if !asJSON {
		r.Print(os.Stdout)
		return
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r)
}

// progressLine writes over one line of a terminal; elsewhere it writes a line
// every few seconds.
func progressLine(w *os.File) func(string) {
	info, err := w.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return func(s string) { fmt.Fprintf(w, "\r\x1b[K%s\r", s) }
	}
	lines := make(chan time.Time, 1) // when the last one was written
	lines <- time.Time{}
	return func(s string) {
		last := <-lines
		if time.Since(last) >= 5*time.Second {
			fmt.Fprintln(w, s)
			last = time.Now()
		}
		lines <- last
	}
}

// serveBench is the hub under test: a node as `serve` runs it, with its settings
// from the environment and a worker that plays the agents itself. It ends with
// its stdin, so it never outlives the benchmark.
func serveBench(ctx context.Context) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	cfg, err := config.Parse(nil, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench node:", err)
		return exitUsage
	}
	log := newLogger(cfg.LogFormat, cfg.LogLevel, os.Stderr)
	slog.SetDefault(log)
	node, err := app.Start(cfg, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench node:", err)
		return exitFailed
	}
	if err := workFor(ctx, node, func() {
		fmt.Printf("api %s\nadmin %s\n", node.URL(), node.AdminURL())
	}); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench node:", err)
	}
	// The streams are the benchmark's own, which has left.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = node.Stop(end)
	return exitOK
}

// workFor runs the worker until ctx ends.
func workFor(ctx context.Context, node *app.Node, up func()) error {
	conn, err := node.AttachWorker(ctx)
	if err != nil {
		return err
	}
	up()
	return bench.NewWorker(conn).Run(ctx)
}
