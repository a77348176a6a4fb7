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
	"strings"
	"time"

	"sessionhub/internal/app"
	"sessionhub/internal/bench"
	"sessionhub/internal/config"
)

// The words behind `bench` that make this program the hub under test, with a
// worker or without, or the subscribers of one node of many. They are not for
// people.
const (
	benchNode  = "node"
	benchBare  = "bare"
	benchShare = "share"
)

func benchmark(ctx context.Context, args []string) int {
	if len(args) > 0 && (args[0] == benchNode || args[0] == benchBare) {
		return serveBench(ctx, args[0] == benchNode)
	}
	if len(args) > 0 && args[0] == benchShare {
		return shareBench(ctx)
	}
	o, asJSON, err := benchOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		return help(os.Stdout, "bench")
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
	as := func(word string) bench.Starter {
		return func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", word) }
	}
	var report printer
	switch {
	case o.Compare > 0:
		report, err = bench.RunCompare(ctx, o, as(benchNode), progressLine(os.Stderr))
	case o.Mode == bench.ModeRelay:
		report, err = bench.RunRelay(ctx, o, as(benchNode), as(benchBare), progressLine(os.Stderr))
	case o.Mode == bench.ModeCluster:
		report, err = bench.RunCluster(ctx, o, as(benchNode), as(benchShare), progressLine(os.Stderr))
	case o.Mode == bench.ModeHistory:
		report, err = bench.RunHistory(ctx, o, as(benchNode), progressLine(os.Stderr))
	case o.Mode == bench.ModeRestart:
		report, err = bench.RunRestart(ctx, o, as(benchNode), progressLine(os.Stderr))
	default:
		report, err = bench.Run(ctx, o, as(benchNode), progressLine(os.Stderr))
	}
	if err == nil || errors.Is(err, bench.ErrLoss) || errors.Is(err, bench.ErrText) {
		printReport(report, asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench:", err)
		return exitFailed
	}
	return exitOK
}

// benchOptions reads the flags: the mode first, since it sets the defaults of
// the others. It names everything that is wrong at once.
func benchOptions(args []string) (o bench.Options, asJSON bool, err error) {
	mode := bench.ModeFanout
	_ = parseAll(benchFlags(&o, &mode, &asJSON), args) // what is wrong is said by the second pass
	preset, err := bench.Preset(mode)
	if err != nil {
		preset, _ = bench.Preset(bench.ModeFanout)
	}
	o = preset
	flags := benchFlags(&o, &mode, &asJSON)
	wrong := parseAll(flags, args)
	if errors.Is(wrong, flag.ErrHelp) {
		return o, false, flag.ErrHelp
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if mode != bench.ModeFanout && mode != bench.ModeHistory && !given["sessions"] {
		o.Sessions = o.Subscribers
		if o.Both {
			o.Subscribers *= 2
		}
	}
	if o.Hub != "" {
		o.APIKey = os.Getenv("SESSIONHUB_API_KEY")
	}
	o.Mode = mode
	return o, asJSON, errors.Join(err, wrong, o.Check())
}

// benchFlags binds the flags; what o holds now are their defaults.
func benchFlags(o *bench.Options, mode *string, asJSON *bool) *flag.FlagSet {
	f := flag.NewFlagSet("sessionhub bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(mode, "mode", *mode, "`name` of a shape: idle, fanout, sessions, relay, cluster, history or restart; sets the defaults of the others, here those of fanout")
	f.IntVar(&o.Subscribers, "subscribers", o.Subscribers, "connections")
	f.IntVar(&o.Sessions, "sessions", o.Sessions, "sessions, over which the subscribers are spread; with another mode than fanout and no --sessions: one each")
	f.IntVar(&o.Events, "events", o.Events, "events of each session; 0: idle connections only")
	f.IntVar(&o.Bytes, "bytes", o.Bytes, "bytes of text in an event")
	f.IntVar(&o.Rate, "rate", o.Rate, "events a second of each session; 0: as fast as its subscribers take them")
	f.IntVar(&o.Window, "window", o.Window, "with --rate 0: events of a turn; two turns are under way")
	f.StringVar(&o.Transport, "transport", o.Transport, "`name`: websocket, sse or mixed")
	f.IntVar(&o.Shared, "shared", o.Shared, "with --mode idle or sessions: so many connections carry all sessions; 0: each has its own")
	f.IntVar(&o.Connecting, "connecting", o.Connecting, "connections that are opened at once")
	f.DurationVar(&o.Settle, "settle", o.Settle, "wait before memory is measured")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "of the whole run")
	f.StringVar(&o.Hub, "hub", "", "`URL` of a hub that runs; otherwise one is started, with limits that fit and a worker without agents (key: SESSIONHUB_API_KEY)")
	f.StringVar(&o.Admin, "admin", "", "`URL` of that hub's --admin-listen, for goroutines and garbage collection")
	f.IntVar(&o.PID, "pid", 0, "process of that hub on this machine, for CPU and memory")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "with --mode relay (3): nodes; the worker is at the first one, the subscribers at the second, nobody at the others; with --mode cluster (6): nodes, each with a process of subscribers")
	f.BoolVar(&o.Both, "both", false, "with --mode relay: a second subscriber of each session, at the worker's node, to compare")
	f.StringVar(&o.Valkey, "valkey-url", "", "with --mode relay: `URL` of a Valkey that runs, for this alone")
	f.Float64Var(&o.Active, "active", o.Active, "with --mode cluster (0.01): the share of the sessions that have events")
	f.DurationVar(&o.Hold, "hold", o.Hold, "with --mode cluster (10m): how long they have them")
	f.StringVar(&o.Server, "valkey", "", "with --mode cluster or history: the server's `program`, which is started")
	f.StringVar(&o.DataDir, "data-dir", "", "`directory` in which the hub gets one for its sessions, that is removed afterwards; empty: in memory")
	f.IntVar(&o.Compare, "compare", 0, "with --data-dir and --mode fanout or sessions: so many rounds, in each a hub in memory and one on disk")
	f.IntVar(&o.Pieces, "pieces", o.Pieces, "with --mode history (200000): pieces of text, of --bytes (24) each")
	f.IntVar(&o.Tools, "tools", o.Tools, "with --mode history (5000): tool calls, spread between the pieces")
	f.IntVar(&o.ToolBytes, "tool-bytes", o.ToolBytes, "with --mode history (1024): bytes of text in a tool call")
	f.DurationVar(&o.CompactAfter, "compact-after", o.CompactAfter, "with --mode history (1m): the hub's setting")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "with --mode history (5): how often somebody joins late, each way")
	f.StringVar(&o.Profile, "profile", "", "`directory` for the hub's profiles (heap and goroutines when idle, CPU under load)")
	f.BoolVar(asJSON, "json", false, "print the report as JSON")
	return f
}

