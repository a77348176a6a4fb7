package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// The node that has the worker's link is killed while a question is open that its
// event shows in part. The whole is read on another node; when the worker is back,
// the answer reaches the agent.
func TestHiddenQuestionOutlivesItsNode(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_WORKER_KEY=" + workerKey, "SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	flags := []string{"--valkey-url", server.URL(), "--worker", "none", "--max-event-bytes", "16KiB"}
	serve := func() *soak.Hub {
		hub, err := soak.Binary(binary).Serve(t.Context(), env, append(flags, "--listen", address)...)
		if err != nil {
			t.Fatal(err)
		}
		return hub
	}
	linked := serve()
	f := newFarm(t, env, flags...)
	f.workerWith("http://"+address, workerKey)
	s := f.session(protocol.CreateRequest{})
	// Its message is just short enough for an event, and its question is not.
	half := strings.Repeat("a long question ", 16<<10/2/16-8)
	long := half + "rm -rf ~ " + half
	s.say("/approve "+long, "m1")
	judge.Within(t, 20*time.Second, "it asks", func() bool { return len(s.record.Open()) == 1 })
	open, err := s.Approvals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := open[0]
	if !q.Truncated || q.FullBytes < len(long) || strings.Contains(string(q.Input), "rm -rf") {
		t.Fatalf("asked with truncated %v, %d bytes: %.300s", q.Truncated, q.FullBytes, q.Input)
	}
	linked.Kill()
	again := serve()
	t.Cleanup(again.Kill)

	allow := protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}
	var refused *client.Error
	if _, err := s.Approve(t.Context(), allow); !errors.As(err, &refused) || refused.Code != protocol.CodeContentUnread {
		t.Errorf("allowed unread: %v", err)
	}
	whole, err := s.ApprovalContent(t.Context(), q.InteractionID)
	if err != nil || whole.FullBytes != q.FullBytes || !strings.Contains(string(whole.Input), "rm -rf ~") {
		t.Fatalf("the whole has %d of %d bytes: %v", whole.FullBytes, q.FullBytes, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), judge.Patience)
	defer cancel()
	if _, err := s.Approve(ctx, allow); err != nil {
		t.Fatal(err)
	}
	s.endsWell("m1")
	s.fine()
}
