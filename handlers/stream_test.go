package handlers

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A panic in what is done for one stream is logged with its stack, and the
// process and its other streams live on.
func TestPanicForAStreamIsCaught(t *testing.T) {
	var out bytes.Buffer
	s := &Server{cfg: Config{Log: slog.New(slog.NewTextHandler(&out, nil))}}
	if _, ok := onFreshStack(s, "s_1", func() string { panic("a fault in a command") }); ok {
		t.Error("it says that nothing happened")
	}
	for _, want := range []string{"a fault in a command", "s_1", "stream_test.go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not hold %q: %s", want, out.String())
		}
	}
	if got, ok := onFreshStack(s, "s_1", func() string { return "done" }); got != "done" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
}
