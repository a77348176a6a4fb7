package contracttest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/protocol"
)

// fork makes a fork of a session.
func (s session) fork(body string, header ...string) session {
	s.n.t.Helper()
	f := session{CreateResponse: ok[protocol.CreateResponse](s.n, http.StatusCreated, "POST", s.path+"/fork", body, header...), n: s.n}
	f.path = "/api/sessions/" + f.SessionID
	return f
}

// A fork has the original's history, and its agent the original's memory. Until its first
// turn has ended, each start of the agent forks anew: some agents keep a fork only then.
func TestForkASession(t *testing.T) {
	t.Parallel()
	providers := scripted.Providers(t)
	n := serve(t, "--providers-file", providers, "--agent-idle", "500ms")
	agentLog := func() string {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(providers), "agent.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	s := n.create(`{"provider":"scripted","title":"the original"}`)
	st := s.ws("")
	s.turn(st, "stream 3 0")
	s.turn(st, "cost 2")
	before := short(t, s.until(protocol.StatusIdle))
	f := s.fork(`{}`, "Idempotency-Key", "k1")
	if again := s.fork(`{}`, "Idempotency-Key", "k1"); again.SessionID != f.SessionID {
		t.Errorf("a repeat made %s, want %s", again.SessionID, f.SessionID)
	}
	want := `queued(0) message(1,true,"stream 3 0") output(1) + complete(1,true,end_turn) message(2,true,"cost 2") output(2) + ` +
		`complete(2,true,end_turn) starting(0) running(0) idle(0)`
	if got := short(t, f.until(protocol.StatusIdle)); got != want {
		t.Errorf("the fork's log is\n%s, want\n%s", got, want)
	}
	if v := f.view(); v.Title != "the original" || v.Usage != nil || v.WorkingDirectory != s.view().WorkingDirectory {
		t.Errorf("the fork is %s", protocol.Marshal(v))
	}
	idle := func(forks int) {
		t.Helper()
		judge.Within(t, time.Minute, "the end of the idle agent", func() bool {
			return strings.Count(n.Log.String(), f.SessionID+`","assignment":`) > 0 && strings.Count(releases(n.Log.String(), f.SessionID), "idle") >= forks
		})
	}
	idle(1)
	fst := f.ws("")
	f.turn(fst, "echo one")
	idle(2)
	f.turn(fst, "echo two")
	log := agentLog()
	if forks := strings.Count(log, `"method":"session/fork"`); forks != 2 {
		t.Errorf("the agent was asked %d times to fork, want 2:\n%s", forks, log)
	}
	if len(told[protocol.NoticeData](f, protocol.EventNotice)) != 0 {
		t.Errorf("the fork lost its history: %s", short(t, f.until(protocol.StatusIdle)))
	}
	if after := short(t, s.until(protocol.StatusIdle)); after != before {
		t.Errorf("the original's log is\n%s, want\n%s", after, before)
	}
	second := f.fork(`{"title":"a fork of a fork"}`)
	if v := second.view(); v.Title != "a fork of a fork" {
		t.Errorf("its title is %q", v.Title)
	}
	second.until(protocol.StatusIdle)
}

// releases are the lines of a log about the releases of a session.
func releases(log, id string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "session released") && strings.Contains(line, id) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// A session that is at work, or whose agent cannot fork, is not forked.
func TestForkIsRefused(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(scriptedSession)
	n.refused(http.StatusNotImplemented, protocol.CodeNotImplemented, "POST", s.path+"/fork", `{}`)
	st := s.ws("")
	s.turn(st, "echo")
	s.send("hang")
	st.until("message")
	n.refused(http.StatusConflict, protocol.CodeBusy, "POST", s.path+"/fork", `{}`)
	ok[protocol.Empty](n, http.StatusAccepted, "POST", s.path+"/cancel", `{}`)
	n.refused(http.StatusForbidden, protocol.CodeForbidden, "POST", s.path+"/fork", `{}`, s.bearer()...)
	n.refused(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", s.path+"/fork", `{"title":"a\nb"}`)
	n.refused(http.StatusNotFound, protocol.CodeNotFound, "POST", "/api/sessions/s_none/fork", `{}`)
	demo := n.create(`{}`)
	demo.turn(demo.ws(""), "hello")
	n.refused(http.StatusNotImplemented, protocol.CodeNotImplemented, "POST", demo.path+"/fork", `{}`)
	if list := ok[protocol.SessionList](n, http.StatusOK, "GET", "/api/sessions", ""); len(list.Sessions) != 2 {
		t.Errorf("there are %d sessions, want the 2 that were made", len(list.Sessions))
	}
}

// The messages of a fork refer to files that the fork has, also when the original is gone.
func TestForkHasTheFilesOfItsMessages(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(`{"provider":"scripted"}`)
	st := s.ws("")
	a := ok[protocol.Attachment](n, http.StatusCreated, "POST", s.path+"/attachments?name=notes.txt", "what was noted", append(s.bearer(), "Content-Type", "text/plain")...)
	body := `{"content":[{"type":"text","text":"echo read it"},{"type":"attachment","attachmentId":"` + a.AttachmentID + `"}]}`
	ok[protocol.MessageResponse](n, http.StatusAccepted, "POST", s.path+"/messages", body, s.bearer()...)
	for st.nextEvent().Type != protocol.EventComplete {
	}
	s.until(protocol.StatusIdle)
	f := s.fork(`{}`)
	n.call("DELETE", s.path, "", s.bearer()...)
	got := n.call("GET", f.path+"/attachments/"+a.AttachmentID, "", f.bearer()...)
	if got.StatusCode != http.StatusOK || string(got.Body) != "what was noted" {
		t.Errorf("%d: %s", got.StatusCode, got.Body)
	}
}
