package contracttest

import (
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/protocol"
)

// private reads a question that the log has only the fact of.
func (s session) private(st *stream) protocol.ElicitationData {
	s.n.t.Helper()
	f := st.until("elicitation")
	logged := hubtest.Decode[protocol.ElicitationData](s.n.t, f.Data)
	if !logged.Private || logged.Message != protocol.PrivateMessage || logged.URL != "" || logged.ExpiresAt == nil {
		s.n.t.Errorf("the log has %s", f.Raw)
	}
	return ok[protocol.ElicitationData](s.n, 200, "GET", s.path+"/elicitations/"+logged.InteractionID, "", s.bearer()...)
}

// loginProviders is the scripted agent, which wants a login.
func loginProviders(t *testing.T) string {
	t.Helper()
	return scripted.Providers(t, "SCRIPTED_AUTH=1")
}

// A person logs the agent in from afar: chooses how, opens a page, types its code. Nothing of
// it is in the log, and who may only read learns nothing. Then the message runs.
func TestLoginFromAfar(t *testing.T) {
	n := serve(t, "--providers-file", loginProviders(t), "--log-level", "debug")
	s := n.create(scriptedSession)
	st := s.ws("")
	s.send("echo at last")
	how := s.private(st)
	if v := s.view(); v.Status != "requires_action" || v.PendingElicitations != 1 {
		t.Errorf("meanwhile the session is %+v", v)
	}
	only := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read write"}`, s.bearer()...)
	n.refused(403, protocol.CodeScope, "GET", s.path+"/elicitations/"+how.InteractionID, "", "Authorization", "Bearer "+only.Token)
	n.refused(404, protocol.CodeNotFound, "GET", s.path+"/elicitations/other", "", s.bearer()...)
	form, err := protocol.ParseForm(how.RequestedSchema)
	if err != nil || len(form.Fields[0].Choices) != 2 || form.Fields[0].Choices[1].Description != "In a browser, by a code." {
		t.Errorf("asked %+v, %v", how, err)
	}
	if r := s.answer(how, `"action":"accept","content":{"method":"other"}`); r.StatusCode != 400 {
		t.Errorf("another method: %d %s", r.StatusCode, r.Body)
	}
	take := func(q protocol.ElicitationData, rest string) {
		t.Helper()
		if r := s.answer(q, rest); r.StatusCode != 200 {
			t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
		}
		n.refused(404, protocol.CodeNotFound, "GET", s.path+"/elicitations/"+q.InteractionID, "", s.bearer()...)
	}
	take(how, `"action":"accept","content":{"method":"browser"}`)
	page := s.private(st)
	if page.Mode != protocol.ElicitURL || page.URL != "https://login.example.org/s3cr3t-page" || !strings.Contains(page.Message, "ABCD-1234") {
		t.Errorf("the page is %+v", page)
	}
	if list := string(n.call("GET", s.path+"/elicitations", "", s.bearer()...).Body); strings.Contains(list, "s3cr3t") || !strings.Contains(list, page.InteractionID) {
		t.Errorf("the list is %s", list)
	}
	take(page, `"action":"accept"`)
	take(s.private(st), `"action":"accept","content":{"code":"s3cr3t-answer"}`)
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != protocol.StopEndTurn || !strings.Contains(st.text("text"), "at last") {
		t.Errorf("%+v: %s", c, st.text("text"))
	}
	for what, text := range map[string]string{
		"history": string(n.call("GET", s.path+"/history", "", s.bearer()...).Body), "transcript": string(n.call("GET", s.path+"/transcript", "", s.bearer()...).Body),
		"log": n.Log.String(),
	} {
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "ABCD-1234") {
			t.Errorf("the %s has a secret: %s", what, text)
		}
	}
}

// Nobody logs in: the message ends, and says what to do. The next one asks again.
func TestLoginExpires(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", loginProviders(t), "--approval-timeout", "1s")
	s := n.create(scriptedSession)
	st := s.ws("")
	for range 2 {
		s.send("echo")
		if q := s.private(st); time.Until(*q.ExpiresAt) > time.Second {
			t.Errorf("it expires at %s", q.ExpiresAt)
		}
		c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data)
		if c.Error == nil || !strings.Contains(c.Error.Message, "nobody has chosen how to log in. Send a message to be asked again") {
			t.Errorf("%+v", c.Error)
		}
	}
	if r := told[protocol.ElicitationResolvedData](s, "elicitation_resolved"); len(r) != 2 || r[0].Outcome != protocol.OutcomeExpired {
		t.Errorf("resolved %+v", r)
	}
}

// The agent's own program logs a person in, in a terminal. The agent is started again then.
func TestLoginByATerminalFromAfar(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", loginProviders(t), "--log-level", "debug")
	s := n.create(scriptedSession)
	st := s.ws("")
	s.send("echo at last")
	if r := s.answer(s.private(st), `"action":"accept","content":{"method":"login"}`); r.StatusCode != 200 {
		t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
	}
	q := s.private(st)
	for _, want := range []string{"Open this page: https://login.example.org/s3cr3t-page\n", "Is it a terminal? true"} {
		if !strings.Contains(q.Message, want) {
			t.Errorf("%q is not in %q", want, q.Message)
		}
	}
	if r := s.answer(q, `"action":"accept","content":{"input":"s3cr3t-answer"}`); r.StatusCode != 200 {
		t.Fatalf("answer: %d %s", r.StatusCode, r.Body)
	}
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != protocol.StopEndTurn || !strings.Contains(st.text("text"), "at last") {
		t.Errorf("%+v: %s", c, st.text("text"))
	}
	if all := string(n.call("GET", s.path+"/history", "", s.bearer()...).Body) + n.Log.String(); strings.Contains(all, "s3cr3t") {
		t.Errorf("a secret is in the log: %s", all)
	}
}
