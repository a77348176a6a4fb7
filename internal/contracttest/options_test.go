package contracttest

import (
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// set sets an option and gives the code of the answer: empty if it was taken.
func (s session) set(id, value string, header ...string) protocol.Code {
	s.n.t.Helper()
	if header == nil {
		header = s.bearer()
	}
	r := s.n.call("PATCH", s.path+"/options", string(protocol.Marshal(protocol.SetOptionRequest{ConfigID: id, Value: protocol.TextValue(value)})), header...)
	if r.StatusCode == 202 {
		if got := hubtest.Decode[protocol.SetOptionResponse](s.n.t, r.Body); got.ConfigID != id || got.Value.Text != value {
			s.n.t.Errorf("the answer is %+v", got)
		}
		return ""
	}
	return hubtest.Decode[protocol.Problem](s.n.t, r.Body).Code
}

func (s session) options() protocol.SessionOptions {
	s.n.t.Helper()
	return ok[protocol.SessionOptions](s.n, 200, "GET", s.path+"/options", "", s.bearer()...)
}

func listed(t *testing.T, st *stream) protocol.ConfigOptionsData {
	t.Helper()
	return hubtest.Decode[protocol.ConfigOptionsData](t, st.until("config_options").Data)
}

// The options of a running agent: the list, a change over HTTP and over a WebSocket, a change
// of the agent's own, and what everybody sees of it.
func TestOptions(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{"agentOptions":{"config":{"tone":"loud"}}}`)
	if got := s.options(); len(got.ConfigOptions) != 0 || got.ConfigOptions == nil {
		t.Errorf("before there is an agent: %+v", got)
	}
	st := s.ws("")
	s.turn(st, "/model")
	first := hubtest.Decode[protocol.ConfigOptionsData](t, st.seen[indexOf(st, "config_options")].Data)
	if first.Mode != "ask" || first.Asking == nil || !*first.Asking || first.By != "" || protocol.FindOption(first.ConfigOptions, "tone").CurrentValue.Text != "loud" {
		t.Errorf("the first list is %+v", first)
	}
	if v := s.view(); v.Mode != "ask" || v.Asking == nil || !*v.Asking {
		t.Errorf("the session is %+v", v)
	}
	for id, want := range map[string]protocol.Code{"mode": protocol.CodeUnknownOption, "colour": protocol.CodeUnknownOption} {
		if got := s.set(id, "none"); got != want {
			t.Errorf("%s: %s", id, got)
		}
	}
	if code := s.set("mode", "auto"); code != "" {
		t.Fatal(code)
	}
	if d := listed(t, st); d.Mode != "auto" || *d.Asking || d.By != "local" || len(d.Changed) != 1 || d.Changed[0] != "mode" {
		t.Errorf("after the change: %+v", d)
	}
	if v := s.view(); v.Mode != "auto" || *v.Asking || v.AgentOptions.Mode != "auto" {
		t.Errorf("the session is %+v", v)
	}
	if page := ok[protocol.SessionList](n, 200, "GET", "/api/sessions", ""); page.Sessions[0].Asking == nil || *page.Sessions[0].Asking {
		t.Errorf("the list has %+v", page.Sessions[0])
	}
	s.turn(st, "/run true") // nobody is asked
	if strings.Contains(st.types(), "tool_approval") {
		t.Errorf("it asked: %s", st.types())
	}
	if a := st.command("set_option", "c1", `{"configId":"model","value":"demo-large"}`); a.Type != "ack" {
		t.Errorf("over the WebSocket: %+v", a)
	}
	if got := s.options(); protocol.FindOption(got.ConfigOptions, "model") == nil || got.Chosen["mode"].Text != "auto" {
		t.Errorf("the options are %+v", got)
	}
	s.turn(st, "/option mode ask")
	if v := s.view(); v.Mode != "ask" || !*v.Asking {
		t.Errorf("after the agent's own change: %+v", v)
	}
	for _, body := range []string{`{}`, `{"configId":"mode"`, `{"configId":"mode","value":7}`, `{"configId":"","value":"x"}`, `[]`} {
		if r := n.call("PATCH", s.path+"/options", body, s.bearer()...); r.StatusCode != 400 {
			t.Errorf("%s: %d", body, r.StatusCode)
		}
	}
	// It is JSON, of a type that no option has.
	n.refused(400, protocol.CodeInvalidRequest, "PATCH", s.path+"/options", `{"configId":"mode","value":7}`, s.bearer()...)
	n.refused(400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"agentOptions":{"config":{"tone":null}}}`)
}

// The reason why a session cannot begin reaches people whole: its end says what there is.
func TestReasonOfAFailedSession(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{"agentOptions":{"mode":"` + strings.Repeat("x", 200) + `"}}`)
	c := s.turn(s.ws(""), "hello")
	if c.Error == nil || c.Error.Code != protocol.TurnSessionFailed || !strings.HasSuffix(c.Error.Message, `not offered: offered ask, auto`) {
		t.Errorf("it ended with %+v", c.Error)
	}
}

func indexOf(st *stream, kind string) int {
	for i, f := range st.seen {
		if string(f.Type) == kind {
			return i
		}
	}
	st.t.Fatalf("no %s in %s", kind, st.types())
	return -1
}

// A token without approve may set what leaves the agent asking, and nothing else: not a mode
// in which it does not ask, and before an agent has told of its options, nothing but a model.
func TestOptionsNeedTheirScope(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	narrow := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read write"}`, s.bearer()...)
	only := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read"}`, s.bearer()...)
	writer, reader := []string{"Authorization", "Bearer " + narrow.Token}, []string{"Authorization", "Bearer " + only.Token}
	if code := s.set("mode", "auto", writer...); code != protocol.CodeScope {
		t.Errorf("before there is an agent: %s", code)
	}
	if code := s.set("model", "demo-large", writer...); code != "" {
		t.Errorf("a model before there is an agent: %s", code)
	}
	st := s.sse("")
	s.turn(st, "/model")
	if got := st.text("text"); !strings.Contains(got, "Model demo-large") {
		t.Errorf("the agent says %q", got)
	}
	for value, want := range map[string]protocol.Code{"auto": protocol.CodeScope, "ask": "", "none": protocol.CodeUnknownOption} {
		if code := s.set("mode", value, writer...); code != want {
			t.Errorf("mode %s: %s", value, code)
		}
	}
	if code := s.set("tone", "loud", writer...); code != "" {
		t.Errorf("the tone: %s", code)
	}
	if code := s.set("tone", "plain", reader...); code != protocol.CodeScope {
		t.Errorf("the tone, without write: %s", code)
	}
}

