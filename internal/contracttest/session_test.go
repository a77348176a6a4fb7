package contracttest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// has fails for each name that a JSON object lacks.
func has(t *testing.T, what string, raw []byte, want string) {
	t.Helper()
	got := hubtest.Decode[map[string]any](t, raw)
	for name := range strings.FieldsSeq(want) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s has no %s: %s", what, name, raw)
		}
	}
}

var inMilliseconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$`)

// POST /api/sessions: what it takes and what it answers.
func TestCreate(t *testing.T) {
	n := serve(t)
	if err := os.Mkdir(filepath.Join(n.Root, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := n.call("POST", "/api/sessions", `{"workingDirectory":"sub","spaceId":"sp","title":"A title","metadata":{"a":1},"agentOptions":{"model":"demo-large","mode":"auto"}}`)
	if r.StatusCode != 201 || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", r.StatusCode, r.Header)
	}
	has(t, "the answer", r.Body, "sessionId token expiresAt session eventsUrl websocketUrl messagesUrl approveUrl")
	c := hubtest.Decode[protocol.CreateResponse](t, r.Body)
	base := n.URL + "/api/sessions/" + c.SessionID
	for got, want := range map[string]string{
		c.EventsURL: base + "/events", c.MessagesURL: base + "/messages", c.ApproveURL: base + "/approve",
		c.WebsocketURL: "ws" + strings.TrimPrefix(base, "http") + "/ws",
	} {
		if got != want {
			t.Errorf("the URL %q, want %q", got, want)
		}
	}
	if left := time.Until(c.ExpiresAt); left < 23*time.Hour+59*time.Minute || left > 24*time.Hour+2*time.Second {
		t.Errorf("the token lives for %v", left)
	}
	v := c.Session
	if v.Provider != "demo" || v.UserID != "local" || v.SpaceID != "sp" || v.Title != "A title" || string(v.Metadata) != `{"a":1}` ||
		v.AgentOptions.Model != "demo-large" || v.AgentOptions.Mode != "auto" || v.Status != "idle" || v.LastSeq != 1 || v.Epoch == "" ||
		strings.Contains(v.Epoch, "-") || v.WorkingDirectory != filepath.Join(n.Root, "sub") {
		t.Errorf("the session is %+v", v)
	}
	// GET answers the same, in full.
	raw := n.call("GET", "/api/sessions/"+c.SessionID, "", "Authorization", "Bearer "+c.Token).Body
	has(t, "the session", raw, "sessionId userId spaceId provider workingDirectory title metadata agentOptions status createdAt "+
		"lastActivityAt expiresAt lastSeq epoch connections pendingApprovals")
	for _, name := range []string{"createdAt", "lastActivityAt", "expiresAt"} {
		if at := hubtest.Decode[map[string]any](t, raw)[name].(string); !inMilliseconds.MatchString(at) {
			t.Errorf("%s is %q", name, at)
		}
	}
	if left := time.Until(v.ExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the session expires in %v", left)
	}
}

// GET /api/sessions: newest first, pages, filters.
func TestList(t *testing.T) {
	n := serve(t, "--max-sessions-per-user", "300")
	var made []string
	for range 5 {
		made = append([]string{n.create(`{}`).SessionID}, made...)
		time.Sleep(2 * time.Millisecond) // createdAt, by which they are sorted, is in milliseconds
	}
	var got []string
	for query := "?limit=2"; ; {
		page := ok[protocol.SessionList](n, 200, "GET", "/api/sessions"+query, "")
		if len(page.Sessions) > 2 {
			t.Fatalf("a page of 2 has %d", len(page.Sessions))
		}
		for _, s := range page.Sessions {
			got = append(got, s.SessionID)
		}
		if page.NextCursor == "" {
			break
		}
		query = "?limit=2&cursor=" + page.NextCursor
	}
	if strings.Join(got, " ") != strings.Join(made, " ") {
		t.Errorf("listed %v, made %v", got, made)
	}
	for range 200 {
		n.create(`{}`)
	}
	if page := ok[protocol.SessionList](n, 200, "GET", "/api/sessions?limit=1000", ""); len(page.Sessions) != 200 || page.NextCursor == "" {
		t.Errorf("a page of 1000 has %d, the next one at %q", len(page.Sessions), page.NextCursor)
	}
	if page := ok[protocol.SessionList](n, 200, "GET", "/api/sessions?status=running", ""); len(page.Sessions) != 0 {
		t.Errorf("%d are running", len(page.Sessions))
	}
	if page := ok[protocol.SessionList](n, 200, "GET", "/api/sessions?status=idle&limit=3", ""); len(page.Sessions) != 3 {
		t.Errorf("%d idle ones on a page of 3", len(page.Sessions))
	}
}

// GET history: pages, limits, the gap of a trimmed log.
func TestHistory(t *testing.T) {
	t.Parallel()
	n := serve(t, "--log-max-events", "1500")
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "/stream 1200 20")
	history := func(query string) protocol.History {
		t.Helper()
		return ok[protocol.History](n, 200, "GET", s.path+"/history"+query, "", s.bearer()...)
	}
	has(t, "history", n.call("GET", s.path+"/history", "", s.bearer()...).Body, "events first last epoch nextAfter")
	for _, limit := range []string{"0", "-1", "-99999999999999999999", "x", "1.5"} {
		n.refused(400, "invalid_request", "GET", s.path+"/history?limit="+limit, "", s.bearer()...)
	}
	if h := history("?limit=99999999999999999999"); len(h.Events) != 1000 { // no int holds it
		t.Errorf("the largest limit gives %d events, want all of a page", len(h.Events))
	}
	h := history("?limit=5000")
	if len(h.Events) != 1000 || h.NextAfter != h.Epoch+"-1000" || h.First != 1 || h.Gap != nil {
		t.Fatalf("%d events, next after %q, first %d, gap %v", len(h.Events), h.NextAfter, h.First, h.Gap)
	}
	if h = history("?limit=1&after=" + h.NextAfter); len(h.Events) != 1 || !strings.Contains(string(h.Events[0]), `"seq":1001,`) {
		t.Errorf("after 1000 comes %s", h.Events)
	}
	s.turn(st, "/stream 1200 20")
	if h = history("?limit=1&after=3"); h.Gap == nil || h.Gap.Reason != "trimmed" || h.Gap.FromSeq != 4 || h.Gap.ToSeq != h.First-1 || h.First == 1 {
		t.Errorf("of a trimmed log: gap %+v, first %d", h.Gap, h.First)
	}
	if h = history("?limit=1"); h.Gap == nil || h.Gap.FromSeq != 1 {
		t.Errorf("from the start of a trimmed log: gap %+v", h.Gap)
	}
	// A stream names it, too, and goes on behind it.
	live := s.sse("?after=0")
	gap := hubtest.Decode[protocol.Gap](t, live.until("gap").Data)
	first := live.nextEvent()
	if gap.Reason != "trimmed" || gap.FromSeq != 1 || first.Seq != gap.ToSeq+1 {
		t.Errorf("the stream: gap %+v, then %d", gap, first.Seq)
	}
	// 4 MiB at most, however many events that are.
	big := n.create(`{}`)
	bigStream := big.ws("?after=latest")
	big.turn(bigStream, "/stream 100 60000")
	if r := n.call("GET", big.path+"/history", "", big.bearer()...); len(r.Body) > 5<<20 || hubtest.Decode[protocol.History](t, r.Body).NextAfter == "" {
		t.Errorf("a page has %d bytes", len(r.Body))
	}
}

// nextEvent reads up to a logged event.
func (st *stream) nextEvent() hubtest.Frame {
	st.t.Helper()
	for {
		f, err := st.next()
		if err != nil {
			st.t.Fatal(err)
		}
		if st.seen = append(st.seen, f); f.Seq != 0 {
			return f
		}
	}
}

// An expired session is read, not written, until it is deleted.
func TestEndedSession(t *testing.T) {
	n := serve(t, "--session-idle-ttl", "500ms")
	s := n.create(`{}`)
	st := s.ws("")
	live := s.sse("")
	if code := st.rest(); code != protocol.CloseEnded {
		t.Errorf("closed with %d", code)
	}
	if last := st.last(); last.Type != "closed" || hubtest.Decode[protocol.ClosedData](t, last.Data).Reason != "expired" {
		t.Errorf("the last frame is %s", last.Raw)
	}
	if code := live.rest(); code != 0 || live.last().Type != "closed" {
		t.Errorf("SSE ended with %d after %s", code, live.last().Raw)
	}
	v := s.view()
	if left := time.Until(v.ExpiresAt); v.Status != "ended" || left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("status %s, readable for %v", v.Status, left)
	}
	for _, path := range []string{"/messages", "/cancel", "/approve"} {
		body := map[string]string{"/messages": `{"content":"x"}`, "/cancel": `{}`, "/approve": `{"interactionId":"i","decision":"allow_once"}`}[path]
		n.refused(409, protocol.CodeSessionEnded, "POST", s.path+path, body, s.bearer()...)
	}
	// The whole log again, and the end.
	again := s.ws("?after=0")
	if code := again.rest(); code != protocol.CloseEnded || again.types() != "connected status status closed caught_up" {
		t.Errorf("a replay closed with %d after %s", code, again.types())
	}
	// At its end there is nothing more.
	cursor := fmt.Sprintf("%s-%d", v.Epoch, v.LastSeq)
	if r := n.call("GET", s.path+"/events", "", append(s.bearer(), "Last-Event-ID", cursor)...); r.StatusCode != 204 {
		t.Errorf("SSE behind closed: %d", r.StatusCode)
	}
	at := s.ws("?after=" + cursor)
	if code := at.rest(); code != protocol.CloseEnded || at.types() != "connected" {
		t.Errorf("a WebSocket behind closed: %q, closed with %d", at.types(), code)
	}
	if h := ok[protocol.History](n, 200, "GET", s.path+"/history", "", s.bearer()...); len(h.Events) != int(v.LastSeq) {
		t.Errorf("history has %d events of %d", len(h.Events), v.LastSeq)
	}
	if r := n.call("DELETE", s.path, "", s.bearer()...); r.StatusCode != 204 {
		t.Errorf("DELETE: %d", r.StatusCode)
	}
	n.refused(404, protocol.CodeNotFound, "GET", s.path, "", s.bearer()...)
	n.refused(404, protocol.CodeNotFound, "GET", s.path, "")
}

// A session whose directory or mode is refused fails, with the reason.
func TestFailedSession(t *testing.T) {
	n := serve(t)
	dir := filepath.Join(n.Root, "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ create, detail string }{
		"directory": {`{"workingDirectory":"gone"}`, "working_directory_not_allowed"},
		"mode":      {`{"agentOptions":{"mode":"no-such-mode"}}`, "mode"},
	} {
		s := n.create(c.create)
		st := s.sse("")
		if name == "directory" {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		s.send("hello")
		st.rest()
		var failed protocol.StatusData
		for _, f := range st.seen {
			if f.Type == "status" {
				failed = hubtest.Decode[protocol.StatusData](t, f.Data)
			}
		}
		if failed.Status != "failed" || !strings.Contains(failed.Detail, c.detail) || strings.Count(failed.Detail, "not allowed") > 1 {
			t.Errorf("%s: the last status is %+v", name, failed)
		}
		if closed := hubtest.Decode[protocol.ClosedData](t, st.last().Data); closed.Reason != "failed" || strings.Count(st.types(), "complete") != 1 {
			t.Errorf("%s: it ended with %s: %s", name, st.last().Raw, st.types())
		}
		if v := s.view(); v.Status != "failed" {
			t.Errorf("%s: the session is %s", name, v.Status)
		}
		n.refused(409, protocol.CodeSessionEnded, "POST", s.path+"/messages", `{"content":"x"}`, s.bearer()...)
	}
}

// A question that nobody answers expires, and the agent is told no.
func TestApprovalExpires(t *testing.T) {
	t.Parallel()
	n := serve(t, "--approval-timeout", "700ms")
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/write f.txt text")
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	if v := s.view(); v.Status != "requires_action" || v.PendingApprovals != 1 {
		t.Errorf("meanwhile the session is %+v", v)
	}
	r := hubtest.Decode[protocol.ApprovalResolvedData](t, st.until("approval_resolved").Data)
	if r.Outcome != "expired" || r.InteractionID != q.InteractionID || r.By != "" {
		t.Errorf("resolved: %+v", r)
	}
	st.until("complete")
	if _, err := os.Stat(filepath.Join(n.Root, "f.txt")); err == nil {
		t.Error("the file was written all the same")
	}
	n.refused(410, protocol.CodeApprovalExpired, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once"}`, s.bearer()...)
}

