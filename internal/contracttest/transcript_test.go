package contracttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// transcriptEntry is what a program reads of one.
type transcriptEntry struct {
	Type, MessageID, UserID, Time, Text, Status, StopReason, Outcome, By, Title string
	Content                                                                     []struct {
		Type, Text, Path string
		Bytes            int
	}
	Option *protocol.ApprovalOption
	Output any
}

type transcriptBody struct {
	Session protocol.Session
	Entries []transcriptEntry
}

// What people do with the demo agent, as both forms of the transcript tell it.
func TestTranscript(t *testing.T) {
	n := serve(t)
	s := n.create(`{"title":"Fix: a/b <c>"}`)
	st := s.ws("")
	answer := func(decision string) {
		t.Helper()
		q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
		ok[protocol.ApproveResponse](n, 200, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"`+decision+`"}`, s.bearer()...)
		st.until("complete")
	}
	s.send("/write hello.txt ```")
	answer("allow_always")
	s.turn(st, "/write hello.txt ```") // the rule answers
	s.send("/run echo hi")
	answer("reject_once")
	s.turn(st, "/plan")
	s.turn(st, "/fail <b>oh no")
	s.send("/slow 60")
	st.until("output")
	waits := s.send("and then")

	got := ok[transcriptBody](n, 200, "GET", s.path+"/transcript?format=json", "", s.bearer()...)
	if got.Session.SessionID != s.SessionID || got.Session.Title != "Fix: a/b <c>" || got.Session.Provider != "demo" ||
		got.Session.WorkingDirectory == "" || got.Session.CreatedAt.IsZero() {
		t.Errorf("the session: %+v", got.Session)
	}
	var said []string
	for _, e := range got.Entries {
		word := e.Type
		switch e.Type {
		case "message":
			word += " " + e.UserID + " " + e.Content[0].Text
		case "decision":
			word += " " + e.Outcome + " " + e.Option.Kind + " " + e.By
		case "tool", "unfinished":
			word += " " + e.Status
		case "completion":
			word += " " + e.StopReason
		}
		said = append(said, word)
	}
	want := []string{
		"message local /write hello.txt ```", "decision selected allow_always local", "tool completed", "answer", "completion end_turn",
		"message local /write hello.txt ```", "decision selected allow_always rule", "tool completed", "answer", "completion end_turn",
		"message local /run echo hi", "decision selected reject_once local", "tool failed", "answer", "completion end_turn",
		"message local /plan", "answer", "plan", "completion end_turn",
		"message local /fail <b>oh no", "completion error",
		"message local /slow 60", "answer", "unfinished running",
		"message local and then", "unfinished queued",
	}
	if !slices.Equal(said, want) {
		t.Errorf("it says\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if last := got.Entries[len(got.Entries)-1]; last.MessageID != waits.MessageID {
		t.Errorf("the last entry: %+v", last)
	}

	r := n.call("GET", s.path+"/transcript?download=1", "", s.bearer()...)
	for name, want := range map[string]string{
		"Content-Type": "text/markdown; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Disposition": `attachment; filename="Fix-a-b-c.md"; filename*=UTF-8''Fix-a-b-c.md`,
	} {
		if r.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, r.Header.Get(name), want)
		}
	}
	for _, part := range []string{
		"# Fix: a/b \\<c>\n", "\n> /write hello.txt ```\n", "\n### Decision: Write hello.txt\n", "by local, ", `by an earlier "always", `,
		"\n````diff\n", "\n+```\n", "\n*Failed: agent_failed, \\<b>oh no.*", "\n*Not finished: running.*\n",
	} {
		if r.StatusCode != 200 || !strings.Contains(string(r.Body), part) {
			t.Errorf("%d, it lacks %q:\n%s", r.StatusCode, part, r.Body)
		}
	}
}

