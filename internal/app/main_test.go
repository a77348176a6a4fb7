package app

import (
	"context"
	"flag"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sessionhub/internal/demoagent"
	"sessionhub/internal/processtree"
)

// The node under test starts this binary again as supervisor and as demo agent,
// as the real program does, and as the agents that do everything wrong.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			// os.Exit would sleep a second first: the race detector looks for
			// races of the last moment.
			syscall.Exit(processtree.SuperviseMain(os.Args[2:]))
		case "demo-agent":
			if err := demoagent.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "hostile-agent":
			hostileAgent(os.Args[2:])
		case "asking-agent":
			askingAgent()
		}
	}
	// Half of the tests wait, for agents, leases and faults: they do so beside each other.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	// fasthttp looks after its idle workers in a goroutine that sleeps for up to
	// 10 s after the server has ended. The client of Valkey looks for a cluster up to
	// 1 s after it could not connect, also when it is closed by then.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"), // one for the process
		goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}
