package demoagent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

// maxSessions is how many sessions one agent holds; session/new refuses more.
const maxSessions = 1000

// The modes of a session (ACP, "Session Modes").
const (
	modeAsk  acp.SessionModeId = "ask"  // the default: asks before each tool
	modeAuto acp.SessionModeId = "auto" // never asks
)

// agent answers the SDK's calls, which may come at the same time. Lock order:
// agent.mu, then session.mu.
type agent struct {
	conn *acp.AgentSideConnection // set before the first line is forwarded
	life context.Context          // parent of all turns

	turns sync.WaitGroup // prompts that run, and work in the background

	mu       sync.Mutex // guards the fields below
	closed   bool       // no prompt may begin
	sessions map[acp.SessionId]*session
}

var _ acp.Agent = (*agent)(nil)

func newAgent(life context.Context) *agent {
	return &agent{life: life, sessions: make(map[acp.SessionId]*session)}
}

// close waits for the turns, at most for grace. Their context has ended before.
func (a *agent) close(grace time.Duration) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	done := make(chan struct{})
	go func() { a.turns.Wait(); close(done) }()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("end turns: some still run after %v (nobody reads their output)", grace)
	}
}

// begin counts a prompt in, unless Run is ending.
func (a *agent) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.turns.Add(1)
	}
	return !a.closed
}

func (a *agent) session(id acp.SessionId) (*session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[id]; s != nil {
		return s, nil
	}
	return nil, invalid("unknown session %q", id)
}

// promptArrived notes a prompt in the order of arrival.
func (a *agent) promptArrived(id acp.SessionId) {
	if s, err := a.session(id); err == nil {
		s.arrive(a.life)
	}
}

// cancelSession ends all of a session's turns that have arrived. If there is none, it ends
// what the session does in the background.
func (a *agent) cancelSession(id acp.SessionId) {
	if s, err := a.session(id); err == nil {
		s.cancel(false)
	}
}

// Initialize offers what there is. session/load is not offered: nothing is kept
// outside of the working directory, so there is nothing to load.
func (a *agent) Initialize(context.Context, acp.InitializeRequest) (acp.InitializeResponse, error) {
	return acp.InitializeResponse{
		ProtocolVersion: acp.ProtocolVersionNumber,
		AgentInfo: &acp.Implementation{
			Name: "sessionhub-demo-agent", Title: acp.Ptr("Demo agent"), Version: version(),
		},
		AgentCapabilities: acp.AgentCapabilities{
			SessionCapabilities: acp.SessionCapabilities{Close: &acp.SessionCloseCapabilities{}},
		},
		AuthMethods: []acp.AuthMethod{},
		Meta:        steerable,
	}, nil
}

// version is this program's, as the Go toolchain recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// NewSession opens a session in an absolute, existing directory.
func (a *agent) NewSession(_ context.Context, p acp.NewSessionRequest) (acp.NewSessionResponse, error) {
	if !filepath.IsAbs(p.Cwd) {
		return acp.NewSessionResponse{}, invalid("cwd is not an absolute path")
	}
	if info, err := os.Stat(p.Cwd); err != nil || !info.IsDir() {
		return acp.NewSessionResponse{}, invalid("cwd is not a directory")
	}
	s := &session{
		id: acp.SessionId("demo-" + strings.ToLower(rand.Text())), cwd: filepath.Clean(p.Cwd),
		mode: modeAsk, options: firstOptions(), rules: make(map[string]bool),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sessions) >= maxSessions {
		return acp.NewSessionResponse{}, fmt.Errorf("open session: this agent has %d already", maxSessions)
	}
	a.sessions[s.id] = s
	return acp.NewSessionResponse{
		SessionId: s.id,
		Modes: &acp.SessionModeState{
			CurrentModeId: modeAsk,
			AvailableModes: []acp.SessionMode{
				{Id: modeAsk, Name: "Ask", Description: acp.Ptr("Asks before each tool")},
				{Id: modeAuto, Name: "Auto", Description: acp.Ptr("Runs tools without asking")},
			},
		},
		ConfigOptions: configOptions(s.options),
	}, nil
}

