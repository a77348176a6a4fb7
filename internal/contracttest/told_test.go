package contracttest

import (
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// What an agent tells of its session, and what people are told.

// told are the data of all events of a type in the session's log.
func told[T any](s session, kind protocol.EventType) []T {
	s.n.t.Helper()
	var all []T
	for _, raw := range s.history() {
		if e := hubtest.Decode[protocol.Event](s.n.t, raw); e.Type == kind {
			all = append(all, hubtest.Decode[T](s.n.t, e.Data))
		}
	}
	return all
}

const scriptedSession = `{"provider":"scripted"}`

// Commands, usage and title of an agent are events of their own. They are in the session
// and in the metrics.
func TestAgentTellsOfItsSession(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(scriptedSession)
	if s.Session.Title != "" || s.Session.Usage != nil {
		t.Errorf("a new session has the title %q and the usage %+v", s.Session.Title, s.Session.Usage)
	}
	st := s.ws("")
	s.send("hello   there,\nagent")
	st.until("complete")
	if title := s.view().Title; title != "hello there," {
		t.Errorf("the title is %q, want the first line", title)
	}
	done := s.turn(st, "commands")
	commands := told[protocol.CommandsData](s, "commands")
	if len(commands) != 1 || string(protocol.Marshal(commands[0])) != `{"availableCommands":[{"name":"compact","description":"Compact the context"},`+
		`{"name":"review","description":"Review changes","input":{"hint":"what to review"}}]}` {
		t.Errorf("commands %s", protocol.Marshal(commands))
	}
	usage := told[protocol.UsageData](s, "usage")
	if len(usage) != 1 || string(protocol.Marshal(usage[0])) != `{"messageId":"`+done.MessageID+`","used":53000,"size":200000,"cost":{"amount":0.42,"currency":"USD"}}` {
		t.Errorf("usage %s", protocol.Marshal(usage))
	}
	if titles := told[protocol.SessionInfoData](s, "session_info"); len(titles) != 1 || titles[0] != (protocol.SessionInfoData{Title: "Fix the login bug"}) {
		t.Errorf("titles %+v", titles)
	}
	if done.Cost == nil || *done.Cost != (protocol.Cost{Amount: 0.42, Currency: "USD"}) {
		t.Errorf("the turn's cost is %+v", done.Cost)
	}
	if next := s.turn(st, "cost 0.50"); next.Cost == nil || next.Cost.Amount != 0.08 {
		t.Errorf("the next turn's cost is %+v", next.Cost)
	}
	v := s.view()
	if v.Title != "Fix the login bug" || v.Usage == nil || *v.Usage.Used != 1 || *v.Usage.Size != 200_000 || v.Usage.Cost.Amount != 0.5 {
		t.Errorf("the session is %s", protocol.Marshal(v))
	}
	if got := n.metrics()[`sessionhub_cost_total{currency="usd",provider="scripted"}`]; got != 0.5 {
		t.Errorf("the metric says that it cost %v", got)
	}
	// A cost that goes backwards is that of another process. Others notice nothing.
	s.turn(st, "cost 0.1")
	s.turn(st, "cost -7")
	s.turn(st, "cost 1e300")
	if v := s.view(); v.Usage.Cost.Amount != 0.6 {
		t.Errorf("the session has cost %+v", v.Usage.Cost)
	}
	demo := n.create(`{}`)
	dst := demo.ws("")
	demo.turn(dst, "hello")
	if u := demo.view().Usage; u == nil || u.InputTokens == 0 || u.TotalTokens != u.InputTokens+u.OutputTokens || u.Cost != nil {
		t.Errorf("the demo agent's usage is %+v", u)
	}
	before := n.metrics()[`sessionhub_tokens_total{kind="output",provider="demo"}`]
	demo.turn(dst, "hello")
	if u := demo.view().Usage; float64(u.OutputTokens) != n.metrics()[`sessionhub_tokens_total{kind="output",provider="demo"}`] || before == 0 {
		t.Errorf("the demo agent's usage is %+v, its first turn had %v tokens", u, before)
	}
}

// People name a session, over HTTP and over WebSocket, and everybody sees it.
func TestRename(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(`{"provider":"scripted","title":"given"}`)
	st, reader := s.ws(""), s.sse("")
	s.turn(st, "commands")
	if v := s.view(); v.Title != "given" {
		t.Errorf("the agent's title came before the given one: %q", v.Title)
	}
	rename := func(body, want string) {
		t.Helper()
		if v := ok[protocol.Session](n, 200, "PATCH", s.path, body, s.bearer()...); v.Title != want || v.SessionID != s.SessionID {
			t.Errorf("%s: the answer is %s", body, protocol.Marshal(v))
		}
		if list := ok[protocol.SessionList](n, 200, "GET", "/api/sessions", ""); list.Sessions[0].Title != want {
			t.Errorf("%s: listed as %q", body, list.Sessions[0].Title)
		}
	}
	rename(`{"title":"Anna's session"}`, "Anna's session")
	rename(`{"title":"Anna's session"}`, "Anna's session")
	rename(`{"title":""}`, "Fix the login bug")
	st.command("rename", "c9", `{"title":"Over the socket"}`)
	if v := s.view(); v.Title != "Over the socket" {
		t.Errorf("the title is %q", v.Title)
	}
	for _, body := range []string{`{}`, `{"title":null}`, `{"title":7}`, `{"title":"two\nlines"}`, `{"title":"` + strings.Repeat("x", 1025) + `"}`} {
		n.refused(400, protocol.CodeInvalidRequest, "PATCH", s.path, body, s.bearer()...)
	}
	narrow := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read approve"}`, s.bearer()...)
	n.refused(403, protocol.CodeScope, "PATCH", s.path, `{"title":"x"}`, "Authorization", "Bearer "+narrow.Token)
	n.refused(415, protocol.CodeUnsupportedMedia, "PATCH", s.path, `{"title":"x"}`, append(s.bearer(), "Content-Type", "text/plain")...)
	for _, want := range []string{"Anna's session", "Fix the login bug", "Over the socket"} {
		if got := hubtest.Decode[protocol.SessionInfoData](t, reader.until("session_info").Data); got != (protocol.SessionInfoData{Title: want, By: "local"}) {
			t.Errorf("told is %+v, want %q", got, want)
		}
	}
	if all := told[protocol.SessionInfoData](s, "session_info"); len(all) != 3 {
		t.Errorf("told are the titles %+v", all)
	}
	if r := n.call("OPTIONS", s.path, ""); !strings.Contains(r.Header.Get("Allow"), "PATCH") {
		t.Errorf("Allow is %q", r.Header.Get("Allow"))
	}
}

// What ended with an agent, and what it says itself, are notices.
func TestNotices(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t), "--agent-idle", "100ms", "--agent-children-idle", "1s")
	s := n.create(scriptedSession)
	st := s.ws("")
	s.turn(st, "notice Context is low")
	s.turn(st, "orphan")
	ended := hubtest.Decode[protocol.NoticeData](t, st.until("notice").Data)
	data := hubtest.Decode[struct{ Processes []struct{ Name string } }](t, ended.Data)
	if ended.Kind != protocol.NoticeProcessesEnded || ended.Severity != protocol.SeverityInfo || len(data.Processes) < 2 || !strings.Contains(ended.Description, "sleep (") {
		t.Errorf("notice %+v %s", ended, ended.Data)
	}
	own := told[protocol.NoticeData](s, "notice")[0]
	if own.Kind != protocol.NoticeAgent || own.Severity != protocol.SeverityWarning || own.Title != "Context is low" || own.Description != "Compact it soon." {
		t.Errorf("notice %+v", own)
	}
	transcript := string(n.call("GET", s.path+"/transcript", "", s.bearer()...).Body)
	for _, want := range []string{"Context is low: Compact it soon.", "What the agent had started was ended with it: "} {
		if !strings.Contains(transcript, want) {
			t.Errorf("the transcript lacks %q:\n%s", want, transcript)
		}
	}
}

