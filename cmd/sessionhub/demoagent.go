package main

import (
	"context"
	"fmt"
	"os"

	"sessionhub/internal/demoagent"
)

func demoAgent(ctx context.Context, args []string) int {
	if code, done := noArguments("demo-agent", args); done {
		return code
	}
	if err := demoagent.Run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub demo-agent:", err)
		return exitFailed
	}
	return exitOK
}
