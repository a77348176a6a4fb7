package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"sessionhub/internal/demoagent"
	"sessionhub/internal/processtree"
)

// The test binary is also the supervisor and the scripted agent, so that every
// test here runs real processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(processtree.SuperviseMain(os.Args[2:]))
		case "demo-agent":
			if err := demoagent.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "scripted-agent":
			os.Exit(scriptedAgent(os.Args[2:]))
		}
	}
	goleak.VerifyTestMain(m)
}

// For tests of a session without a process.
var (
	discard     = slog.New(slog.DiscardHandler)
	processSpec = processtree.Spec{}
)
