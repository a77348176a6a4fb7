package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"sessionhub/protocol"
)

// referee sends requests and holds them and their answers to the OpenAPI
// document that the hub itself serves. It is for one test's goroutine.
type referee struct {
	*hubUnderTest
	doc    *openapi3.T
	router routers.Router
	met    map[string]bool // operations that gave an answer of success
}

func newReferee(h *hubUnderTest) *referee {
	h.t.Helper()
	resp, err := http.Get(h.url + "/api/openapi.yaml")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("the document: %d %v", resp.StatusCode, err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := doc.Validate(h.t.Context()); err != nil {
		h.t.Fatalf("the document is not valid OpenAPI: %v", err)
	}
	doc.Servers = nil // the paths stand at the root
	router, err := legacy.NewRouter(doc)
	if err != nil {
		h.t.Fatal(err)
	}
	return &referee{hubUnderTest: h, doc: doc, router: router, met: map[string]bool{}}
}

// exchange is a request, and what has to come of it.
type exchange struct {
	method, path string
	body         string
	header       []string // name, value, ...
	status       int
	code         protocol.Code // of an error
	invalid      bool          // the document does not allow the request
}

// do makes the exchange and gives the answer's body, but not that of a stream.
func (r *referee) do(x exchange) []byte {
	r.t.Helper()
	what := x.method + " " + x.path
	req, err := http.NewRequestWithContext(r.t.Context(), x.method, r.url+x.path, strings.NewReader(x.body))
	if err != nil {
		r.t.Fatal(err)
	}
	if x.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(x.header); i += 2 {
		req.Header.Set(x.header[i], x.header[i+1])
	}
	route, params, err := r.router.FindRoute(req)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	options := &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, RejectWhenRequestBodyNotSpecified: true,
		IncludeResponseStatus: true, SkipSettingDefaults: true,
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(r.t.Context(), in); (err != nil) != x.invalid {
		r.t.Errorf("%s: by the document the request has the error: %v", what, err)
	}
	req.Body = io.NopCloser(strings.NewReader(x.body)) // the validation has read it
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	stream := resp.Header.Get("Content-Type") == "text/event-stream"
	var body []byte
	if !stream { // that one does not end
		if body, err = io.ReadAll(resp.Body); err != nil {
			r.t.Fatalf("%s: %v", what, err)
		}
	}
	var p protocol.Problem
	if resp.StatusCode >= 400 {
		_ = json.Unmarshal(body, &p) // what it lacks is reported below
	}
	if resp.StatusCode != x.status || p.Code != x.code {
		r.t.Errorf("%s: got %d %q (%s), want %d %q", what, resp.StatusCode, p.Code, p.Detail, x.status, x.code)
	}
	kind := resp.Header.Get("Content-Type")
	options.ExcludeResponseBody = stream || strings.HasSuffix(kind, "/yaml") || strings.HasPrefix(kind, "text/markdown")
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: options,
	}
	if err := openapi3filter.ValidateResponse(r.t.Context(), out); err != nil {
		r.t.Errorf("%s: the answer %d is not what the document says: %v", what, resp.StatusCode, err)
	}
	if resp.StatusCode < 400 {
		r.met[route.Operation.OperationID] = true
	}
	return body
}

