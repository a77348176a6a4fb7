package app

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/need"
	"sessionhub/protocol"
)

// realAgent is an agent that people use, at the version that is installed for
// the tests, and what is its own about it.
type realAgent struct {
	name string
	// from is the program, or the folder that has the one named program.
	from    need.Program
	program string
	// provider makes the entry of the providers file, but for the command. home
	// is an empty directory.
	provider func(t *testing.T, home, modelURL string) provider

	// afterRefuse is how a turn ends in which a tool was refused.
	afterRefuse string
	// modelErrors are the model's failures, each with a part of what the user is
	// told about it, or with retried. hopeless are those of them that another try
	// does not mend, and that are told so.
	modelErrors map[string]string
	hopeless    []string
	// refuses are the kinds of content that it says it does not take; loses are
	// those of which its model is not told although it says that it takes them.
	refuses, loses []string
	// asksToRead: it asks people before it reads a file that is linked to, if that lies
	// outside of the workspace.
	asksToRead bool
	// holdsText: a piece of the answer comes only when the answer is complete.
	holdsText bool
	// hidesInput: it asks about a tool call without its input: the title and the
	// content are all that is known of it.
	hidesInput bool
	// forgets: after SIGKILL it has lost what was said before.
	forgets bool
	// steers: it takes messages in while it works.
	steers bool
	// tells are those of commands, context, tokens, cost and title that it tells of its
	// session. Of mayTell it tells now and then: its model makes a title beside the turn.
	tells, mayTell []string
	// asks: it asks people through the hub when its model wants to; else noQuestion is a part
	// of what its model is told, or askedAsApproval.
	asks       bool
	noQuestion string
	// wrapped: its program starts another process, which does the work.
	wrapped bool
	// forks: it can fork a session. listsNone: it cannot list its sessions.
	forks, listsNone bool
	// hidesTools: its model was not offered the tools of a session's MCP server.
	hidesTools bool
	// goesOn: when a command in the background has ended, it tells its model without a
	// prompt.
	goesOn bool
}

// askedAsApproval says that the agent asks its question as an approval, which has no room for
// an answer.
const askedAsApproval = "(an approval)"

// retried says that the agent asks a failing model again, for longer than a test
// waits.
const retried = "(retried in silence)"

