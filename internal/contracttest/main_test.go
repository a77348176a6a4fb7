// Package contracttest holds the built program to what its clients and operators
// may rely on, from outside: every test starts `sessionhub serve` on ports of its
// own and speaks to it over sockets. It uses SESSIONHUB_BIN, or builds the
// program once.
package contracttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// binary is the program under test.
var binary = os.Getenv("SESSIONHUB_BIN")

func TestMain(m *testing.M) {
	var made string
	if binary == "" {
		dir, err := os.MkdirTemp("", "sessionhub-contract")
		if err != nil {
			panic(err)
		}
		made, binary = dir, filepath.Join(dir, "sessionhub")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "sessionhub/cmd/sessionhub").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	// Tests that wait for clocks wait beside each other, on however few cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(made)
		os.Exit(code)
	}))
}
