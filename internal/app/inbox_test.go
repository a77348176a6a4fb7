package app

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sessionhub/client"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// onStores runs a test on two doors of one hub: on one node in memory twice, and on two nodes
// with Valkey.
func onStores(t *testing.T, test func(t *testing.T, a, b *hubUnderTest)) {
	t.Run("memory", func(t *testing.T) {
		h := startHub(t)
		test(t, h, h)
	})
	t.Run("disk", func(t *testing.T) {
		h := startHub(t, "--data-dir", t.TempDir())
		test(t, h, h)
	})
	t.Run("two nodes", func(t *testing.T) {
		nodes := startNodes(t, valkeytest.Start(t, valkeytest.Valkey(t)), 2)
		test(t, nodes[0], nodes[1])
	})
}

func (h *hubUnderTest) inbox() (out protocol.Inbox) {
	h.t.Helper()
	if a := h.call("GET", "/api/inbox", nil, &out); a.StatusCode != http.StatusOK {
		h.t.Fatalf("inbox: %d", a.StatusCode)
	}
	return out
}

// listed are the ids of a listing's sessions, over all its pages.
func (h *hubUnderTest) listed(query string) (ids []string) {
	h.t.Helper()
	for cursor := ""; ; {
		var page protocol.SessionList
		if a := h.call("GET", "/api/sessions?"+query+cursor, nil, &page); a.StatusCode != http.StatusOK {
			h.t.Fatalf("list %s: %d %s", query, a.StatusCode, a.Body)
		}
		for _, s := range page.Sessions {
			ids = append(ids, s.SessionID)
		}
		if page.NextCursor == "" {
			return ids
		}
		cursor = "&cursor=" + url.QueryEscape(page.NextCursor)
	}
}

func (h *hubUnderTest) view(id string) (out protocol.Session) {
	h.t.Helper()
	h.call("GET", "/api/sessions/"+id, nil, &out)
	return out
}

func ids[T any](entries []T, session func(T) protocol.Session) (out []string) {
	for _, e := range entries {
		out = append(out, session(e).SessionID)
	}
	return out
}

func finishedIDs(in protocol.Inbox) []string {
	return ids(in.Finished, func(e protocol.InboxFinished) protocol.Session { return e.Session })
}

func needIDs(in protocol.Inbox) []string {
	return ids(in.NeedsYou, func(e protocol.InboxNeed) protocol.Session { return e.Session })
}

func workingIDs(in protocol.Inbox) []string {
	return ids(in.Working, func(e protocol.InboxWorking) protocol.Session { return e.Session })
}

