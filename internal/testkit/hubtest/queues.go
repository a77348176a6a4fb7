package hubtest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Queues tells what the kernel holds at the other end of a TCP connection within this
// machine: the bytes that end has not read, and those it has written and that are not
// here yet. found is false when there is no such end. Linux only (proc_net_tcp); elsewhere
// it ends the test.
func Queues(tb testing.TB, c net.Conn) (unread, unsent int64, found bool) {
	tb.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		tb.Fatal(err)
	}
	port := func(a net.Addr) string { return fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port) }
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasSuffix(f[1], port(c.RemoteAddr())) || !strings.HasSuffix(f[2], port(c.LocalAddr())) {
			continue
		}
		tx, rx, _ := strings.Cut(f[4], ":")
		return hex(tb, rx), hex(tb, tx), true
	}
	return 0, 0, false
}

func hex(tb testing.TB, digits string) int64 {
	tb.Helper()
	n, err := strconv.ParseInt(digits, 16, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
