package app

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/store/valkey"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// clusterEnv is what all nodes of a hub have in common.
var clusterEnv = map[string]string{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}

// startNodes starts nodes on one Valkey: the first one runs agents, the others do not.
func startNodes(t *testing.T, server *valkeytest.Server, n int, flags ...string) []*hubUnderTest {
	t.Helper()
	nodes := make([]*hubUnderTest, n)
	for i := range nodes {
		own := append([]string{"--valkey-url", server.URL()}, flags...)
		if i > 0 {
			own = append(own, "--worker", "none")
		}
		nodes[i] = startHubEnv(t, clusterEnv, own...)
	}
	return nodes
}

// A session is made on one node, worked on by the second one's worker, steered
// and watched on all.
func TestNodesServeOneSession(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	s := b.create(protocol.CreateRequest{WorkingDirectory: a.root})
	onB, onC := openSSE(t, b, s), openSSE(t, c, s)
	c.send(s, "/write across.txt over three nodes")
	question, _ := pendingApproval(t, onC)
	if code, problem := b.approve(s, protocol.ApproveRequest{InteractionID: question.InteractionID, Decision: protocol.AllowOnce}); code != http.StatusOK {
		t.Fatalf("approve on another node: %d %+v", code, problem)
	}
	done := completeOf(t, until(t, onC, isType(protocol.EventComplete)))
	if done.StopReason != protocol.StopEndTurn {
		t.Fatalf("the turn ended with %+v", done)
	}
	until(t, onB, isType(protocol.EventComplete))
	if code, problem := a.approve(s, protocol.ApproveRequest{InteractionID: question.InteractionID, Decision: protocol.RejectOnce}); code != http.StatusConflict || problem.Code != protocol.CodeApprovalResolved {
		t.Errorf("a second answer on the third node: %d %+v", code, problem)
	}

	// The bytes of an event are the same everywhere.
	var histories []json.RawMessage
	for _, n := range nodes {
		var h json.RawMessage
		n.call("GET", "/api/sessions/"+s.SessionID+"/history", nil, &h, "Authorization", "Bearer "+s.Token)
		histories = append(histories, h)
	}
	if string(histories[0]) != string(histories[1]) || string(histories[1]) != string(histories[2]) {
		t.Errorf("histories differ:\n%s\n%s\n%s", histories[0], histories[1], histories[2])
	}

	var view protocol.Session
	judge.Within(t, 10*time.Second, "the count of streams", func() bool {
		a.call("GET", "/api/sessions/"+s.SessionID, nil, &view, "Authorization", "Bearer "+s.Token)
		return view.Connections.SSE == 2
	})
	began := time.Now()
	b.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	until(t, onC, isType(protocol.EventClosed))
	judge.AtMost(t, "the end of the other node's stream", time.Since(began), 2*time.Second)
	for _, n := range nodes {
		n.want(http.StatusNotFound, protocol.CodeNotFound, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	}
}

// A token that is revoked on one node ends its streams on another within 2 s, and
// a ticket is taken once in all.
func TestCredentialsHoldOnAllNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	s := a.create(protocol.CreateRequest{})
	var ticket protocol.TicketResponse
	a.call("POST", "/api/sessions/"+s.SessionID+"/ticket", nil, &ticket, "Authorization", "Bearer "+s.Token)
	path := "/api/sessions/" + s.SessionID + "/events?ticket=" + ticket.Ticket
	stream, err := b.sse(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	until(t, stream, isType(protocol.EventStatus))
	resp, err := http.Get(b.url + path)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a ticket from another node: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	a.want(http.StatusUnauthorized, protocol.CodeUnauthorized, "GET", path, nil)

	began := time.Now()
	a.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID+"/token", nil, "Authorization", "Bearer "+s.Token)
	for {
		if _, err := stream.next(t.Context()); err != nil {
			break
		}
	}
	judge.AtMost(t, "the end of a revoked token's stream", time.Since(began), 2*time.Second)
	b.want(http.StatusUnauthorized, protocol.CodeTokenRevoked, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
}

// Limits and keys count over all nodes.
func TestLimitsHoldOverAllNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2, "--max-sessions-per-user", "5", "--max-connections-per-user", "3")
	var made []protocol.CreateResponse
	for i := range 6 {
		var s protocol.CreateResponse
		resp := nodes[i%2].call("POST", "/api/sessions", protocol.CreateRequest{}, &s, "Idempotency-Key", fmt.Sprint("key-", i))
		if want := map[bool]int{true: http.StatusCreated, false: http.StatusTooManyRequests}[i < 5]; resp.StatusCode != want {
			t.Fatalf("session %d: %d, want %d", i, resp.StatusCode, want)
		}
		made = append(made, s)
	}
	var again protocol.CreateResponse
	nodes[1].call("POST", "/api/sessions", protocol.CreateRequest{}, &again, "Idempotency-Key", "key-0")
	if again.SessionID != made[0].SessionID {
		t.Errorf("the same key on another node made %s, not %s", again.SessionID, made[0].SessionID)
	}
	for i := range 3 {
		stream, err := nodes[i%2].sse(t.Context(), made[i], "")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.close()
		until(t, stream, isType(protocol.EventStatus))
	}
	nodes[1].want(http.StatusTooManyRequests, protocol.CodeConnectionLimit, "GET", "/api/sessions/"+made[4].SessionID+"/events", nil, "Authorization", "Bearer "+made[4].Token)
	var list protocol.SessionList
	nodes[1].call("GET", "/api/sessions", nil, &list)
	if len(list.Sessions) != 5 {
		t.Errorf("%d sessions are listed on the other node, want 5", len(list.Sessions))
	}
}