// The inbox has what waits, what has finished and what works, and two windows that answer one
// question agree.
func TestInbox(t *testing.T) {
	onStores(t, func(t *testing.T, a, b *hubUnderTest) {
		rest := a.create(protocol.CreateRequest{})
		works := a.create(protocol.CreateRequest{})
		done := a.create(protocol.CreateRequest{})
		late := a.create(protocol.CreateRequest{})
		early := a.create(protocol.CreateRequest{Title: "the first that asks"})
		a.send(early, "/approve one")
		judge.Within(t, patience, "the first question", func() bool { return len(b.inbox().NeedsYou) == 1 })
		b.send(late, "/ask What?")
		a.send(works, "/slow 600")
		a.send(done, "hello")
		var in protocol.Inbox
		judge.Within(t, patience, "all are where they belong", func() bool {
			in = b.inbox()
			return len(in.NeedsYou) == 2 && len(in.Finished) == 1 && len(in.Working) == 1
		})
		if got := needIDs(in); !slices.Equal(got, []string{early.SessionID, late.SessionID}) {
			t.Errorf("%v need the user, want the oldest question first: %s, %s", got, early.SessionID, late.SessionID)
		}
		first, second := in.NeedsYou[0], in.NeedsYou[1]
		if len(first.Approvals) != 1 || len(first.Approvals[0].Options) == 0 || len(second.Elicitations) != 1 || second.Since.Before(first.Since) || first.Session.Title != "the first that asks" {
			t.Errorf("the questions are %+v, %+v", first, second)
		}
		if f := in.Finished[0]; f.Session.SessionID != done.SessionID || f.StopReason != protocol.StopEndTurn || f.LastText == "" || f.FinishedAt.IsZero() || !f.Session.Unread {
			t.Errorf("finished: %+v", f)
		}
		if w := in.Working[0]; w.Session.SessionID != works.SessionID || w.Since.IsZero() {
			t.Errorf("working: %+v", w)
		}
		if in.Truncated || b.view(rest.SessionID).Unread {
			t.Errorf("truncated %v; a session that did nothing is unread: %v", in.Truncated, b.view(rest.SessionID).Unread)
		}

		// Two windows answer at once.
		var wg sync.WaitGroup
		codes := make([]hubtest.Answer, 2)
		for i, h := range []*hubUnderTest{a, b} {
			decision := []string{protocol.AllowOnce, protocol.RejectOnce}[i]
			wg.Go(func() {
				codes[i] = h.call("POST", "/api/sessions/"+early.SessionID+"/approve",
					protocol.ApproveRequest{InteractionID: first.Approvals[0].InteractionID, Decision: decision}, nil)
			})
		}
		wg.Wait()
		if got := []int{codes[0].StatusCode, codes[1].StatusCode}; !slices.Contains(got, http.StatusOK) || !slices.Contains(got, http.StatusConflict) {
			t.Errorf("two answers: %v", got)
		}
		judge.Within(t, patience, "it has finished", func() bool {
			return slices.Equal(finishedIDs(b.inbox()), []string{early.SessionID, done.SessionID})
		})

		// What was read is no news. One who has not read the end has not read it.
		seen := func(h *hubUnderTest, id string, seq uint64) {
			t.Helper()
			h.want(http.StatusNoContent, "", "POST", "/api/sessions/"+id+"/seen", protocol.SeenRequest{Seq: seq})
		}
		seen(b, done.SessionID, 2)
		if !a.view(done.SessionID).Unread {
			t.Error("a session was read whose end was not")
		}
		seen(b, done.SessionID, a.view(done.SessionID).LastSeq)
		if a.view(done.SessionID).Unread || slices.Contains(finishedIDs(a.inbox()), done.SessionID) {
			t.Error("what was read is unread")
		}
		// A link that may only read marks nothing.
		var link protocol.TokenResponse
		a.call("POST", "/api/sessions/"+early.SessionID+"/token", protocol.TokenRequest{Scope: "read"}, &link)
		a.want(http.StatusForbidden, protocol.CodeScope, "POST", "/api/sessions/"+early.SessionID+"/seen", protocol.SeenRequest{Seq: 99}, "Authorization", "Bearer "+link.Token)

		// The archive has no news and no work, but its questions are asked.
		for _, id := range []string{early.SessionID, late.SessionID, works.SessionID} {
			a.want(http.StatusOK, "", "PATCH", "/api/sessions/"+id, protocol.RenameRequest{Archived: new(true)})
		}
		if in = b.inbox(); len(in.Finished)+len(in.Working) > 0 || !slices.Equal(needIDs(in), []string{late.SessionID}) {
			t.Errorf("with an archive: %v finished, %v work, %v need the user", finishedIDs(in), workingIDs(in), needIDs(in))
		}
	})
}