// Prompt runs one turn. A second prompt for the same session cancels the first,
// and begins when that has ended. Which one is the second when both arrive at
// once, the SDK decides: a client waits for its answer first, as the hub does.
func (a *agent) Prompt(ctx context.Context, p acp.PromptRequest) (acp.PromptResponse, error) {
	if !a.begin() {
		return acp.PromptResponse{}, errors.New("prompt: the agent is ending")
	}
	defer a.turns.Done()
	s, err := a.session(p.SessionId)
	if err != nil {
		return acp.PromptResponse{}, err
	}
	t := s.takeUp(a.life)
	defer s.done(t)
	// The request's own context ends with $/cancel_request, with the next prompt
	// and with the connection.
	stop := context.AfterFunc(ctx, t.cancel)
	defer stop()
	t.conn, t.agent = a.conn, a
	text := promptText(p.Prompt)

	s.running.Lock()
	err = t.obey(text)
	if err == nil {
		err = t.takeIn(true)
	}
	s.running.Unlock()

	answer := acp.PromptResponse{
		StopReason: acp.StopReasonEndTurn, Usage: s.use(len(text), t.written), UserMessageId: p.MessageId,
	}
	switch {
	case t.ctx.Err() != nil, errors.Is(err, errCancelled):
		answer.StopReason = acp.StopReasonCancelled
	case err != nil:
		return acp.PromptResponse{}, err
	}
	return answer, nil
}

// promptText joins the text blocks. Links, which every agent must take (ACP,
// "Content"), come behind them, so that a command stays in the first line; other
// kinds are not offered and are left out. So are texts for a model alone: it has none.
func promptText(blocks []acp.ContentBlock) string {
	var parts, links []string
	for _, b := range blocks {
		switch {
		case b.Text != nil && b.Text.Annotations != nil && slices.Equal(b.Text.Annotations.Audience, []acp.Role{acp.RoleAssistant}):
		case b.Text != nil:
			parts = append(parts, b.Text.Text)
		case b.ResourceLink != nil:
			links = append(links, fmt.Sprintf("[%s](%s)", b.ResourceLink.Name, b.ResourceLink.Uri))
		}
	}
	return strings.Join(append(parts, links...), "\n")
}

// Cancel is session/cancel sent as a request, which no client should do; the
// notification is handled in its order by forward.
func (a *agent) Cancel(_ context.Context, p acp.CancelNotification) error {
	a.cancelSession(p.SessionId)
	return nil
}

// CloseSession cancels what the session runs and forgets it.
func (a *agent) CloseSession(_ context.Context, p acp.CloseSessionRequest) (acp.CloseSessionResponse, error) {
	s, err := a.session(p.SessionId)
	if err != nil {
		return acp.CloseSessionResponse{}, err
	}
	a.mu.Lock()
	delete(a.sessions, p.SessionId)
	a.mu.Unlock()
	s.cancel(true)
	return acp.CloseSessionResponse{}, nil
}

// Authenticate has nothing to do: no authentication method is offered.
func (a *agent) Authenticate(context.Context, acp.AuthenticateRequest) (acp.AuthenticateResponse, error) {
	return acp.AuthenticateResponse{}, nil
}

// The methods below belong to capabilities that are not offered.

func (a *agent) Logout(context.Context, acp.LogoutRequest) (acp.LogoutResponse, error) {
	return acp.LogoutResponse{}, acp.NewMethodNotFound(acp.AgentMethodLogout)
}

func (a *agent) ListSessions(context.Context, acp.ListSessionsRequest) (acp.ListSessionsResponse, error) {
	return acp.ListSessionsResponse{}, acp.NewMethodNotFound(acp.AgentMethodSessionList)
}

func (a *agent) ResumeSession(context.Context, acp.ResumeSessionRequest) (acp.ResumeSessionResponse, error) {
	return acp.ResumeSessionResponse{}, acp.NewMethodNotFound(acp.AgentMethodSessionResume)
}

// invalid is the answer to a request that will never work (JSON-RPC 2.0, section 5.1).
func invalid(format string, args ...any) error {
	return &acp.RequestError{Code: -32602, Message: fmt.Sprintf(format, args...)}
}
