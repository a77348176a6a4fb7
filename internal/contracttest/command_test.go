package contracttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Every command is answered by its id; what is wrong with its data is an error
// and not an end.
func TestCommands(t *testing.T) {
	n := serve(t, "--rate-messages", "0.1/s:2")
	s := n.create(`{}`)
	st := s.ws("")
	if a := st.command("ping", "p1", `{}`); a.Type != "ack" {
		t.Errorf("ping: %+v", a)
	}
	a := st.command("message", "m1", `{"content":[{"type":"text","text":"/approve it?"}],"messageId":"one"}`)
	if m := hubtest.Decode[protocol.MessageResponse](t, a.Data); a.Type != "ack" || m.MessageID != "one" || m.Seq == 0 || m.Duplicate {
		t.Errorf("message: %+v", a)
	}
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	a = st.command("approve", "a1", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once"}`)
	if r := hubtest.Decode[protocol.ApproveResponse](t, a.Data); a.Type != "ack" || r.InteractionID != q.InteractionID || r.OptionID == "" {
		t.Errorf("approve: %+v", a)
	}
	if a = st.command("approve", "a2", `{"interactionId":"`+q.InteractionID+`","decision":"reject_once"}`); a.Error.Code != protocol.CodeApprovalResolved || a.Error.Outcome != "selected" {
		t.Errorf("a second answer: %+v", a)
	}
	st.until("complete")
	if a = st.command("message", "m2", `{"content":[{"type":"text","text":"/approve it?"}],"messageId":"one"}`); !hubtest.Decode[protocol.MessageResponse](t, a.Data).Duplicate {
		t.Errorf("a repeat: %+v", a)
	}
	if a = st.command("message", "m3", `{"content":"/slow 30","messageId":"two"}`); a.Type != "ack" {
		t.Errorf("message: %+v", a)
	}
	if a = st.command("message", "m4", `{"content":"too many"}`); a.Error.Code != protocol.CodeRateLimited || a.Error.RetryAfter < 1 || a.Error.Detail == "" {
		t.Errorf("over the rate: %+v", a)
	}
	if a = st.command("cancel", "c1", `{"messageId":"two"}`); a.Type != "ack" {
		t.Errorf("cancel: %+v", a)
	}
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != "cancelled" || c.MessageID != "two" {
		t.Errorf("complete: %+v", c)
	}
	if a = st.command("cancel", "c2", `{}`); a.Type != "ack" {
		t.Errorf("cancel when nothing runs: %+v", a)
	}
}

// auth replaces the token of an open stream; a narrower one narrows it.
func TestTokenIsReplacedInBand(t *testing.T) {
	t.Parallel() // it waits for a token's end
	n := serve(t)
	s, other := n.create(`{}`), n.create(`{}`)
	token := func(body string) protocol.TokenResponse {
		t.Helper()
		return ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", body, s.bearer()...)
	}
	short := s
	short.Token = token(`{"ttlSeconds":4}`).Token
	st := short.ws("")
	e := hubtest.Decode[protocol.Expiring](t, st.until("expiring").Data)
	if left := time.Until(e.ExpiresAt); left > 6*time.Second || left < 0 {
		t.Errorf("expiring in %v", left)
	}
	for token, code := range map[string]protocol.Code{other.Token: protocol.CodeForbidden, "x": protocol.CodeUnauthorized, "": protocol.CodeInvalidRequest} {
		if a := st.command("auth", "bad", `{"token":"`+token+`"}`); a.Error.Code != code {
			t.Errorf("a foreign token: %+v", a)
		}
	}
	read := token(`{"scope":"read","ttlSeconds":600}`)
	a := st.command("auth", "good", `{"token":"`+read.Token+`"}`)
	if r := hubtest.Decode[protocol.AuthResponse](t, a.Data); a.Type != "ack" || r.Scope != "read" || !r.ExpiresAt.Equal(read.ExpiresAt) {
		t.Errorf("auth: %+v", a)
	}
	judge.Within(t, 15*time.Second, "the first token has expired", func() bool { return time.Now().After(e.ExpiresAt.Add(2 * time.Second)) })
	if a = st.command("ping", "p", `{}`); a.Type != "ack" {
		t.Errorf("beyond the first token's end: %+v", a)
	}
	if a = st.command("message", "m", `{"content":"x"}`); a.Error.Code != protocol.CodeScope {
		t.Errorf("with the narrower token: %+v", a)
	}
	// Revoked, it ends within 2 s.
	if r := n.call("DELETE", s.path+"/token", "", "Authorization", "Bearer "+read.Token); r.StatusCode != 204 {
		t.Fatal(r.StatusCode)
	}
	started := time.Now()
	if code := st.rest(); code != protocol.CloseToken {
		t.Errorf("closed with %d", code)
	}
	judge.AtMost(t, "the end of the revoked token's stream", time.Since(started), 2*time.Second)
}

// What is no command closes the connection.
func TestBadFramesClose(t *testing.T) {
	n := serve(t, "--max-message-bytes", "4KiB")
	s := n.create(`{}`)
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"no JSON":      {`{`, protocol.CloseBadFrame},
		"no id":        {`{"type":"ping"}`, protocol.CloseBadFrame},
		"unknown type": {`{"type":"dance","id":"1"}`, protocol.CloseBadFrame},
		"too long":     {`{"type":"ping","id":"1","data":"` + strings.Repeat("x", 5000) + `"}`, protocol.CloseTooBig},
	} {
		st := s.ws("")
		if err := st.writeText(c.text); err != nil {
			t.Fatal(err)
		}
		if code := st.rest(); code != c.code || st.seen[0].Type != "connected" {
			t.Errorf("%s: closed with %d after %s", name, code, st.types())
		}
	}
	flood := serve(t, "--rate-messages", "0.01/s:1")
	st := flood.create(`{}`).ws("")
	for i := range 40 {
		if st.writeText(fmt.Sprintf(`{"type":"message","id":"m%d","data":{"content":"x"}}`, i)) != nil {
			break // it is closed already
		}
	}
	if code := st.rest(); code != protocol.CloseRate {
		t.Errorf("a flood of commands: closed with %d", code)
	}
}

