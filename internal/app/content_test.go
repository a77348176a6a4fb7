package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
	"sessionhub/worker"
)

// scriptBytes is the length of a script that is asked about: more than an event can have,
// in several parts.
func scriptBytes() int {
	if judge.Raced {
		return 5 << 18
	}
	return 3 << 20
}

// readContent reads the whole of a question with the session's token. The bytes of
// the answer are what its fullBytes says.
func (h *hubUnderTest) readContent(s protocol.CreateResponse, interaction string) protocol.ApprovalContent {
	h.t.Helper()
	req, err := http.NewRequest("GET", h.url+"/api/sessions/"+s.SessionID+"/approvals/"+interaction+"/content", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("read content: %d %s, %v: %.300s", resp.StatusCode, resp.Header.Get("Content-Type"), err, raw)
	}
	var c protocol.ApprovalContent
	if err := json.Unmarshal(raw, &c); err != nil {
		h.t.Fatal(err)
	}
	if c.FullBytes != len(raw) || c.InteractionID != interaction {
		h.t.Errorf("%d bytes of %s, which say %d", len(raw), c.InteractionID, c.FullBytes)
	}
	return c
}

// A diff over 1 MiB was offered as JSON that was cut, with the changed line out of
// sight. It is hunks now: the change is there, and so nothing has to be read first.
func TestLargeDiffIsAskedByItsChange(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t))
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	h.send(s, "bigdiff")
	q, _ := pendingApproval(t, sub)
	var d protocol.DiffContent
	if err := json.Unmarshal(q.Content[0], &d); err != nil {
		t.Fatal(err)
	}
	if q.Truncated || q.FullBytes != 0 || len(d.Hunks) != 1 || d.Truncated || d.Hunks[0].OldStart != 7998 || !strings.Contains(strings.Join(d.Hunks[0].Lines, "\n"), "+    \"node_modules/pkg-8000\": { \"version\": \"6.6.6-evil\"") {
		t.Fatalf("asked with %.2000s", protocol.Marshal(q))
	}
	c := h.readContent(s, q.InteractionID)
	var whole struct{ OldText, NewText string }
	if err := json.Unmarshal(c.Content[0], &whole); err != nil || whole.OldText != lockFile("1.0.0") || whole.NewText != lockFile("6.6.6-evil") {
		t.Errorf("the whole diff is not there: %v", err)
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}); status != http.StatusOK {
		t.Errorf("allow: %d %+v", status, p)
	}
	if got := text(t, until(t, sub, isType(protocol.EventComplete))); !strings.Contains(got, `"optionId":"yes"`) {
		t.Errorf("the agent heard %s", got)
	}
}

// The end of a long output, where the error is, was cut off.
func TestLongOutputKeepsItsEnd(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t))
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	h.send(s, "biglog")
	fs := until(t, sub, isType(protocol.EventComplete))
	seen := false
	for _, f := range fs {
		if f.Type != protocol.EventToolCall {
			continue
		}
		call := hubtest.Decode[protocol.ToolCallData](t, f.Data)
		for name, part := range map[string]string{"content": string(call.Content[0]), "output": string(call.Output)} {
			if !strings.Contains(part, `log line 0 of the build`) || !strings.Contains(part, "ERROR: the build failed because of X") || !strings.Contains(part, " bytes left out …") {
				t.Errorf("%s: %.200s", name, part)
			}
		}
		seen = strings.HasSuffix(string(call.Content[0]), `,"truncated":true}`) && strings.Contains(string(call.Output), `"exitCode":2`)
	}
	if !seen {
		t.Error("the output does not say that it was cut")
	}
}