// kill -9 of the node, its worker and its agent: the options hold afterwards, also those that
// were set while nothing ran.
func TestOptionsSurviveTheEndOfAll(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), t.TempDir()
	n := serve(t, "--data-dir", dir, "--workspace-root", root)
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "hello")
	s.set("mode", "auto")
	if d := listed(t, st); d.Mode != "auto" {
		t.Fatalf("after the change: %+v", d)
	}
	s.set("model", "demo-large") // and it may be on its way
	n.kill()
	n = serve(t, "--data-dir", dir, "--workspace-root", root)
	s = s.on(n)
	if v := s.view(); v.Mode != "auto" || *v.Asking {
		t.Errorf("after the kill: %+v", v)
	}
	st = s.ws("?after=latest")
	st.until("caught_up")
	if code := s.set("tone", "loud"); code != "" { // the list of the killed node
		t.Fatal(code)
	}
	s.turn(st, "/model")
	if got := st.text("text"); !strings.Contains(got, "Model demo-large, mode auto") {
		t.Errorf("the next agent says %q", got)
	}
	s.turn(st, "hello")
	if got := st.text("text"); !strings.Contains(got, "HELLO") {
		t.Errorf("the next agent says %q", got)
	}
	s.turn(st, "/crash")
	s.turn(st, "/model")
	if got := st.text("text"); !strings.Contains(got, "Model demo-large, mode auto") {
		t.Errorf("after a crash of the agent it says %q", got)
	}
	code, out := run(t, nil, "check", "--data-dir", dir)
	if code == 0 {
		t.Errorf("the store is in use: %s", out)
	}
	n.Terminate()
	<-n.Ended
	if code, out := run(t, nil, "check", "--data-dir", dir); code != 0 {
		t.Errorf("the store is not sound: %s", out)
	}
}