// The names by which the store tells its failed calls are those of the metric.
func TestStoreOpsAreTheMetrics(t *testing.T) {
	if !slices.Equal(valkey.Ops, metrics.StoreOps) {
		t.Errorf("the store names %v\nthe metric has %v", valkey.Ops, metrics.StoreOps)
	}
}

// reader keeps what a stream has given.
type reader struct {
	t      *testing.T
	stream stream
	seqs   []uint64
	ids    []string
	gaps   []protocol.Gap
}

// until reads up to the first frame that is wanted.
func (r *reader) until(want func(hubtest.Frame) bool) {
	r.t.Helper()
	for _, f := range until(r.t, r.stream, want) {
		switch {
		case f.Seq != 0:
			r.seqs, r.ids = append(r.seqs, f.Seq), append(r.ids, f.ID)
		case string(f.Type) == string(protocol.ControlGap):
			r.gaps = append(r.gaps, hubtest.Decode[protocol.Gap](r.t, f.Data))
		}
	}
}

func (r *reader) last() (seq uint64, id string) {
	return r.seqs[len(r.seqs)-1], r.ids[len(r.ids)-1]
}

// A node notices a moment later that its Valkey was away, also when that is back by
// then: until it has made sure, it says 503 and when to come again. Clients do.

func (h *hubUnderTest) ssePatiently(s protocol.CreateResponse, after string) (stream *sseStream) {
	h.t.Helper()
	judge.Within(h.t, 20*time.Second, "a stream", func() (ok bool) {
		var err error
		stream, err = h.sse(h.t.Context(), s, after)
		return err == nil
	})
	return stream
}

func (h *hubUnderTest) sendPatiently(s protocol.CreateResponse, text string) (sent protocol.MessageResponse) {
	h.t.Helper()
	m := protocol.MessageRequest{Content: protocol.Marshal(text), MessageID: rand.Text()}
	judge.Within(h.t, 20*time.Second, "a message to be taken", func() bool {
		resp := h.call("POST", "/api/sessions/"+s.SessionID+"/messages", m, &sent, "Authorization", "Bearer "+s.Token)
		if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusServiceUnavailable {
			h.t.Fatalf("message: %d", resp.StatusCode)
		}
		return resp.StatusCode == http.StatusAccepted
	})
	return sent
}