// Who answers sees what they allow: the hub itself refuses an answer that allows
// what its caller has not read whole, whatever client they have.
func TestHiddenQuestionIsReadBeforeItIsAllowed(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t))
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	path := "/api/sessions/" + s.SessionID
	token := []string{"Authorization", "Bearer " + s.Token}
	for _, word := range []string{"bigwrite", "bigannounced"} {
		h.send(s, word+" rm -rf ~")
		q, _ := pendingApproval(t, sub)
		if !q.Truncated || q.FullBytes < scriptBytes() || strings.Contains(string(q.Input), "rm -rf") || !strings.Contains(string(q.Input), " bytes left out …") {
			t.Fatalf("%s: asked with truncated %v, %d bytes: %.300s", word, q.Truncated, q.FullBytes, q.Input)
		}
		allow := protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}
		// HEAD brings nothing, and another question is another one.
		h.want(http.StatusOK, "", "HEAD", path+"/approvals/"+q.InteractionID+"/content", nil, token...)
		h.want(http.StatusNotFound, protocol.CodeNotFound, "GET", path+"/approvals/nope/content", nil, token...)
		if status, p := h.approve(s, allow); status != http.StatusConflict || p.Code != protocol.CodeContentUnread {
			t.Errorf("%s: allowed unread: %d %+v", word, status, p)
		}
		c := h.readContent(s, q.InteractionID)
		if c.FullBytes != q.FullBytes || !strings.Contains(string(c.Input), "rm -rf ~") || c.Title != q.Title || len(c.Options) != 3 {
			t.Errorf("%s: the whole has %d of %d bytes", word, c.FullBytes, q.FullBytes)
		}
		if status, p := h.approve(s, allow); status != http.StatusOK {
			t.Errorf("%s: allowed after reading: %d %+v", word, status, p)
		}
		until(t, sub, isType(protocol.EventComplete))
		h.want(http.StatusConflict, protocol.CodeApprovalResolved, "GET", path+"/approvals/"+q.InteractionID+"/content", nil, token...)
	}
	// No needs no reading.
	h.send(s, "bigwrite rm -rf ~")
	q, _ := pendingApproval(t, sub)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, OptionID: "no"}); status != http.StatusOK {
		t.Errorf("refused: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
}

// Two questions that differ only in what their events leave out are two.
func TestAlwaysComparesTheWholeQuestion(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t))
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	h.send(s, "bigwrite ls 1")
	q, _ := pendingApproval(t, sub)
	h.readContent(s, q.InteractionID)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowAlways}); status != http.StatusOK {
		t.Fatalf("always: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	h.send(s, "bigwrite ls 1")
	by := ""
	for _, f := range until(t, sub, isType(protocol.EventComplete)) {
		if f.Type == protocol.EventApprovalResolved {
			by = hubtest.Decode[protocol.ApprovalResolvedData](t, f.Data).By
		}
	}
	if by != protocol.ByRule {
		t.Errorf("the same question was answered by %q", by)
	}
	h.send(s, "bigwrite ls 2")
	q, _ = pendingApproval(t, sub)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.RejectOnce}); status != http.StatusOK {
		t.Errorf("the other question was not left to people: %d %+v", status, p)
	}
}

// What nobody can be shown is refused, and everybody sees why.
func TestQuestionOverTheLimitIsRefused(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t))
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	h.send(s, "huge rm -rf ~")
	fs := until(t, sub, isType(protocol.EventComplete))
	var why protocol.ApprovalResolvedData
	for _, f := range fs {
		if f.Type == protocol.EventApprovalResolved {
			why = hubtest.Decode[protocol.ApprovalResolvedData](t, f.Data)
		}
	}
	if why.By != protocol.ByLimit || why.Kind != protocol.RejectOnce || !strings.Contains(why.Detail, "over the 8388608 that can be shown whole") {
		t.Errorf("resolved with %+v", why)
	}
	if got := text(t, fs); !strings.Contains(got, `"optionId":"no"`) || !strings.Contains(got, "that can be shown whole") {
		t.Errorf("the agent heard %s", got)
	}
}

// With smaller events it is the hub that cuts, and keeps the whole.
func TestHubKeepsWhatItCutsItself(t *testing.T) {
	h := startHub(t, "--providers-file", askingProviders(t), "--max-event-bytes", "64KiB")
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	for _, word := range []string{"bigwrite", "bigdiff"} {
		h.send(s, word+" rm -rf ~")
		q, fs := pendingApproval(t, sub)
		if n := len(fs[len(fs)-1].Data); n > 64<<10 || q.Truncated != (word == "bigwrite") {
			t.Errorf("%s: an event of %d bytes, truncated %v", word, n, q.Truncated)
		}
		if c := h.readContent(s, q.InteractionID); len(protocol.Marshal(c)) < 1<<20 {
			t.Errorf("%s: the whole has %d bytes", word, c.FullBytes)
		}
		if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}); status != http.StatusOK {
			t.Errorf("%s: %d %+v", word, status, p)
		}
		until(t, sub, isType(protocol.EventComplete))
	}
}

