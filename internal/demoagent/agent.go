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

// modelOption is the id of the configuration option that chooses the model (ACP,
// "Session Config Options"; the SDK has no other form for models).
const modelOption acp.SessionConfigId = "model"

var models = []acp.SessionConfigValueId{"demo-small", "demo-large"}

// agent answers the SDK's calls, which may come at the same time. Lock order:
// agent.mu, then session.mu.
type agent struct {
	conn *acp.AgentSideConnection // set before the first line is forwarded
	life context.Context          // parent of all turns

	turns sync.WaitGroup // prompts that run

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

// cancelSession ends all of a session's turns that have arrived.
func (a *agent) cancelSession(id acp.SessionId) {
	if s, err := a.session(id); err == nil {
		s.cancel()
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
		mode: modeAsk, model: models[0], rules: make(map[string]bool),
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
		ConfigOptions: configOptions(models[0]),
	}, nil
}

func configOptions(current acp.SessionConfigValueId) []acp.SessionConfigOption {
	var values acp.SessionConfigSelectOptionsUngrouped
	for _, model := range models {
		values = append(values, acp.SessionConfigSelectOption{Name: string(model), Value: model})
	}
	return []acp.SessionConfigOption{{Select: &acp.SessionConfigOptionSelect{
		Id: modelOption, Name: "Model", Type: "select",
		Category:     acp.Ptr(acp.SessionConfigOptionCategoryModel),
		Description:  acp.Ptr("The answers are the same: there is no model"),
		CurrentValue: current,
		Options:      acp.SessionConfigSelectOptions{Ungrouped: &values},
	}}}
}

// SetSessionMode takes effect at the next tool.
func (a *agent) SetSessionMode(_ context.Context, p acp.SetSessionModeRequest) (acp.SetSessionModeResponse, error) {
	s, err := a.session(p.SessionId)
	if err != nil {
		return acp.SetSessionModeResponse{}, err
	}
	if p.ModeId != modeAsk && p.ModeId != modeAuto {
		return acp.SetSessionModeResponse{}, invalid("unknown mode %q", p.ModeId)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = p.ModeId
	return acp.SetSessionModeResponse{}, nil
}

// SetSessionConfigOption sets the model, the only option there is.
func (a *agent) SetSessionConfigOption(_ context.Context, p acp.SetSessionConfigOptionRequest) (acp.SetSessionConfigOptionResponse, error) {
	if p.ValueId == nil || p.ValueId.ConfigId != modelOption {
		return acp.SetSessionConfigOptionResponse{}, invalid("the only option is %q, and its value is a text", modelOption)
	}
	s, err := a.session(p.ValueId.SessionId)
	if err != nil {
		return acp.SetSessionConfigOptionResponse{}, err
	}
	if !slices.Contains(models, p.ValueId.Value) {
		return acp.SetSessionConfigOptionResponse{}, invalid("unknown model %q", p.ValueId.Value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model = p.ValueId.Value
	return acp.SetSessionConfigOptionResponse{ConfigOptions: configOptions(s.model)}, nil
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
	t.conn = a.conn
	text := promptText(p.Prompt)

	s.running.Lock()
	err = t.obey(text)
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
// kinds are not offered and are left out.
func promptText(blocks []acp.ContentBlock) string {
	var parts, links []string
	for _, b := range blocks {
		switch {
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
	s.cancel()
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