// A message sent while a question is open waits, and answers nothing; decision
// and option are one or the other.
func TestApprovalIsAnsweredOnceAndByNothingElse(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/approve really?")
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	has(t, "the question", st.last().Data, "messageId interactionId toolCallId title kind input options expiresAt")
	s.send("allow_once")
	list := ok[protocol.Approvals](n, 200, "GET", s.path+"/approvals", "", s.bearer()...)
	if len(list.Approvals) != 1 || list.Approvals[0].InteractionID != q.InteractionID {
		t.Fatalf("pending: %+v", list)
	}
	id := `{"interactionId":"` + q.InteractionID + `",`
	n.refused(400, protocol.CodeInvalidRequest, "POST", s.path+"/approve", id+`"decision":"allow_once","optionId":"`+q.Options[0].OptionID+`"}`, s.bearer()...)
	n.refused(400, protocol.CodeUnknownOption, "POST", s.path+"/approve", id+`"optionId":"none"}`, s.bearer()...)
	n.refused(404, protocol.CodeNotFound, "POST", s.path+"/approve", `{"interactionId":"none","decision":"allow_once"}`, s.bearer()...)
	won := ok[protocol.ApproveResponse](n, 200, "POST", s.path+"/approve", id+`"decision":"reject_always"}`, s.bearer()...)
	done := hubtest.Decode[protocol.ApprovalResolvedData](t, st.until("approval_resolved").Data)
	if done.InteractionID != q.InteractionID || done.Outcome != "selected" || done.OptionID != won.OptionID || !strings.HasPrefix(done.Kind, "reject_") || done.By != "local" {
		t.Errorf("resolved: %+v", done)
	}
	r := n.call("POST", s.path+"/approve", id+`"decision":"allow_once"}`, s.bearer()...)
	if err := r.Problem(409, protocol.CodeApprovalResolved); err != nil {
		t.Error(err)
	}
	if p := hubtest.Decode[protocol.Problem](t, r.Body); p.Outcome != "selected" || p.OptionID != won.OptionID {
		t.Errorf("the loser is told %s, the winner chose %s", r.Body, won.OptionID)
	}
	st.until("complete")
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != "end_turn" {
		t.Errorf("the queued message: %+v", c)
	}
}

