package handlers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
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

// So it is in what the edge does for a worker's link: the link ends, and the worker
// is told to come back.
func TestPanicForALinkEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &Server{cfg: Config{
			Log:        slog.New(slog.NewTextHandler(&out, nil)),
			WorkerKeys: func() auth.Keys { panic("a fault in a look at the keys") },
		}}
		ctx, end := context.WithCancelCause(t.Context())
		s.watchKey(ctx, end, auth.Identity{Name: "fleet"})
		var why protocol.LinkError
		if err := context.Cause(ctx); !errors.As(err, &why) || why.Code != protocol.LinkInternal {
			t.Errorf("the link ends with %v", err)
		}
		if linkEnd(why) != metrics.CloseInternal || linkClose[why.Code] != protocol.CloseInternal {
			t.Errorf("it is counted as %s and closed with %d", linkEnd(why), linkClose[why.Code])
		}
		for _, want := range []string{"a fault in a look at the keys", "fleet", "stream_test.go"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the log does not hold %q: %s", want, out.String())
			}
		}
	})
}