// Whatever node is asked, with a worker on the other end of a network: the whole
// question is there, what one node was told of a reader holds on the others, and
// nothing of it stays in the store.
func TestHiddenQuestionOnManyNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2, "--providers-file", askingProviders(t))
	a, b := nodes[0], nodes[1]
	s := b.create(protocol.CreateRequest{Provider: "asking", WorkingDirectory: a.root})
	sub := openSSE(t, b, s)
	notes := func() string {
		reply, err := server.Do("HKEYS", "sessionhub:{"+s.SessionID+"}:notes")
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	b.send(s, "bigwrite rm -rf ~")
	q, fs := pendingApproval(t, sub)
	for _, f := range fs {
		if f.Type == protocol.EventApprovalContent {
			t.Error("a part is in the log")
		}
	}
	if n := strings.Count(notes(), "part:"); n != q.FullBytes/protocol.MaxContentPart+1 {
		t.Errorf("%d parts of %d bytes", n, q.FullBytes)
	}
	allow := protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}
	if status, p := a.approve(s, allow); p.Code != protocol.CodeContentUnread {
		t.Errorf("allowed unread: %d %+v", status, p)
	}
	if one, two := protocol.Marshal(a.readContent(s, q.InteractionID)), protocol.Marshal(b.readContent(s, q.InteractionID)); !bytes.Equal(one, two) {
		t.Error("two nodes have two wholes")
	}
	if status, p := b.approve(s, allow); status != http.StatusOK {
		t.Errorf("read on the other node: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	if left := notes(); strings.Contains(left, "part:") {
		t.Errorf("parts stay: %s", left)
	}
}

// The link breaks in the middle of the parts, again and again: they come again,
// and none twice.
func TestHiddenQuestionOverABadLink(t *testing.T) {
	t.Parallel()
	h := startOpenHub(t)
	h.remoteAsking(t)
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	for range 3 {
		h.send(s, "bigwrite rm -rf ~")
		q, _ := pendingApproval(t, sub)
		if c := h.readContent(s, q.InteractionID); c.FullBytes != q.FullBytes || !strings.Contains(string(c.Input), "rm -rf ~") {
			t.Errorf("the whole has %d of %d bytes", c.FullBytes, q.FullBytes)
		}
		if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce}); status != http.StatusOK {
			t.Errorf("allow: %d %+v", status, p)
		}
		until(t, sub, isType(protocol.EventComplete))
	}
	if got := h.log.String(); strings.Contains(got, "content of a question") {
		t.Errorf("the hub refused a part: %s", got)
	}
}

// The worker dies between the parts and the answer: nothing is left to be read.
func TestHiddenQuestionOfALostWorker(t *testing.T) {
	t.Parallel()
	h := startOpenHub(t, "--worker-lease", "3s")
	stop := h.remoteAsking(t)
	s := h.create(protocol.CreateRequest{Provider: "asking"})
	sub := openSSE(t, h, s)
	h.send(s, "bigwrite rm -rf ~")
	q, _ := pendingApproval(t, sub)
	stop()
	until(t, sub, isType(protocol.EventComplete))
	h.want(http.StatusConflict, protocol.CodeApprovalResolved, "GET", "/api/sessions/"+s.SessionID+"/approvals/"+q.InteractionID+"/content", nil,
		"Authorization", "Bearer "+s.Token)
}

// remoteAsking runs a worker with askingAgent whose links break after every few
// frames, until stop is called.
func (h *hubUnderTest) remoteAsking(t *testing.T) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		Root: h.root, Log: slog.New(slog.DiscardHandler),
		Providers: map[string]worker.Provider{"asking": {Command: self, Args: []string{"asking-agent"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	dialer := newTestDialer(t, h, testWorkerKey)
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(ctx context.Context) (worker.Conn, error) {
			conn, err := dialer.Dial(ctx)
			if err != nil {
				return nil, err
			}
			return &shortConn{Conn: conn, left: 5}, nil
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
	t.Cleanup(stop)
	judge.Within(t, 10*time.Second, "the worker", func() bool {
		var all protocol.Providers
		h.call("GET", "/api/providers", nil, &all)
		return slices.ContainsFunc(all.Providers, func(p protocol.Provider) bool { return p.Name == "asking" && p.Available })
	})
	return stop
}

// shortConn is a link that breaks after so many frames from the worker.
type shortConn struct {
	worker.Conn
	left int // owned by the writer
}

func (c *shortConn) WriteFrame(ctx context.Context, frame []byte) error {
	if c.left--; c.left < 0 {
		_ = c.Close()
		return errors.New("the link broke")
	}
	return c.Conn.WriteFrame(ctx, frame)
}