// The same key gives the same session and a fresh token; a message's repeat its
// first answer; 128 characters are allowed, an empty id is none.
func TestIdempotency(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=service-key"})
	n.key = "service-key"
	a, b := n.create(`{"title":"x"}`, "Idempotency-Key", "k"), n.create(`{ "title" : "x" }`, "Idempotency-Key", "k")
	if a.SessionID != b.SessionID || a.Token == b.Token {
		t.Errorf("sessions %s and %s, the same token %v", a.SessionID, b.SessionID, a.Token == b.Token)
	}
	for _, token := range []string{a.Token, b.Token} {
		if r := n.call("GET", a.path, "", "Authorization", "Bearer "+token); r.StatusCode != 200 {
			t.Errorf("a token of the two: %d", r.StatusCode)
		}
	}
	if c := n.create(`{"title":"x","userId":"ann"}`, "Idempotency-Key", "k"); c.SessionID == a.SessionID {
		t.Error("another user's session has the same key")
	}
	id := strings.Repeat("~", 128)
	say := func(body string) protocol.MessageResponse {
		t.Helper()
		return ok[protocol.MessageResponse](n, 202, "POST", a.path+"/messages", body, a.bearer()...)
	}
	first, again := say(`{"content":"hi","messageId":"`+id+`"}`), say(`{"content":"hi","messageId":"`+id+`"}`)
	if first.Duplicate || !again.Duplicate || first.Seq == 0 || first.Seq != again.Seq || again.MessageID != id {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if x, y := say(`{"content":"hi","messageId":""}`), say(`{"content":"hi","messageId":""}`); x.MessageID == y.MessageID || x.MessageID == "" {
		t.Errorf("without an id: %+v and %+v", x, y)
	}
	n.refused(409, protocol.CodeIdempotency, "POST", a.path+"/messages", `{"content":"ho","messageId":"`+id+`"}`, a.bearer()...)
	n.refused(400, protocol.CodeInvalidRequest, "POST", a.path+"/messages", `{"content":"x","messageId":"`+id+`~"}`, a.bearer()...)
}

// GET /api/providers: built in and from the file.
func TestProviders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(file, []byte("missing: {command: /nowhere/at/all}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := serve(t, "--providers-file", file)
	judge.Within(t, 5*time.Second, "the worker has joined", func() bool {
		list := ok[protocol.Providers](n, 200, "GET", "/api/providers", "").Providers
		return len(list) == 2 && list[0].Name == "demo" && list[0].Available && list[0].Workers == 1 && list[1].Name == "missing"
	})
	s := n.create(`{"provider":"missing"}`)
	st := s.ws("")
	if c := s.turn(st, "hello"); c.StopReason != "error" || c.Error == nil || c.Error.Code != protocol.TurnAgentStart {
		t.Errorf("an agent that is not there: %+v", c)
	}
	none := serve(t, "--worker", "none")
	if list := ok[protocol.Providers](none, 200, "GET", "/api/providers", "").Providers; len(list) != 1 || list[0].Available || list[0].Workers != 0 {
		t.Errorf("without a worker: %+v", list)
	}
	// A message then waits, and can be taken back.
	w := none.create(`{}`)
	m := w.send("hello")
	if v := w.view(); v.Status != "queued" {
		t.Errorf("without a worker the session is %s", v.Status)
	}
	ok[any](none, 202, "POST", w.path+"/cancel", `{"messageId":"`+m.MessageID+`"}`, w.bearer()...)
	if v := w.view(); v.Status != "idle" {
		t.Errorf("then the session is %s", v.Status)
	}
}

// Draining: not ready, no new streams or messages (503, Retry-After), the
// running turn ends, streams are told and closed with 1001, exit code 0.
func TestDraining(t *testing.T) {
	t.Parallel()
	n := serve(t, "--drain-timeout", "4s")
	s := n.create(`{}`)
	st, live := s.ws(""), s.sse("")
	for _, base := range []string{"/healthz", "/readyz"} {
		if r := n.call("GET", base, ""); r.StatusCode != 200 {
			t.Errorf("%s: %d", base, r.StatusCode)
		}
	}
	s.send("/slow 1.5")
	st.until("output")
	n.Terminate()
	judge.Within(t, 2*time.Second, "it is not ready", func() bool { return n.call("GET", "/readyz", "").StatusCode == 503 })
	if r := n.call("GET", "/healthz", ""); r.StatusCode != 200 {
		t.Errorf("healthz while it drains: %d", r.StatusCode)
	}
	if resp, err := http.Get(n.Admin + "/readyz"); err != nil || resp.StatusCode != 503 {
		t.Errorf("the admin listener's readyz: %v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	n.refused(503, protocol.CodeUnavailable, "POST", s.path+"/messages", `{"content":"x"}`, s.bearer()...)
	n.refused(503, protocol.CodeUnavailable, "POST", "/api/sessions", `{}`)
	n.refused(503, protocol.CodeUnavailable, "GET", s.path+"/events", "", s.bearer()...)
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != "end_turn" {
		t.Errorf("the running turn: %+v", c)
	}
	has(t, "draining", st.until("draining").Data, "reconnectAfterMs")
	if code := st.rest(); code != 1001 {
		t.Errorf("closed with %d", code)
	}
	if code := live.rest(); code != 0 || !strings.Contains(live.types(), "draining") {
		t.Errorf("SSE ended with %d after %s", code, live.types())
	}
	select {
	case <-n.Ended:
		if code := n.Cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(judge.Patience):
		t.Error("it does not end")
	}
}

// GET /api/stats: what a live subscriber is given is counted, once, by how long
// it took; a replay is not.
func TestStats(t *testing.T) {
	n := serve(t)
	count := func() (total uint64, node string) {
		s := ok[protocol.Stats](n, 200, "GET", "/api/stats", "")
		last := uint64(0)
		for i, b := range s.Delivery {
			if bounded := i < len(s.Delivery)-1; bounded != (b.UpToMicros > last) || !bounded && b.UpToMicros != 0 {
				t.Errorf("bucket %d is up to %d µs, after %d", i, b.UpToMicros, last)
			}
			last = b.UpToMicros
			total += b.Count
		}
		if since := time.Since(s.StartedAt); since < 0 || since > time.Minute {
			t.Errorf("it says that it started %v ago", since)
		}
		return total, s.Node
	}
	if total, node := count(); total != 0 || node == "" {
		t.Errorf("at first: %d deliveries by %q", total, node)
	}
	s := n.create(`{}`)
	s.turn(s.ws(""), "hello")
	// A delivery is counted behind its write, so the last one may still come.
	var total uint64
	judge.Within(t, 5*time.Second, "the deliveries are counted", func() bool {
		before := total
		total, _ = count()
		return total > 0 && total == before
	})
	if first := ok[protocol.History](n, 200, "GET", s.path+"/history", "", s.bearer()...); total > uint64(len(first.Events)) {
		t.Errorf("%d deliveries of %d events", total, len(first.Events))
	}
	s.ws("?after=0").until("caught_up")
	if again, _ := count(); again != total {
		t.Errorf("the replay was counted: %d, then %d", total, again)
	}
}