// parseAll reads all of the flags and gives every error, not the first one only:
// Parse stops behind the one that it does not take, and can go on from there.
func parseAll(f *flag.FlagSet, args []string) error {
	var errs []error
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		args = f.Args()
		if err != nil {
			errs = append(errs, err)
		}
		for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			if err == nil { // else it belongs to the flag that is unknown
				errs = append(errs, fmt.Errorf("%q is not expected", args[0]))
			}
			args, err = args[1:], nil
		}
		if len(args) == 0 {
			return errors.Join(errs...)
		}
	}
}

// benchUsage prints the flags as those of the other commands are printed.
func benchUsage(w io.Writer) error {
	o, err := bench.Preset(bench.ModeFanout)
	if err != nil {
		return err
	}
	mode, asJSON := bench.ModeFanout, false
	text := "These flags have no variables: a setting meant for a hub must not put load on one.\n\n"
	benchFlags(&o, &mode, &asJSON).VisitAll(func(f *flag.Flag) {
		holder, usage := flag.UnquoteUsage(f)
		text += strings.TrimRight("  --"+f.Name+" "+strings.ToUpper(holder), " ") + "\n      " + usage
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		text += "\n"
	})
	_, err = io.WriteString(w, text)
	return err
}

// printer is a report of either kind.
type printer interface{ Print(w io.Writer) }

func printReport(r printer, asJSON bool) {
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
// from the environment and, if that is wanted, a worker that plays the agents itself. It ends with
// its stdin, so it never outlives the benchmark.
func serveBench(ctx context.Context, worker bool) int {
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
	up := func() { fmt.Printf("api %s\nadmin %s\n", node.URL(), node.AdminURL()) }
	if !worker {
		up()
		<-ctx.Done()
	} else if err := workFor(ctx, node, up); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench node:", err)
	}
	// The streams are the benchmark's own, which has left.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = node.Stop(end)
	return exitOK
}

// shareBench connects the subscribers of one node. Like that it ends with its
// stdin.
func shareBench(ctx context.Context) int {
	if err := bench.RunShare(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub bench share:", err)
		return exitFailed
	}
	return exitOK
}

// workFor runs the worker until ctx ends.
func workFor(ctx context.Context, node *app.Node, up func()) error {
	conn, err := node.AttachWorker(ctx)
	if err != nil {
		return err
	}
	up()
	return bench.NewWorker(conn, fmt.Sprintf("bench-%d", os.Getpid())).Run(ctx)
}