// While Valkey is away a turn goes on, readers stay connected, nobody is told that
// a write was taken, and everything comes when it is back: in a new epoch, which
// those who read live go into without a gap.
func TestValkeyAwayForAWhile(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	s := a.create(protocol.CreateRequest{WorkingDirectory: a.root})
	r := &reader{t: t, stream: openSSE(t, b, s)}
	a.send(s, "/stream 60 20 20")
	r.until(isType(protocol.EventOutput))
	server.Kill()
	judge.Within(t, 10*time.Second, "not ready", func() bool {
		return b.call("GET", "/readyz", nil, nil).StatusCode == http.StatusServiceUnavailable
	})
	var p protocol.Problem
	resp := a.call("POST", "/api/sessions/"+s.SessionID+"/messages", protocol.MessageRequest{Content: protocol.Marshal("x")}, &p, "Authorization", "Bearer "+s.Token)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a message meanwhile: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	// Where the store is, is for the operator alone.
	if want := hub.ErrUnreachable.Error(); p.Detail != want {
		t.Errorf("the client is told %q, want %q", p.Detail, want)
	}
	server.Restart()
	r.until(isType(protocol.EventComplete))
	for i, seq := range r.seqs {
		if seq != uint64(i+1) {
			t.Fatalf("seqs %v", r.seqs)
		}
	}
	if len(r.gaps) != 0 {
		t.Errorf("gaps %+v although nothing was lost", r.gaps)
	}
	end, id := r.last()
	if old, _, _ := strings.Cut(r.ids[0], "-"); strings.HasPrefix(id, old) {
		t.Errorf("%s and %s are of one epoch: the restart began none", r.ids[0], id)
	}
	// A cursor of the new epoch goes on without a mark.
	stream := a.ssePatiently(s, id)
	defer stream.close()
	next := &reader{t: t, stream: stream}
	a.sendPatiently(s, "once more")
	next.until(isType(protocol.EventComplete))
	if len(next.gaps) != 0 || next.seqs[0] != end+1 {
		t.Errorf("resumed from %s at %d with gaps %+v", id, next.seqs[0], next.gaps)
	}
}

// A Valkey that comes back without the end of its log, as after a failover: who
// has seen that end is told, live or with the next resume, and who has not sees no
// difference. The session goes on.
func TestValkeyLosesTheEnd(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	s := a.create(protocol.CreateRequest{WorkingDirectory: a.root})
	live := &reader{t: t, stream: openSSE(t, b, s)}
	rests := func(f hubtest.Frame) bool {
		return f.Type == protocol.EventStatus && hubtest.Decode[protocol.StatusData](t, f.Data).Status == protocol.StatusIdle
	}
	live.until(rests) // as it was created
	a.send(s, "the first")
	live.until(rests)
	kept, keptID := live.last()
	back := server.Copy()
	a.send(s, "what is going to be lost")
	live.until(rests)
	lost, lostID := live.last()
	server.Kill()
	back()
	server.Restart()
	a.sendPatiently(s, "after the loss")
	live.seqs = nil
	live.until(isType(protocol.EventComplete))
	if len(live.gaps) != 1 || live.gaps[0].Reason != protocol.GapEpochChanged || live.gaps[0].FromSeq != kept+1 || live.gaps[0].ToSeq != lost {
		t.Errorf("gaps %+v; want epoch_changed from %d to %d", live.gaps, kept+1, lost)
	}
	if live.seqs[0] != kept+1 {
		t.Errorf("the log goes on at %d, want %d", live.seqs[0], kept+1)
	}
	for id, gaps := range map[string]int{keptID: 0, lostID: 1} {
		stream := b.ssePatiently(s, id)
		r := &reader{t: t, stream: stream}
		r.until(isType(protocol.EventComplete))
		stream.close()
		if len(r.gaps) != gaps || r.seqs[0] != kept+1 {
			t.Errorf("resumed from %s: gaps %+v, on from %d", id, r.gaps, r.seqs[0])
		}
	}
	// The store has lost what the worker had said, so its assignment is over; the
	// session goes on with the next.
	for tries := 0; ; tries++ {
		m := a.sendPatiently(s, "is it well?")
		done := completeOf(t, until(t, live.stream, func(f hubtest.Frame) bool {
			return f.Type == protocol.EventComplete && hubtest.Decode[protocol.CompleteData](t, f.Data).MessageID == m.MessageID
		}))
		if done.StopReason == protocol.StopEndTurn {
			return
		}
		if tries == 2 || done.Error == nil || !done.Error.Retryable {
			t.Fatalf("a message after the loss ended with %s", protocol.Marshal(done))
		}
	}
}