// The agent takes its question back, and its model's vendor is busy: each ends as its own
// kind, and the session goes on.
func TestScriptedAgentInTrouble(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(scriptedSession)
	st := s.ws("")
	if c := s.turn(st, "withdraw"); c.StopReason != protocol.StopEndTurn || !strings.Contains(st.text("text"), "-32800") {
		t.Errorf("withdraw: %+v %q", c, st.text("text"))
	}
	if r := told[protocol.ApprovalResolvedData](s, "approval_resolved"); len(r) != 1 || r[0].Outcome != protocol.OutcomeCancelled {
		t.Errorf("resolved %+v", r)
	}
	if c := s.turn(st, "retry"); c.Error == nil || !c.Error.Retryable || !strings.Contains(c.Error.Message, "limit resets 3am") {
		t.Errorf("retry: %+v", c.Error)
	}
	if c := s.turn(st, "fs"); c.StopReason != protocol.StopEndTurn || strings.Count(st.text("text"), "-32601") != 2 {
		t.Errorf("fs: %+v %q", c, st.text("text"))
	}
	s.turn(st, "echo still there")
}

// A node is killed in the middle of it all. Title and usage are what was told, also on
// the next node, and costs are added up over the agent's processes.
func TestToldSurvivesAKilledNode(t *testing.T) {
	t.Parallel()
	providers, dir, root := scripted.Providers(t), t.TempDir(), t.TempDir()
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32)}
	disk := func() *node {
		return serveEnv(t, env, "--data-dir", dir, "--workspace-root", root, "--providers-file", providers)
	}
	n := disk()
	s := n.create(scriptedSession)
	s.turn(s.ws(""), "commands")
	ok[protocol.Session](n, 200, "PATCH", s.path, `{"title":"Named"}`, s.bearer()...)
	hung := s.send("hang")
	judge.Within(t, 20*time.Second, "the turn runs", func() bool { return s.view().Status == protocol.StatusRunning })
	n.kill()
	n = disk()
	s = s.on(n)
	if c := s.ends(n, 20*time.Second, hung.MessageID); c.Error == nil || c.Error.Code != protocol.TurnWorkerLost || c.Cost != nil {
		t.Errorf("the turn ended with %+v", c)
	}
	if v := s.view(); v.Title != "Named" || v.Usage == nil || v.Usage.Cost.Amount != 0.42 || *v.Usage.Used != 53_000 {
		t.Errorf("after the kill the session is %s", protocol.Marshal(v))
	}
	if v := ok[protocol.Session](n, 200, "PATCH", s.path, `{"title":""}`, s.bearer()...); v.Title != "Fix the login bug" {
		t.Errorf("the title is %q", v.Title)
	}
	// Another process counts from nothing: 0.42 and 0.10.
	if c := s.turn(s.ws("?after=latest"), "cost 0.1"); c.Cost == nil || c.Cost.Amount != 0.1 {
		t.Errorf("the turn's cost is %+v", c.Cost)
	}
	if v := s.view(); v.Usage.Cost.Amount != 0.52 {
		t.Errorf("the session has cost %+v", v.Usage.Cost)
	}
}

// Two nodes over one store: a session is named at one, and its agent tells at the other.
func TestToldAcrossNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32)}
	a := serveEnv(t, env, "--valkey-url", server.URL(), "--providers-file", scripted.Providers(t))
	b := serveEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	s := a.create(scriptedSession)
	st := s.on(b).ws("")
	s.turn(st, "commands")
	if v := s.on(b).view(); v.Title != "Fix the login bug" || v.Usage == nil || v.Usage.Cost.Amount != 0.42 {
		t.Errorf("on the other node the session is %s", protocol.Marshal(v))
	}
	ok[protocol.Session](b, 200, "PATCH", s.path, `{"title":"Named at b"}`, s.bearer()...)
	if got := hubtest.Decode[protocol.SessionInfoData](t, st.until("session_info").Data); got.Title != "Named at b" {
		t.Errorf("told is %+v", got)
	}
	if v := s.view(); v.Title != "Named at b" {
		t.Errorf("at the first node the title is %q", v.Title)
	}
}