// Who may read it, what may be asked for, and what HEAD and OPTIONS say.
func TestTranscriptRoute(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=service-key-0123456789"})
	n.key = "service-key-0123456789"
	s := n.create(`{}`)
	path := s.path + "/transcript"
	reader := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read"}`)
	writer := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"write"}`)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	for _, credential := range [][]string{{"X-API-Key", n.key}, bearer(reader.Token), s.bearer()} {
		if r := n.call("GET", path, "", credential...); r.StatusCode != 200 || r.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d, %s", credential[0], r.StatusCode, r.Header)
		}
	}
	n.refused(403, protocol.CodeScope, "GET", path, "", bearer(writer.Token)...)
	n.refused(404, protocol.CodeNotFound, "GET", path, "", n.create(`{}`).bearer()...)
	n.refused(404, protocol.CodeNotFound, "GET", "/api/sessions/s_none/transcript", "")
	for _, query := range []string{"?format=pdf", "?format=JSON", "?download=yes"} {
		n.refused(400, protocol.CodeInvalidRequest, "GET", path+query, "")
	}
	n.refused(405, protocol.CodeMethodNotAllowed, "POST", path, `{}`)
	if r := n.call("OPTIONS", path, ""); r.StatusCode != 204 || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("OPTIONS: %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	// Behind the answer to HEAD lies nothing that the next request would meet.
	key := "Host: " + n.Host() + "\r\nX-API-Key: " + n.key + "\r\n\r\n"
	c := n.dial()
	if _, err := io.WriteString(c, "HEAD "+path+"?format=json HTTP/1.1\r\n"+key+"GET /healthz HTTP/1.1\r\n"+key); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	head, err := http.ReadResponse(in, &http.Request{Method: "HEAD"})
	if err != nil || head.StatusCode != 200 || head.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("HEAD: %v, %v", head, err)
	}
	next, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(next.Body); err != nil || string(body) != "ok\n" {
		t.Errorf("behind HEAD: %q, %v", body, err)
	}
}

// long makes a session whose transcript no socket holds, and opens that without reading
// it.
func (n *node) long() (s session, open func() *http.Response) {
	n.t.Helper()
	s = n.create(`{}`)
	st := s.ws("")
	s.turn(st, "/stream 400 60000")
	return s, func() *http.Response {
		n.t.Helper()
		c := n.dial()
		if _, err := fmt.Fprintf(c, "GET %s/transcript HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.path, n.Host(), s.Token); err != nil {
			n.t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			n.t.Fatal(err)
		}
		return r
	}
}

// A transcript that cannot go on is cut: its reader notices. Whoever may not read the
// session any more does not get the rest of it, either.
func TestTranscriptIsCut(t *testing.T) {
	n := serve(t)
	for name, end := range map[string]func(s session){
		"revoked": func(s session) { n.call("DELETE", s.path+"/token", "", s.bearer()...) },
		"deleted": func(s session) { n.call("DELETE", s.path, "", s.bearer()...) },
	} {
		s, open := n.long()
		whole, err := io.ReadAll(open().Body)
		if err != nil {
			t.Fatal(err)
		}
		r := open()
		end(s)
		got, err := io.ReadAll(r.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) >= len(whole) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(whole), err)
		}
	}
}

// A user gets four at a time, and the fifth when one is over.
func TestTranscriptsAtATime(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s, open := n.long()
	var all []*http.Response
	for range 4 {
		all = append(all, open())
	}
	r := n.call("GET", s.path+"/transcript", "", s.bearer()...)
	if err := r.Problem(429, protocol.CodeConnectionLimit); err != nil || r.Header.Get("Retry-After") == "" {
		t.Errorf("the fifth: %v, Retry-After %q", err, r.Header.Get("Retry-After"))
	}
	if r := n.call("HEAD", s.path+"/transcript", "", s.bearer()...); r.StatusCode != 200 {
		t.Errorf("HEAD holds no place: %d", r.StatusCode)
	}
	if _, err := io.Copy(io.Discard, all[0].Body); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, 10*time.Second, "a place is free", func() bool {
		return n.call("GET", s.path+"/transcript", "", s.bearer()...).StatusCode == 200
	})
}

// A node that stops cuts the transcripts that are under way, and does not wait for their
// readers.
func TestStopCutsTranscripts(t *testing.T) {
	t.Parallel()
	n := serve(t)
	_, open := n.long()
	r := open()
	n.Terminate()
	<-n.Ended
	if code := n.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		t.Error("all of it came")
	}
}
