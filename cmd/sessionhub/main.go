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

// command is a subcommand: it parses its arguments and calls a package. Each
// understands --help.
type command struct {
	name, args, summary string
	// usage prints its flags with their variables and defaults; nil: it has none.
	usage func(w io.Writer) error
	run   func(ctx context.Context, args []string) int
}

// commands lists them in the order of the help.
func commands() []command {
	return []command{
		{"serve", "[flags]", "run a node: API, streams, dashboard, and an embedded worker", config.Usage, serve},
		{"worker", "[flags]", "run agents for a hub elsewhere (--hub wss://...)", config.WorkerUsage, runWorker},
		{"chat", "[flags]", "talk to an agent in the terminal, or send it stdin and print the answer", chatUsage, runChat},
		{"export", "SESSION [flags]", "print a session's transcript, or save it: Markdown for people, JSON for programs", config.ExportUsage, runExport},
		{"agents", "[flags]", "list the agents of this machine, and what installs the others", agentsUsage, agents},
		{"bench", "[flags]", "put load on a hub and measure what it costs", benchUsage, benchmark},
		{"demo-agent", "", "run the demo agent: ACP over stdin and stdout", nil, demoAgent},
		{"token", "mint [flags] | inspect JWT|-", "make a session token, or look into one", tokenUsage, token},
		{"check", "[flags]", "verify a store on disk, offline", checkUsage, check},
		{"backup", "[flags]", "copy a store on disk, also while a node has it", backupUsage, backup},
		{"upgrade", "[flags]", "raise the format of a store on disk to that of this version", upgradeUsage, upgrade},
		{"version", "", "print the version", nil, version},
	}
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
		_ = helpAll(os.Stderr)
		return exitUsage
	}
	if args[0] == "help" || isHelp(args[0]) {
		return runHelp(args[1:])
	}
	if args[0] == "--version" {
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name == args[0] {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return c.run(ctx, args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "sessionhub: there is no command %q; `sessionhub help` lists them\n", args[0])
	return exitUsage
}

func version(_ context.Context, args []string) int {
	if code, done := noArguments("version", args); done {
		return code
	}
	fmt.Println("sessionhub", app.Version)
	return exitOK
}