// provider is an entry of a providers file.
type provider struct {
	Command  string            `json:"command"`
	Args     []string          `json:"args,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Mode     string            `json:"mode,omitempty"`
	Volatile []string          `json:"volatileInput,omitempty"`
	Asking   []string          `json:"askingModes,omitempty"`
	Allowed  []string          `json:"allowedModes,omitempty"`
}

var realAgents = []realAgent{
	{
		name: "codex", from: need.Codex, noQuestion: "request_user_input is unavailable in Default mode",
		provider: func(t *testing.T, home, modelURL string) provider {
			env, err := fakemodel.CodexHome(home, modelURL)
			if err != nil {
				t.Fatal(err)
			}
			return provider{Env: envMap(env), Mode: "read-only", Volatile: []string{"call_id", "turn_id", "started_at_ms", "reason"}}
		},
		afterRefuse: protocol.StopCancelled,
		modelErrors: map[string]string{
			"error 400": "invalid_request_error", "error 401": "401", "error 403": "403",
			"error 429": "429", "error 500": "high demand", "break": "stream disconnected",
		},
		hopeless: []string{"error 400", "error 401", "error 403"},
		refuses:  []string{"audio"},
		tells:    []string{"commands", "context"},
	},
	{
		name: "claude", from: need.Claude,
		provider: func(_ *testing.T, home, modelURL string) provider {
			return provider{Env: envMap(fakemodel.ClaudeHome(home, modelURL)), Mode: "default"}
		},
		afterRefuse: protocol.StopEndTurn,
		modelErrors: map[string]string{
			"error 400": "400", "error 401": "401", "error 403": "403", "error 429": "429", "error 500": "500", "break": "",
		},
		hopeless: []string{"error 400", "error 401", "error 403"},
		refuses:  []string{"audio"},
		goesOn:   true,
		forks:    true,
		tells:    []string{"commands", "context", "tokens", "cost"},
		asks:     true,
	},
}

func envMap(list []string) map[string]string {
	env := make(map[string]string)
	for _, e := range list {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	return env
}

// scenario is something that every agent is put through.
type scenario struct {
	name string
	run  func(t *testing.T, c *conversation)
}

// TestRealAgents drives each real agent through the whole path, from an HTTP
// client to the agent's process and its scripted model, and back. The scenarios
// follow each other in one session, as in a person's day: none may leave the
// agent in a bad state, also not its death.
func TestRealAgents(t *testing.T) {
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) { driveAgent(t, agent) })
	}
}

func driveAgent(t *testing.T, agent realAgent) {
	b := startBench(t, agent)
	c := b.converse(t, "project")
	for _, s := range slices.Concat(turnScenarios, queueScenarios, toldScenarios(agent), contentScenarios(agent), modelScenarios(agent), questionScenarios(agent), processScenarios) {
		if c.removed() {
			c = b.converse(t, s.name)
		}
		passed := t.Run(s.name, func(t *testing.T) { s.run(t, c.in(t)) })
		if !passed && !c.removed() {
			c.delete() // the next scenario is not to suffer for this one
		}
	}
	if !c.removed() {
		c.delete() // -run has chosen scenarios without the last one
	}
}

// bench is a hub whose default provider is a real agent, and the agent's model.
type bench struct {
	*hubUnderTest
	agent     realAgent
	model     *fakemodel.Server
	providers string // the providers file
}

func startBench(t *testing.T, agent realAgent, flags ...string) *bench {
	t.Helper()
	command := agent.from.Path(t)
	model, err := fakemodel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	p := agent.provider(t, t.TempDir(), model.URL())
	p.Command = filepath.Join(command, agent.program)
	file := filepath.Join(t.TempDir(), "providers.yaml") // JSON is YAML
	if err := os.WriteFile(file, protocol.Marshal(map[string]provider{agent.name: p}), 0o600); err != nil {
		t.Fatal(err)
	}
	flags = append([]string{"--providers-file", file, "--default-provider", agent.name}, flags...)
	return &bench{hubUnderTest: startHub(t, flags...), agent: agent, model: model, providers: file}
}

// conversation is one session, seen by a subscriber.
type conversation struct {
	*bench
	session protocol.CreateResponse
	dir     string // the session's own working directory
	sub     stream
	seen    []hubtest.Frame // in the last expect
}

// converse creates a session with a working directory of its own. Nobody follows
// it yet: see in.
func (b *bench) converse(t *testing.T, name string) *conversation {
	t.Helper()
	dir, err := os.MkdirTemp(b.root, strings.ReplaceAll(name, " ", "-"))
	if err != nil {
		t.Fatal(err)
	}
	session := b.create(protocol.CreateRequest{WorkingDirectory: filepath.Base(dir)})
	return &conversation{bench: b, dir: dir, session: session}
}

// in is the conversation for a test, which sees what happens from now on.
func (c *conversation) in(t *testing.T) *conversation {
	t.Helper()
	hub := *c.hubUnderTest
	hub.t = t
	inner := &conversation{bench: &bench{hubUnderTest: &hub, agent: c.agent, model: c.model}, dir: c.dir, session: c.session}
	from := c.session
	from.EventsURL += "?after=latest"
	sub, err := hub.sse(t.Context(), from, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.close)
	inner.sub = sub
	inner.expect("caught_up")
	return inner
}

func (c *conversation) delete() {
	c.t.Helper()
	c.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+c.session.SessionID, nil)
}

// remove deletes the session and reads to its end.
func (c *conversation) remove() {
	c.t.Helper()
	c.delete()
	c.expect(protocol.EventClosed)
}

// removed tells whether the session was deleted.
func (c *conversation) removed() bool {
	c.t.Helper()
	return c.call("GET", "/api/sessions/"+c.session.SessionID, nil, nil).StatusCode == http.StatusNotFound
}

func (c *conversation) say(text string) protocol.MessageResponse {
	c.t.Helper()
	return c.send(c.session, text)
}

// expect reads up to the next event of a type. What was read is in c.seen.
func (c *conversation) expect(want protocol.EventType) hubtest.Frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, c.sub.close)() // the stream itself knows no deadline
	c.seen = nil
	for {
		f, err := c.sub.next(ctx)
		if err != nil {
			c.t.Fatalf("no %s came: %v; what came: %s", want, err, c.record())
		}
		if c.seen = append(c.seen, f); f.Type == want {
			return f
		}
	}
}

// record is what was seen, for a message.
func (c *conversation) record() string {
	var b strings.Builder
	for _, f := range c.seen {
		fmt.Fprintf(&b, "\n\t%.1000s", f.Raw)
	}
	return b.String()
}

// complete reads up to the end of a turn, which must have the stop reason.
func (c *conversation) complete(m protocol.MessageResponse, stopReason string) protocol.CompleteData {
	c.t.Helper()
	done := hubtest.Decode[protocol.CompleteData](c.t, c.expect(protocol.EventComplete).Data)
	if done.MessageID != m.MessageID || done.StopReason != stopReason {
		c.t.Errorf("the turn ended with %s, want %q for message %q; before: %s", protocol.Marshal(done), stopReason, m.MessageID, c.record())
	}
	return done
}

// sayAndHear has the model begin a long answer, and returns in its middle.
func (c *conversation) sayAndHear(prompt string) protocol.MessageResponse {
	c.t.Helper()
	before := c.inModelRequests(prompt, "")
	m := c.say(prompt)
	judge.Within(c.t, 30*time.Second, "the model is asked", func() bool { return c.inModelRequests(prompt, "") > before })
	if !c.agent.holdsText {
		c.expect(protocol.EventOutput)
	}
	return m
}

// answers checks that the agent is well: a plain question gets its answer.
func (c *conversation) answers(question string) {
	c.t.Helper()
	c.complete(c.say("say "+question), protocol.StopEndTurn)
	if got := text(c.t, c.seen); got != question {
		c.t.Errorf("asked to say %q, the agent said %q", question, got)
	}
}

// asked reads up to a question, which must be about a command.
func (c *conversation) asked(kind, about string) protocol.ToolApprovalData {
	c.t.Helper()
	a := hubtest.Decode[protocol.ToolApprovalData](c.t, c.expect(protocol.EventToolApproval).Data)
	shown := string(a.Input)
	if c.agent.hidesInput {
		shown = a.Title + string(protocol.Marshal(a.Content))
	}
	if a.Kind != kind || !strings.Contains(shown, about) || a.Title == "" || a.ToolCallID == "" {
		c.t.Errorf("the question tells too little: %s", protocol.Marshal(a))
	}
	return a
}

func (c *conversation) decide(a protocol.ToolApprovalData, decision string) {
	c.t.Helper()
	if status, p := c.approve(c.session, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: decision}); status != http.StatusOK {
		c.t.Fatalf("%s: %d %+v", decision, status, p)
	}
}

// cancel asks for the end of what runs; it must come soon.
func (c *conversation) cancel(m protocol.MessageResponse) {
	c.t.Helper()
	c.cancelWithin(m, 5*time.Second)
}

func (c *conversation) cancelWithin(m protocol.MessageResponse, most time.Duration) {
	c.t.Helper()
	started := time.Now()
	c.want(http.StatusAccepted, "", "POST", "/api/sessions/"+c.session.SessionID+"/cancel", `{}`)
	c.complete(m, protocol.StopCancelled)
	judge.AtMost(c.t, "the cancel", time.Since(started), most)
}

// resolved are the ends of approvals that were seen.
func (c *conversation) resolved() []protocol.ApprovalResolvedData {
	var all []protocol.ApprovalResolvedData
	for _, f := range c.seen {
		if f.Type == protocol.EventApprovalResolved {
			all = append(all, hubtest.Decode[protocol.ApprovalResolvedData](c.t, f.Data))
		}
	}
	return all
}

// content is what a file of the session holds, or "" if there is none.
func (c *conversation) content(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return string(data)
}

// inModelRequests counts the requests for a reply to the question that tell the
// model of the text, too.
func (c *conversation) inModelRequests(question, text string) int {
	n := 0
	for _, r := range c.model.Requests() {
		if r.Turn.UserText == question && strings.Contains(string(r.Body), text) {
			n++
		}
	}
	return n
}

// notices are the notices of a kind that were seen.
func (c *conversation) notices(kind string) []protocol.NoticeData {
	var notices []protocol.NoticeData
	for _, f := range c.seen {
		if f.Type == protocol.EventNotice {
			if n := hubtest.Decode[protocol.NoticeData](c.t, f.Data); n.Kind == kind {
				notices = append(notices, n)
			}
		}
	}
	return notices
}

// starts are the agent_started events that were seen.
func (c *conversation) starts() []protocol.AgentStartedData {
	var starts []protocol.AgentStartedData
	for _, f := range c.seen {
		if f.Type == protocol.EventAgentStarted {
			starts = append(starts, hubtest.Decode[protocol.AgentStartedData](c.t, f.Data))
		}
	}
	return starts
}

// toolStatuses are the last statuses of the tool calls that were seen.
func (c *conversation) toolStatuses() []string {
	last := make(map[string]string)
	for _, f := range c.seen {
		if f.Type == protocol.EventToolCall {
			if call := hubtest.Decode[protocol.ToolCallData](c.t, f.Data); call.Status != "" {
				last[call.ToolCallID] = call.Status
			}
		}
	}
	return slices.Collect(maps.Values(last))
}
