package processtree

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// agentMain is the body of the agents under test; it does not return. Each ends by
// itself after a while, so that a failing test leaves nothing for good.
func agentMain(args []string) {
	const forever = 60 * time.Second
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	// again starts this program with another behaviour.
	again := func(attr *syscall.SysProcAttr, args ...string) {
		cmd := exec.Command("/proc/self/exe", append([]string{"agent"}, args...)...)
		cmd.Stdout = os.Stdout // holds the pipe open, as the tools of real agents do
		cmd.SysProcAttr = attr
		must(cmd.Start())
	}
	switch behaviour := args[0]; behaviour {
	case "exit": // <code>
		code, err := strconv.Atoi(args[1])
		must(err)
		os.Exit(code)
	case "die": // <signal>
		n, err := strconv.Atoi(args[1])
		must(err)
		must(syscall.Kill(os.Getpid(), syscall.Signal(n)))
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		must(err)
		fmt.Fprint(os.Stderr, "input ended")
		os.Exit(0)
	case "environment":
		fmt.Print(strings.Join(os.Environ(), "\n"))
		dir, err := os.Getwd()
		must(err)
		fmt.Printf("\ndir=%s\n", dir)
		os.Exit(0)
	case "polite": // <file>: ends on SIGTERM and says so
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		fmt.Println("ready")
		select {
		case <-terminated:
			must(os.WriteFile(args[1], nil, 0o600))
			os.Exit(7)
		case <-time.After(forever):
		}
	case "stubborn": // <dir>: ignores what can be ignored
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		record(args[1])
	case "family": // <dir>: itself, a stubborn child, and two that got away
		again(nil, "stubborn", args[1])
		again(&syscall.SysProcAttr{Setsid: true}, "daemon", args[1])
		record(args[1])
	case "leaver": // <dir>: starts children, and ends while they stay
		again(nil, "stubborn", args[1])
		again(&syscall.SysProcAttr{Setsid: true}, "daemon", args[1])
		for { // so that all are there when it ends
			entries, err := os.ReadDir(args[1])
			must(err)
			if len(entries) == 2 {
				os.Exit(5)
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "daemon": // <dir>: the middle of a double fork: its parent ends, the child stays
		again(&syscall.SysProcAttr{Setsid: true}, "stubborn", args[1])
		os.Exit(0)
	}
	time.Sleep(forever)
	os.Exit(98)
}

// hubMain starts an agent with a tree and waits to be killed. args: exe, dir.
func hubMain(args []string) {
	p, err := Start(context.Background(), Spec{
		Path:       args[0],
		Args:       []string{"agent", "family", args[1]},
		Dir:        args[1],
		Grace:      300 * time.Millisecond,
		Env:        []string{noRaceSleep},
		Supervisor: supervisorOfTests(args[0]),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(97)
	}
	if slices.Contains(args, "stop-on-term") {
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		<-terminated
		if err := p.Close(); err != nil {
			os.Exit(96)
		}
		os.Exit(0)
	}
	p.Wait()
	os.Exit(0)
}
