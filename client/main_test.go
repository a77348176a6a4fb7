package client

import (
	"context"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sessionhub/internal/demoagent"
	"sessionhub/internal/processtree"
)

// The hub of the example starts this binary again as supervisor and as demo
// agent, as the real program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			syscall.Exit(processtree.SuperviseMain(os.Args[2:]))
		case "demo-agent":
			if err := demoagent.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	// fasthttp looks after its idle workers in a goroutine that sleeps for up to
	// 10 s after the server has ended.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")) // one for the process
}
