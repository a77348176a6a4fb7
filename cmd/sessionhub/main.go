// Command sessionhub is the hub between AI coding agents and the people who
// watch and steer them. `sessionhub help` lists what it can do.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sessionhub/internal/app"
	"sessionhub/internal/config"
	"sessionhub/internal/processtree"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // at run time
	exitUsage  = 2 // bad usage or configuration
)

// command is a subcommand: it parses its arguments and calls a package.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string) int
}

var commands = []command{
	{"serve", "run a node: API, streams, dashboard, and an embedded worker", serve},
	{"worker", "run agents for a hub elsewhere (--hub wss://...)", runWorker},
	{"bench", "put load on a hub and measure what it costs", benchmark},
	{"demo-agent", "run the demo agent: ACP over stdin and stdout", demoAgent},
	{"version", "print the version", version},
}

func main() {
	// The supervisor of an agent is this program, too. It is not for people,
	// and must not do anything else first.
	if len(os.Args) > 1 && os.Args[1] == "supervise" {
		os.Exit(processtree.SuperviseMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 0 {
		usage(os.Stderr)
		return exitUsage
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(os.Stdout)
		return exitOK
	}
	for _, c := range commands {
		if c.name == args[0] {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return c.run(ctx, args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "sessionhub: there is no command %q; `sessionhub help` lists them\n", args[0])
	return exitUsage
}

func version(context.Context, []string) int {
	fmt.Println("sessionhub", app.Version)
	return exitOK
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: sessionhub COMMAND [flags]")
	fmt.Fprintln(w)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nThe flags of serve, with their variables and defaults:")
	fmt.Fprintln(w)
	serveUsage(w)
	fmt.Fprintln(w, "\nThe flags of worker:")
	fmt.Fprintln(w)
	_ = config.WorkerUsage(w)
}