// Sessions are pinned, archived, found and changed many at a time.
func TestListsOfSessions(t *testing.T) {
	onStores(t, func(t *testing.T, a, b *hubUnderTest) {
		var all []string
		for i := range 7 {
			s := a.create(protocol.CreateRequest{Title: fmt.Sprintf("Session %d", i)})
			all = append([]string{s.SessionID}, all...)
		}
		said := b.create(protocol.CreateRequest{})
		all = append([]string{said.SessionID}, all...)
		b.send(said, "/stream 40 8\nand Find the NEEDLE")
		judge.Within(t, patience, "the turn ends", func() bool { return b.view(said.SessionID).Unread })

		same := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		same("a title", a.listed("query=session+3"), all[4])
		same("titles", a.listed("query=SESSION&limit=2"), all[1:]...)
		same("the first message", a.listed("query=find++the+needle"), said.SessionID)
		same("nothing", a.listed("query=haystack&text=true"))
		// What the agent has streamed lies in many pieces.
		var h struct {
			Events []protocol.Event
		}
		a.call("GET", "/api/sessions/"+said.SessionID+"/history", nil, &h)
		var output []string
		for _, e := range h.Events {
			if e.Type == protocol.EventOutput {
				output = append(output, hubtest.Decode[protocol.OutputData](t, e.Data).Text)
			}
		}
		if len(output) < 8 {
			t.Fatalf("%d pieces: the search proves nothing", len(output))
		}
		across := strings.Join(output[3:6], "")
		same("a text over pieces, without text", a.listed("query="+url.QueryEscape(across)))
		same("a text over pieces", a.listed("text=true&query="+url.QueryEscape(across)), said.SessionID)

		var marked protocol.Session
		b.call("PATCH", "/api/sessions/"+all[2], `{"pinned":true,"archived":true,"title":"kept"}`, &marked)
		if !marked.Pinned || !marked.Archived || marked.Title != "kept" {
			t.Errorf("marked: %+v", marked)
		}
		same("the archive", a.listed("archived=true"), all[2])
		same("the others", a.listed("archived=false&limit=3"), slices.Delete(slices.Clone(all), 2, 3)...)
		same("a search of the archive", a.listed("archived=true&query=kept"), all[2])
		b.send(protocol.CreateResponse{SessionID: all[2], Token: tokenOf(b, all[2])}, "on")
		if a.view(all[2]).Archived || !a.view(all[2]).Pinned {
			t.Error("a message leaves a session in the archive, or takes its pin")
		}

		var done protocol.BatchResponse
		batch := func(action string, of ...string) {
			t.Helper()
			done = protocol.BatchResponse{}
			if r := b.call("POST", "/api/sessions/batch", protocol.BatchRequest{Action: action, SessionIDs: of}, &done); r.StatusCode != http.StatusOK || len(done.Results) != len(of) {
				t.Fatalf("%s: %d %s", action, r.StatusCode, r.Body)
			}
		}
		batch(protocol.BatchSeen, said.SessionID)
		if a.view(said.SessionID).Unread {
			t.Error("seen by a batch, and unread")
		}
		batch(protocol.BatchArchive, all[5:]...)
		same("after a batch", a.listed("archived=true"), all[5:]...)
		batch(protocol.BatchDelete, all[6], "s_none", all[7])
		for i, want := range []string{all[6], "s_none", all[7]} {
			r := done.Results[i]
			if r.SessionID != want || (r.Problem != nil) != (i == 1) || i == 1 && r.Problem.Code != protocol.CodeNotFound {
				t.Errorf("result %d: %+v", i, r)
			}
		}
		same("after a delete", a.listed(""), all[:6]...)
		b.want(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", "/api/sessions/batch", protocol.BatchRequest{Action: "pin", SessionIDs: make([]string, 101)})

		// An ended session is marked, and not named.
		a.want(http.StatusConflict, protocol.CodeSessionEnded, "PATCH", "/api/sessions/"+failed(t, a), `{"title":"x"}`)
		over := failed(t, a)
		b.want(http.StatusOK, "", "PATCH", "/api/sessions/"+over, `{"pinned":true,"archived":false}`)
		if v := a.view(over); !v.Pinned || v.Status != protocol.StatusFailed || !v.Unread {
			t.Errorf("an ended session: %+v", v)
		}
	})
}

func tokenOf(h *hubUnderTest, id string) string {
	h.t.Helper()
	var out protocol.TokenResponse
	h.call("POST", "/api/sessions/"+id+"/token", nil, &out)
	return out.Token
}

// failed makes a session that has failed.
func failed(t *testing.T, h *hubUnderTest) string {
	t.Helper()
	s := h.create(protocol.CreateRequest{AgentOptions: protocol.AgentOptions{Mode: "no such mode"}})
	h.send(s, "x")
	judge.Within(t, patience, "it fails", func() bool { return h.view(s.SessionID).Status == protocol.StatusFailed })
	return s.SessionID
}

// Nobody sees or changes what is another user's.
func TestInboxIsOfOneUser(t *testing.T) {
	keys := ""
	for _, user := range []string{"ann", "bob"} {
		keys += fmt.Sprintf("%s:%s:%x\n", user, user, sha256.Sum256([]byte("key-of-"+user)))
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": file})
	key := func(user string) []string { return []string{"X-API-Key", "key-of-" + user} }
	var s protocol.CreateResponse
	h.call("POST", "/api/sessions", protocol.CreateRequest{}, &s, key("ann")...)
	h.send(s, "/approve one")
	read := func(user string) (in protocol.Inbox) {
		h.call("GET", "/api/inbox", nil, &in, key(user)...)
		return in
	}
	judge.Within(t, patience, "the question", func() bool { return len(read("ann").NeedsYou) == 1 })
	if in := read("bob"); len(in.NeedsYou)+len(in.Working)+len(in.Finished) > 0 {
		t.Errorf("bob has %+v", in)
	}
	h.want(http.StatusForbidden, protocol.CodeForbidden, "GET", "/api/inbox?userId=ann", nil, key("bob")...)
	var done protocol.BatchResponse
	h.call("POST", "/api/sessions/batch", protocol.BatchRequest{Action: protocol.BatchDelete, SessionIDs: []string{s.SessionID}}, &done, key("bob")...)
	if len(done.Results) != 1 || done.Results[0].Problem == nil || done.Results[0].Problem.Code != protocol.CodeNotFound {
		t.Errorf("bob deletes ann's session: %+v", done)
	}
	h.want(http.StatusNotFound, protocol.CodeNotFound, "POST", "/api/sessions/"+s.SessionID+"/seen", protocol.SeenRequest{Seq: 1}, key("bob")...)
	if len(read("ann").NeedsYou) != 1 {
		t.Error("ann's session is gone")
	}
}

// The Go client has a method for each of it.
func TestClientReadsTheInbox(t *testing.T) {
	h := startHub(t)
	hub := &client.Client{BaseURL: h.url}
	one, two := h.create(protocol.CreateRequest{Title: "one"}), h.create(protocol.CreateRequest{Title: "two"})
	h.send(one, "/stream 4 8")
	var in protocol.Inbox
	judge.Within(t, patience, "it has finished", func() bool {
		var err error
		if in, err = hub.Inbox(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		return len(in.Finished) == 1
	})
	ctx, s := t.Context(), hub.Session(one.SessionID, "")
	if err := s.Seen(ctx, in.Finished[0].Session.LastSeq); err != nil {
		t.Fatal(err)
	}
	marked, err := s.Mark(ctx, new(true), new(true))
	if err != nil || !marked.Pinned || !marked.Archived || marked.Unread {
		t.Errorf("marked: %+v, %v", marked, err)
	}
	list := func(o client.ListOptions) (ids []string) {
		t.Helper()
		page, err := hub.List(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Sessions {
			ids = append(ids, s.SessionID)
		}
		return ids
	}
	if got := list(client.ListOptions{Archived: new(true)}); !slices.Equal(got, []string{one.SessionID}) {
		t.Errorf("archived: %v", got)
	}
	if got := list(client.ListOptions{Query: "TWO"}); !slices.Equal(got, []string{two.SessionID}) {
		t.Errorf("found: %v", got)
	}
	if got := list(client.ListOptions{Query: "stream", InLogs: true}); !slices.Equal(got, []string{one.SessionID}) {
		t.Errorf("found in logs: %v", got)
	}
	results, err := hub.Batch(ctx, protocol.BatchDelete, one.SessionID, "s_none")
	if err != nil || len(results) != 2 || results[0].Problem != nil || results[1].Problem == nil {
		t.Errorf("batch: %+v, %v", results, err)
	}
}
