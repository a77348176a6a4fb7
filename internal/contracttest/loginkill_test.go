package contracttest

import (
	"strings"
	"syscall"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// The worker is killed while a person logs its agent in. The question ends, the person is
// told, another worker asks anew, and nothing of the login stays anywhere.
func TestWorkerIsKilledInTheMiddleOfALogin(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_WORKER_KEY=" + workerKey}, "--worker", "none", "--worker-lease", "4s", "--log-level", "debug")
	root, providers := t.TempDir(), loginProviders(t)
	first := n.worker(t, "first", root, "--providers-file", providers, "--log-level", "debug")
	n.joined()
	s := n.create(scriptedSession)
	st := s.ws("")
	s.send("echo at last")
	page := s.choose(st)
	first.signal(t, syscall.SIGKILL)
	n.worker(t, "second", root, "--providers-file", providers, "--log-level", "debug")
	c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data)
	if c.Error == nil {
		t.Errorf("the message ended with %+v", c)
	}
	n.refused(404, protocol.CodeNotFound, "GET", s.path+"/elicitations/"+page.InteractionID, "", s.bearer()...)
	if r := s.answer(page, `"action":"accept"`); r.StatusCode != 409 && r.StatusCode != 410 && r.StatusCode != 404 {
		t.Errorf("an answer to the login that is over: %d %s", r.StatusCode, r.Body)
	}
	if v := s.view(); v.PendingElicitations != 0 {
		t.Errorf("the session is %+v", v)
	}
	s.send("echo again")
	s.logIn(st)
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != protocol.StopEndTurn {
		t.Errorf("%+v", c)
	}
	s.keepsNoLogin(n.Log.String())
}

// The node is killed while a person logs the agent in. Its store on disk has nothing of the
// login, and after the restart the next message is asked for a login anew.
func TestNodeIsKilledInTheMiddleOfALogin(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"--data-dir", dir, "--workspace-root", t.TempDir(), "--providers-file", loginProviders(t), "--log-level", "debug"}
	n := serve(t, flags...)
	s := n.create(scriptedSession)
	s.send("echo at last")
	page := s.choose(s.ws(""))
	n.kill()
	again := serve(t, flags...)
	s = s.on(again)
	st := s.ws("")
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.Error == nil {
		t.Errorf("the message ended with %+v", c)
	}
	again.refused(404, protocol.CodeNotFound, "GET", s.path+"/elicitations/"+page.InteractionID, "", s.bearer()...)
	s.send("echo again")
	s.logIn(st)
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != protocol.StopEndTurn {
		t.Errorf("%+v", c)
	}
	s.keepsNoLogin(n.Log.String() + again.Log.String())
}

// choose begins a login in the browser, and gives the question with its page.
func (s session) choose(st *stream) protocol.ElicitationData {
	s.n.t.Helper()
	if r := s.answer(s.private(st), `"action":"accept","content":{"method":"browser"}`); r.StatusCode != 200 {
		s.n.t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
	}
	page := s.private(st)
	if !strings.Contains(page.URL, "s3cr3t") {
		s.n.t.Fatalf("the page is %+v", page)
	}
	return page
}

// logIn does a whole login in the browser.
func (s session) logIn(st *stream) {
	s.n.t.Helper()
	if r := s.answer(s.choose(st), `"action":"accept"`); r.StatusCode != 200 {
		s.n.t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
	}
	if r := s.answer(s.private(st), `"action":"accept","content":{"code":"s3cr3t-answer"}`); r.StatusCode != 200 {
		s.n.t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
	}
}

// keepsNoLogin looks for the secrets of a login in all that the hub tells.
func (s session) keepsNoLogin(log string) {
	s.n.t.Helper()
	_, metrics := s.n.askAdmin("/metrics")
	for what, text := range map[string]string{
		"history": string(s.n.call("GET", s.path+"/history", "", s.bearer()...).Body), "transcript": string(s.n.call("GET", s.path+"/transcript", "", s.bearer()...).Body),
		"session": string(s.n.call("GET", s.path, "", s.bearer()...).Body), "metrics": metrics, "log": log,
	} {
		if text == "" || strings.Contains(text, "s3cr3t") || strings.Contains(text, "ABCD-1234") {
			s.n.t.Errorf("the %s is empty, or has a secret: %.2000s", what, text)
		}
	}
}
