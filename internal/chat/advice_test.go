package chat

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// hubWith is a hub that answers as told, and a chat's options for it.
func hubWith(t *testing.T, answer http.HandlerFunc) Options {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	errs, err := os.Create(t.TempDir() + "/err")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errs.Close() })
	return Options{Client: &client.Client{BaseURL: server.URL}, Err: errs}
}

func refuse(w http.ResponseWriter, status int, code protocol.Code) {
	w.WriteHeader(status)
	_, _ = w.Write(protocol.Marshal(protocol.Problem{Status: status, Code: code, Detail: "no"}))
}

// A session whose user makes too many at once was not made at all.
func TestBeginningWaitsForAsLongAsTheHubSays(t *testing.T) {
	asked := 0
	var keys []string
	o := hubWith(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if asked++; asked < 3 {
			w.Header().Set("Retry-After", "0.025")
			refuse(w, http.StatusTooManyRequests, protocol.CodeRateLimited)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(protocol.Marshal(protocol.CreateResponse{SessionID: "s_1"}))
	})
	s, err := open(t.Context(), o)
	if err != nil || s.session.ID() != "s_1" || asked != 3 {
		t.Errorf("after %d: %v", asked, err)
	}
	if keys[0] == "" || keys[0] != keys[2] {
		t.Errorf("a repeat may make a second session: %q", keys)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for code, status := range map[protocol.Code]int{
		protocol.CodeUnauthorized: 401, protocol.CodeUnknownProvider: 400, protocol.CodeWorkingDirectory: 403, protocol.CodeSessionLimit: 429,
		protocol.CodeHostRefused: 403, "": 502,
	} {
		asked := 0
		o := hubWith(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Retry-After", "600") // more than anybody waits for
			refuse(w, status, code)
		})
		_, err := open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "; ") || asked != 1 {
			t.Errorf("%s: after %d: %v", code, asked, err)
		}
	}
	gone := Options{Client: &client.Client{BaseURL: "http://127.0.0.1:1"}, Err: os.Stderr}
	if _, err := open(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "sessionhub serve") {
		t.Errorf("no hub: %v", err)
	}
}

// talk is a conversation whose terminal is not there, with one question.
func talk(t *testing.T, o Options, d protocol.ToolApprovalData) *conversation {
	t.Helper()
	c := &conversation{
		o: o, session: opened{session: o.Client.Session("s_1", "")}, editor: newEditor(&history{}), caughtUp: true,
		outcomes: make(chan outcome), transcript: newTranscript(painter{}, 80), screen: &screen{columns: 80, rows: 24},
	}
	c.stream = c.session.session.Stream(client.StreamOptions{})
	t.Cleanup(c.wg.Wait)
	c.transcript.event(protocol.Event{Type: protocol.EventToolApproval, Data: protocol.Marshal(d)})
	return c
}

var options = []protocol.ApprovalOption{
	{OptionID: "a", Name: "Allow", Kind: protocol.AllowOnce}, {OptionID: "r", Name: "Reject", Kind: protocol.RejectOnce},
}

// A question that came cut is not allowed by any key before its whole was
// fetched and shown.
func TestACutQuestionIsReadBeforeItIsAllowed(t *testing.T) {
	var approved string
	o := hubWith(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/approvals/i1/content"):
			_, _ = w.Write(protocol.Marshal(protocol.ApprovalContent{
				InteractionID: "i1", Title: "make", Input: protocol.Marshal(map[string]string{"command": "true; rm -r /"}), Options: options,
			}))
		case strings.HasSuffix(r.URL.Path, "/approve"):
			approved += "x"
			_, _ = w.Write(protocol.Marshal(protocol.ApproveResponse{}))
		}
	})
	c := talk(t, o, protocol.ToolApprovalData{
		InteractionID: "i1", Title: "make", Input: protocol.Marshal("true; [cut]"), Options: options, Truncated: true, FullBytes: 5000,
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	now := time.Now()
	pressed := func(r rune) {
		now = now.Add(2 * time.Second)
		c.present()
		c.front.since = now.Add(-armAfter)
		c.press(ctx, key{kind: keyRune, r: r, at: now})
	}
	pressed('y')
	pressed('1')
	if c.answered != "" || !strings.Contains(c.notice, "all of it") {
		t.Fatalf("it was allowed unread; notice %q", c.notice)
	}
	c.front.since = time.Now().Add(-armAfter)
	if rows := strings.Join(c.questionRows(false), "|"); !strings.Contains(rows, "5000 bytes") || strings.Contains(rows, "Allow") || !strings.Contains(rows, "Reject") {
		t.Errorf("offered: %s", rows)
	}
	pressed(' ')
	c.settle(<-c.outcomes)
	if said := strings.Join(c.transcript.take(), "|"); !strings.Contains(said, "rm -r /") {
		t.Errorf("the whole reads %s", said)
	}
	if !c.front.since.IsZero() {
		t.Error("a key that was meant for the cut question answers the whole one")
	}
	pressed('y')
	if c.answered != "i1" {
		t.Fatalf("it cannot be allowed; notice %q", c.notice)
	}
	if o := <-c.outcomes; o.err != nil || approved != "x" {
		t.Errorf("%v, %q", o.err, approved)
	}
}

// Keys are for the question that could be read when they were pressed.
func TestKeysThatDoNotAnswer(t *testing.T) {
	o := hubWith(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	for name, tc := range map[string]struct {
		after time.Duration // from when the question was shown
		last  time.Duration // from the same key before; 0: none
		rows  int
		typed string
		want  bool
	}{
		"in time":                {after: armAfter, want: true},
		"before it was shown":    {after: -time.Millisecond, typed: "y"},
		"too early":              {after: armAfter - time.Millisecond, typed: "y"},
		"held":                   {after: time.Hour, last: heldWithin - time.Millisecond},
		"pressed again later":    {after: time.Hour, last: heldWithin, want: true},
		"while something typed":  {after: time.Hour, typed: "xy"},
		"in a window of no size": {after: time.Hour, rows: 3},
	} {
		c := talk(t, o, protocol.ToolApprovalData{InteractionID: "i1", Title: "make", Options: options})
		ctx, cancel := context.WithCancel(t.Context())
		if strings.HasPrefix(tc.typed, "x") {
			c.editor.set([]rune("x"))
		}
		c.present()
		for !c.front.read() {
			c.page()
		}
		if tc.rows > 0 {
			c.screen.rows = tc.rows
		}
		shown := time.Now()
		c.front.since = shown
		at := shown.Add(tc.after)
		if tc.last > 0 {
			c.last, c.lastAt = 'y', at.Add(-tc.last)
		}
		c.press(ctx, key{kind: keyRune, r: 'y', at: at})
		if got := c.answered == "i1"; got != tc.want || string(c.editor.text) != tc.typed {
			t.Errorf("%s: answered is %t, the line %q", name, got, string(c.editor.text))
		}
		if c.answered != "" {
			<-c.outcomes
		}
		cancel()
	}
}