// A session's whole life, and most ways to be refused, are as the document says.
func TestSessionIsAsDocumented(t *testing.T) {
	const key = "the-key-of-the-service"
	r := newReferee(startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": key}, "--max-sessions-per-user", "2",
		"--providers-file", scripted.Providers(t), "--share-agent-sessions"))
	service := []string{"X-API-Key", key}
	for _, path := range []string{"/healthz", "/readyz", "/api/openapi.yaml", "/api/asyncapi.yaml"} {
		r.do(exchange{method: "GET", path: path, status: 200})
	}
	r.do(exchange{method: "GET", path: "/api/providers", header: service, status: 200})
	r.do(exchange{method: "GET", path: "/api/stats", header: service, status: 200})

	// Connections for many sessions.
	r.do(exchange{method: "GET", path: "/api/events?userId=ann", header: service, status: 200})
	r.do(exchange{method: "POST", path: "/api/events?userId=ann", body: `{"sessions":[{"sessionId":"s1","after":"latest"}]}`, header: service, status: 200})
	r.do(exchange{method: "POST", path: "/api/events", body: `{}`, header: service, status: 400, code: protocol.CodeInvalidRequest})
	ann := startedChannel(t, r.hubUnderTest, "ann", service...)
	r.do(exchange{method: "POST", path: "/api/events/" + ann + "?userId=ann", body: `{"subscribe":{"sessions":[{"sessionId":"s1"}]},"unsubscribe":{"sessionIds":["s1"]}}`, header: service, status: 200})
	r.do(exchange{method: "POST", path: "/api/events/none?userId=ann", body: `{}`, header: service, status: 404, code: protocol.CodeNotFound})
	r.do(exchange{method: "GET", path: "/api/ws?userId=ann", header: service, status: 426, code: protocol.CodeUpgradeRequired})

	// Creating.
	create := exchange{method: "POST", path: "/api/sessions", header: append(service, "Idempotency-Key", "one"), status: 201,
		body: `{"provider":"demo","userId":"ann","spaceId":"sp","title":"t","metadata":{"a":[1]},"agentOptions":{"model":"demo-large"}}`}
	s := hubtest.Decode[protocol.CreateResponse](t, r.do(create))
	create.body, create.status, create.code = `{"userId":"ann"}`, 409, protocol.CodeIdempotency
	r.do(create)
	create = exchange{method: "POST", path: "/api/sessions", header: service, status: 201, body: `{"userId":"ann"}`}
	bare := hubtest.Decode[protocol.CreateResponse](t, r.do(create))
	create.status, create.code = 429, protocol.CodeSessionLimit
	r.do(create)
	create.body, create.status, create.code = `{"provider":"none"}`, 400, protocol.CodeUnknownProvider
	r.do(create)
	create.body, create.status, create.code = `{"workingDirectory":"/"}`, 403, protocol.CodeWorkingDirectory
	r.do(create)
	create.body, create.status, create.code, create.invalid = `{"metadata":[]}`, 400, protocol.CodeInvalidRequest, true
	r.do(create)
	create.body, create.code = `{`, protocol.CodeInvalidJSON
	r.do(create)
	create.body, create.header, create.status, create.code = `{}`, append(service, "Content-Type", "text/plain"), 415, protocol.CodeUnsupportedMedia
	r.do(create)
	create.header, create.status, create.code, create.invalid = nil, 401, protocol.CodeUnauthorized, false
	r.do(create)
	create.header, create.status, create.code = append(service, "Origin", "https://elsewhere.invalid"), 403, protocol.CodeOriginRefused
	r.do(create)

	// Reading.
	r.do(exchange{method: "GET", path: "/api/sessions?limit=1&userId=ann&status=idle", header: service, status: 200})
	r.do(exchange{method: "GET", path: "/api/sessions?limit=0", header: service, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	own, token := "/api/sessions/"+s.SessionID, []string{"Authorization", "Bearer " + s.Token}
	call := func(method, path, body string, status int, code protocol.Code) []byte {
		t.Helper()
		return r.do(exchange{method: method, path: own + path, body: body, header: token, status: status, code: code})
	}
	call("GET", "", "", 200, "")
	r.do(exchange{method: "GET", path: "/api/sessions/" + bare.SessionID, header: service, status: 200}) // its metadata are null
	r.do(exchange{method: "GET", path: "/api/sessions/" + bare.SessionID, header: token, status: 404, code: protocol.CodeNotFound})
	call("PATCH", "", `{"title":"renamed"}`, 200, "")
	r.do(exchange{method: "PATCH", path: own, body: `{}`, header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	call("GET", "/ws", "", 426, protocol.CodeUpgradeRequired)

	// A turn with a question.
	m := hubtest.Decode[protocol.MessageResponse](t, call("POST", "/messages", `{"content":"/approve may I?","messageId":"m1"}`, 202, ""))
	call("POST", "/messages", `{"content":[{"type":"text","text":"other"}],"messageId":"m1"}`, 409, protocol.CodeIdempotency)
	r.do(exchange{method: "POST", path: own + "/messages", body: `{"content":""}`, header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	var open protocol.Approvals
	judge.Within(t, 20*time.Second, "the agent asks", func() bool {
		open = hubtest.Decode[protocol.Approvals](t, call("GET", "/approvals", "", 200, ""))
		return len(open.Approvals) == 1
	})
	question := open.Approvals[0].InteractionID
	answer := func(fields string) string { return `{"interactionId":"` + question + `",` + fields + `}` }
	inbox := hubtest.Decode[protocol.Inbox](t, r.do(exchange{method: "GET", path: "/api/inbox?userId=ann", header: service, status: 200}))
	if len(inbox.NeedsYou) != 1 || inbox.NeedsYou[0].Session.SessionID != s.SessionID {
		t.Errorf("the inbox has %+v", inbox)
	}
	r.do(exchange{method: "GET", path: "/api/inbox", header: token, status: 403, code: protocol.CodeForbidden})
	call("GET", "/approvals/"+question+"/content", "", 200, "")
	call("GET", "/approvals/none/content", "", 404, protocol.CodeNotFound)
	call("POST", "/approve", answer(`"optionId":"none"`), 400, protocol.CodeUnknownOption)
	call("POST", "/approve", answer(`"decision":"allow_once","reason":"why not"`), 200, "")
	call("POST", "/approve", answer(`"decision":"reject_once"`), 409, protocol.CodeApprovalResolved)
	call("GET", "/approvals/"+question+"/content", "", 409, protocol.CodeApprovalResolved)
	call("POST", "/approve", `{"interactionId":"none","decision":"allow_once"}`, 404, protocol.CodeNotFound)

	call("GET", "/options", "", 200, "")
	call("PATCH", "/options", `{"configId":"model","value":"demo-large"}`, 202, "")
	// A question of the agent.
	call("POST", "/messages", `{"content":"/ask What?"}`, 202, "")
	var asked protocol.Elicitations
	judge.Within(t, 20*time.Second, "the agent asks people", func() bool {
		asked = hubtest.Decode[protocol.Elicitations](t, call("GET", "/elicitations", "", 200, ""))
		return len(asked.Elicitations) == 1
	})
	call("GET", "", "", 200, "") // with a question that waits
	question = asked.Elicitations[0].InteractionID
	call("GET", "/elicitations/"+question, "", 200, "")
	call("POST", "/answer", answer(`"action":"accept","content":{"name":"Ada","size":"huge"}`), 400, protocol.CodeInvalidAnswer)
	call("POST", "/answer", answer(`"action":"accept","content":{"name":"Ada","size":"l","cups":2,"extras":["ice"],"takeOut":true}`), 200, "")
	call("POST", "/answer", answer(`"action":"cancel"`), 409, protocol.CodeQuestionResolved)
	call("POST", "/answer", `{"interactionId":"none","action":"decline"}`, 404, protocol.CodeNotFound)

	// Lists and marks.
	call("PATCH", "", `{"pinned":true,"archived":true}`, 200, "")
	call("POST", "/seen", `{"seq":1}`, 204, "")
	r.do(exchange{method: "POST", path: own + "/seen", body: `{}`, header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	for query, status := range map[string]int{"archived=true": 200, "query=approve&text=true": 200, "query=RENAMED&archived=true": 200, "archived=1": 400, "query=": 400, "query=x&text=1": 400} {
		x := exchange{method: "GET", path: "/api/sessions?" + query, header: service, status: status}
		if status == 400 {
			x.code, x.invalid = protocol.CodeInvalidRequest, true
		}
		r.do(x)
	}
	batch := exchange{method: "POST", path: "/api/sessions/batch", header: service, status: 200, body: `{"action":"unarchive","sessionIds":["` + s.SessionID + `","none"]}`}
	r.do(batch)
	batch.body, batch.status, batch.code, batch.invalid = `{"action":"burn","sessionIds":["x"]}`, 400, protocol.CodeInvalidRequest, true
	r.do(batch)
	batch.body, batch.header, batch.status, batch.code, batch.invalid = `{"action":"pin","sessionIds":["x"]}`, token, 403, protocol.CodeForbidden, false
	r.do(batch)

	// A plan, and a turn that is cancelled; then the log has most events.
	call("POST", "/messages", `{"content":"/plan"}`, 202, "")
	call("POST", "/messages", `{"content":"/slow 60","messageId":"m3"}`, 202, "")
	call("POST", "/messages", `{"content":"later","messageId":"q1","delivery":"queue"}`, 202, "")
	r.do(exchange{method: "POST", path: own + "/messages", body: `{"content":"x","delivery":"soon"}`, header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	call("POST", "/queue", `{"action":"hold"}`, 200, "")
	call("GET", "/queue", "", 200, "")
	call("POST", "/queue", `{"action":"edit","messageId":"q1","content":"later on"}`, 200, "")
	call("POST", "/queue", `{"action":"edit","messageId":"m1","content":"x"}`, 409, protocol.CodeMessageRunning)
	call("POST", "/queue", `{"action":"remove","messageId":"none"}`, 404, protocol.CodeNotFound)
	r.do(exchange{method: "POST", path: own + "/queue", body: `{"action":"sort"}`, header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	call("POST", "/queue", `{"action":"discard"}`, 200, "")
	call("POST", "/cancel", `{"messageId":"m3","hold":true}`, 202, "")
	call("POST", "/cancel", ``, 202, "")
	seen := map[protocol.EventType]int{}
	judge.Within(t, 20*time.Second, "all messages end", func() bool {
		clear(seen)
		page := hubtest.Decode[protocol.History](t, call("GET", "/history?after="+s.Session.Epoch+"-0", "", 200, ""))
		for _, raw := range page.Events {
			seen[hubtest.Decode[protocol.Event](t, raw).Type]++
		}
		return seen[protocol.EventComplete] == 5
	})
	for _, want := range []protocol.EventType{
		protocol.EventStatus, protocol.EventMessage, protocol.EventOutput, protocol.EventToolApproval, protocol.EventApprovalResolved,
		protocol.EventElicitation, protocol.EventElicitationResolved,
	} {
		if seen[want] == 0 {
			t.Errorf("the history has no %s: it proves less than it should: %v", want, seen)
		}
	}
	page := hubtest.Decode[protocol.History](t, call("GET", "/history?limit=2", "", 200, ""))
	call("GET", "/history?limit=1&after="+page.NextAfter, "", 200, "")
	call("GET", "/transcript?format=json", "", 200, "")
	call("GET", "/transcript?download=1", "", 200, "")
	if m.Seq == 0 || page.NextAfter == "" {
		t.Errorf("message %+v, page %+v", m, page)
	}
	r.do(exchange{method: "GET", path: own + "/transcript?format=pdf", header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	r.do(exchange{method: "GET", path: own + "/history?after=x-y", header: token, status: 400, code: protocol.CodeInvalidRequest, invalid: true})
	call("GET", "/events?after=999999", "", 400, protocol.CodeInvalidRequest)

	// What an agent keeps itself.
	r.do(exchange{method: "GET", path: "/api/agent-sessions?provider=scripted&userId=bob", header: service, status: 200})
	r.do(exchange{method: "GET", path: "/api/agent-sessions", header: token, status: 403, code: protocol.CodeForbidden})
	original := hubtest.Decode[protocol.CreateResponse](t, r.do(exchange{method: "POST", path: "/api/sessions", header: service, status: 201, body: `{"provider":"scripted","userId":"bob"}`}))
	r.do(exchange{method: "POST", path: "/api/sessions/" + original.SessionID + "/messages", header: service, body: `{"content":"echo hello"}`, status: 202})
	judge.Within(t, patience, "the turn ends", func() bool {
		page := hubtest.Decode[protocol.History](t, r.do(exchange{method: "GET", path: "/api/sessions/" + original.SessionID + "/history", header: service, status: 200}))
		last := hubtest.Decode[protocol.Event](t, page.Events[len(page.Events)-1])
		return last.Type == protocol.EventStatus && strings.Contains(string(last.Data), `"idle"`)
	})
	r.do(exchange{method: "POST", path: "/api/sessions/" + original.SessionID + "/fork", header: service, body: `{}`, status: 201})
	call("POST", "/fork", `{}`, 403, protocol.CodeForbidden)

	// Files of the directory, and files of messages.
	if err := os.WriteFile(filepath.Join(r.root, "notes.txt"), []byte("a note"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "init", "-q", r.root).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	call("GET", "/files", "", 403, protocol.CodeScope)
	for path, status := range map[string]int{"/files": 200, "/files?path=none": 404, "/files?path=..": 403, "/files/search?query=note": 200, "/files/content?path=notes.txt": 200,
		"/changes": 200, "/changes/diff?path=notes.txt": 200, "/changes/diff?path=..": 403} {
		code := map[int]protocol.Code{404: protocol.CodeNotFound, 403: protocol.CodePathNotAllowed}[status]
		r.do(exchange{method: "GET", path: own + path, header: service, status: status, code: code})
	}
	r.repo()
	tree := exchange{method: "POST", path: "/api/worktrees", header: service, body: `{"userId":"cid"}`, status: 200}
	r.do(tree)
	tree.body, tree.status, tree.code = `{"userId":"cid","base":"none"}`, 409, protocol.CodeWorktreeRefused
	r.do(tree)
	tree = exchange{method: "POST", path: "/api/sessions", header: service, body: `{"userId":"cid","worktree":{"base":"main","branch":"mine"}}`, status: 201}
	planted := hubtest.Decode[protocol.CreateResponse](t, r.do(tree))
	tree = exchange{method: "GET", path: "/api/sessions/" + planted.SessionID + "/worktree", header: service, status: 200}
	judge.Within(t, patience, "the worktree is made", func() bool {
		return !hubtest.Decode[protocol.WorktreeStatus](t, r.do(tree)).Making
	})
	tree.method, tree.body = "POST", `{"action":"keep"}`
	r.do(tree)
	tree.body, tree.status, tree.code, tree.invalid = `{"action":"burn"}`, 400, protocol.CodeInvalidRequest, true
	r.do(tree)
	call("GET", "/worktree", "", 403, protocol.CodeScope)
	r.do(exchange{method: "GET", path: own + "/worktree", header: service, status: 404, code: protocol.CodeNotFound})
	upload := exchange{method: "POST", path: own + "/attachments?name=notes.txt", header: append(token, "Content-Type", "text/plain"), body: "a note", status: 201}
	attached := hubtest.Decode[protocol.Attachment](t, r.do(upload))
	call("GET", "/attachments/"+attached.AttachmentID, "", 200, "")
	call("GET", "/attachments/none", "", 404, protocol.CodeNotFound)

	// Credentials.
	narrow := hubtest.Decode[protocol.TokenResponse](t, call("POST", "/token", `{"scope":"read","ttlSeconds":60}`, 201, ""))
	reader := []string{"Authorization", "Bearer " + narrow.Token}
	r.do(exchange{method: "POST", path: own + "/messages", body: `{"content":"x"}`, header: reader, status: 403, code: protocol.CodeScope})
	ticket := hubtest.Decode[protocol.TicketResponse](t, call("POST", "/ticket", "", 201, ""))
	r.do(exchange{method: "GET", path: own + "/events?ticket=" + ticket.Ticket, status: 200})
	r.do(exchange{method: "GET", path: own + "/events?ticket=" + ticket.Ticket, status: 401, code: protocol.CodeUnauthorized})
	call("POST", "/cookie", "", 204, "")
	r.do(exchange{method: "DELETE", path: own + "/token", header: reader, status: 204})
	r.do(exchange{method: "GET", path: own, header: reader, status: 401, code: protocol.CodeTokenRevoked})
	r.do(exchange{method: "DELETE", path: own + "/token", header: service, status: 400, code: protocol.CodeInvalidRequest})

	// User tokens and sign-ins.
	user := hubtest.Decode[protocol.UserTokenResponse](t, r.do(exchange{method: "POST", path: "/api/user/token", header: service, body: `{"userId":"ann","ttlSeconds":600}`, status: 201}))
	byUser := []string{"Authorization", "Bearer " + user.Token}
	r.do(exchange{method: "GET", path: own, header: byUser, status: 200})
	r.do(exchange{method: "POST", path: "/api/user/token", header: byUser, body: `{"scope":"read files"}`, status: 403, code: protocol.CodeScope})
	r.do(exchange{method: "POST", path: "/api/user/token", header: token, body: `{}`, status: 403, code: protocol.CodeForbidden})
	phone := hubtest.Decode[protocol.SignInTicketResponse](t, r.do(exchange{method: "POST", path: "/api/sign-in/ticket", header: byUser, status: 201}))
	r.do(exchange{method: "POST", path: "/api/sign-in", body: `{"ticket":"` + phone.Ticket + `","label":"phone"}`, status: 201})
	r.do(exchange{method: "POST", path: "/api/sign-in", body: `{"ticket":"` + phone.Ticket + `"}`, status: 401, code: protocol.CodeUnauthorized})
	in := hubtest.Call(t, http.DefaultClient, "POST", r.url+"/api/sign-in", `{"userId":"ann"}`, service...)
	if len(in.Cookies()) != 1 {
		t.Fatalf("sign in: %d %s", in.StatusCode, in.Body)
	}
	signedIn := []string{"Cookie", in.Cookies()[0].Name + "=" + in.Cookies()[0].Value, "Origin", r.url}
	list := hubtest.Decode[protocol.SignInList](t, r.do(exchange{method: "GET", path: "/api/sign-ins", header: signedIn, status: 200}))
	if len(list.SignIns) != 2 {
		t.Fatalf("%+v", list)
	}
	r.do(exchange{method: "DELETE", path: "/api/sign-ins/" + list.SignIns[0].ID, header: signedIn, status: 204})
	r.do(exchange{method: "DELETE", path: "/api/sign-ins/" + list.SignIns[0].ID + "?userId=ann", header: service, status: 404, code: protocol.CodeNotFound})
	r.do(exchange{method: "DELETE", path: "/api/sign-in", header: signedIn[:2], status: 403, code: protocol.CodeOriginRefused})
	r.do(exchange{method: "DELETE", path: "/api/sign-in", header: signedIn, status: 204})
	r.do(exchange{method: "GET", path: "/api/sign-ins", header: signedIn, status: 401, code: protocol.CodeTokenRevoked})
	r.do(exchange{method: "DELETE", path: "/api/user/token", header: byUser, status: 204})
	r.do(exchange{method: "DELETE", path: "/api/user/token", header: service, status: 400, code: protocol.CodeInvalidRequest})

	call("DELETE", "", "", 204, "")
	call("GET", "", "", 404, protocol.CodeNotFound)

	r.do(exchange{method: "GET", path: "/worker/link", header: service, status: 401, code: protocol.CodeUnauthorized})

	// Every operation was met; a WebSocket's answer, 101, is no answer of an
	// HTTP client and is tested with the streams and with the workers.
	for path, item := range r.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !r.met[op.OperationID] && op.OperationID != "openWebSocket" && op.OperationID != "openSharedWebSocket" && op.OperationID != "openWorkerLink" {
				t.Errorf("%s %s never gave an answer of success", method, path)
			}
		}
	}
}