// Limits of streams: refused with a status, and free again when one ends.
func TestStreamLimits(t *testing.T) {
	for flag, perUser := range map[string]bool{"--max-connections-per-session": false, "--max-connections": true, "--max-connections-per-user": true} {
		n := serve(t, flag, "2")
		s, other := n.create(`{}`), n.create(`{}`)
		first, second := s.ws(""), s.sse("")
		first.until("caught_up")
		second.until("caught_up")
		n.refused(429, protocol.CodeConnectionLimit, "GET", s.path+"/events", "", s.bearer()...)
		if _, resp, err := s.socket("", nil); err == nil || resp == nil || resp.StatusCode != 429 {
			t.Errorf("%s: a WebSocket too many: %v", flag, err)
		}
		if _, _, err := other.socket("", nil); (err == nil) == perUser {
			t.Errorf("%s: another session's stream: %v", flag, err)
		}
		first.close()
		judge.Within(t, 5*time.Second, flag+": the place is free again", func() bool {
			_, _, err := s.socket("", nil)
			return err == nil
		})
	}
}

// Rates: of each user, with a Retry-After that is true.
func TestRates(t *testing.T) {
	t.Parallel()
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-of-the-service"}, "--rate-sessions", "1/s:2", "--rate-messages", "1/s:2")
	n.key = "key-of-the-service"
	s := n.create(`{"userId":"ann"}`)
	n.create(`{"userId":"ann"}`)
	n.refused(429, protocol.CodeRateLimited, "POST", "/api/sessions", `{"userId":"ann"}`)
	n.create(`{"userId":"bob"}`) // another's bucket
	for _, text := range []string{"one", "two"} {
		s.send(text)
	}
	r := n.call("POST", s.path+"/messages", `{"content":"three"}`, s.bearer()...)
	if err := r.Problem(429, protocol.CodeRateLimited); err != nil {
		t.Error(err)
	}
	wait, err := time.ParseDuration(r.Header.Get("Retry-After") + "s")
	if err != nil || wait > 2*time.Second {
		t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
	}
	until := time.Now().Add(wait)
	judge.Within(t, 5*time.Second, "it is time again", func() bool { return time.Now().After(until) })
	s.send("three")
}
