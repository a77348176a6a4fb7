package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// acpVersion is the protocol version we speak (ACP, "Initialization").
const acpVersion = 1

// A loaded session's replay can go on after the answer to session/load (gemini does so).
// The worker takes it as over when no update has come for replayQuiet, and after replayMost
// at the latest.
const (
	replayQuiet = 250 * time.Millisecond
	replayMost  = 5 * time.Second
)

// agentStarted is the data of agent_started, with more about the agent for programs.
type agentStarted struct {
	protocol.AgentStartedData
	ProtocolVersion int             `json:"protocolVersion"`
	SessionID       string          `json:"sessionId"` // the agent's own
	Mode            string          `json:"mode,omitempty"`
	Model           string          `json:"model,omitempty"`
	Modes           json.RawMessage `json:"modes,omitempty"`
	Models          json.RawMessage `json:"models,omitempty"`
	ConfigOptions   json.RawMessage `json:"configOptions,omitempty"`
}

// updateGarbage is the kind of the agent_update about a line on stdout that is no message.
// Its raw is {text}.
const updateGarbage = "garbage"

type textRaw struct {
	Text string `json:"text"`
}

// startAgent begins the handshake: initialize, then session/new or the session's history,
// then the model, then the mode. The answer to each step begins the next.
func (s *session) startAgent() {
	cfg := &s.w.cfg
	dir, err := cfg.ResolveDir(s.assign.WorkingDirectory)
	if errors.Is(err, ErrWorkingDirectory) {
		s.release(protocol.ReleaseWorkingDirectory+": "+err.Error(), false)
		return
	}
	if why := s.mcpRefused(); why != "" {
		s.release(protocol.ReleaseMCPNotAllowed+": "+why, false)
		return
	}
	if s.turn != nil {
		s.turn.started = true
		s.publish(protocol.EventStatus, protocol.StatusData{
			Status: protocol.StatusStarting, MessageID: s.turn.messageID, Detail: s.worktreeDetail(),
		})
	}
	switch {
	case err != nil && s.replay.due:
		s.loadRefused(err.Error())
		return
	case err != nil:
		s.finishError(protocol.TurnAgentStart, err.Error(), true)
		return
	}
	a := newAgent(processtree.Spec{
		Path: s.provider.Command, Args: s.provider.Args, Env: agentEnv(s.provider, cfg.Environ), Dir: dir,
		Grace: cfg.StopGrace, Supervisor: cfg.Supervisor,
	}, s.log)
	s.agent, s.dir = a, dir
	if a.prepare = s.inWorktree(); a.prepare == nil { // else the hub knows what it began with
		s.noteBase()
	}
	timeout := cfg.StartTimeout
	if s.provider.StartTimeout > 0 {
		timeout = s.provider.StartTimeout
	}
	s.startTimer.Reset(timeout)
	s.startTimeout = timeout
	s.agents.Go(func() { a.run(s.w.life, s.before, s.w.running) })
	s.call("initialize", map[string]any{
		"protocolVersion":    acpVersion,
		"clientInfo":         map[string]string{"name": "sessionhub", "version": cfg.Version},
		"clientCapabilities": s.capabilities(),
	}, s.initialized)
}

// capabilities tells the agent what a client of this hub can do (ACP, "Client
// Capabilities"). An agent that may not send a notice says the same in its answer, where
// users of an earlier hub see it. An agent offers its questions only if there is somebody
// to show them.
func (s *session) capabilities() map[string]any {
	can := map[string]any{
		"fs":       map[string]bool{"readTextFile": false, "writeTextFile": false},
		"terminal": false,
	}
	session := map[string]any{}
	if s.w.hubTakes(protocol.EventNotice) {
		session["notices"] = struct{}{}
	}
	if s.w.hubTakes(protocol.EventElicitation) {
		can["elicitation"] = map[string]any{protocol.ElicitForm: struct{}{}, protocol.ElicitURL: struct{}{}}
	}
	if s.w.hubTakes(protocol.EventPrivateElicitation) {
		can["auth"] = map[string]bool{"terminal": true}
	}
	if s.w.hubTakes(protocol.EventConfigOptions) {
		session["configOptions"] = map[string]any{"boolean": struct{}{}}
	}
	if len(session) > 0 {
		can["session"] = session
	}
	return can
}

// startFailed ends a start that may work another time.
func (s *session) startFailed(format string, args ...any) {
	s.agentFault(protocol.TurnAgentStart, fmt.Sprintf(format, args...))
}

// startRefused ends a start that the agent has answered with an error. The start may be
// retried if a prompt with the same error could be.
func (s *session) startRefused(what string, err error) {
	answered, ok := errors.AsType[*rpcError](err)
	why := s.withoutSecrets(s.describe(err))
	if s.agent != nil && s.agent.people {
		why = addressPattern.ReplaceAllString(why, "[address]")
	}
	s.agentFailed(protocol.TurnError{
		Code: protocol.TurnAgentStart, Message: what + ": " + why, Retryable: !ok || answered.retryable(),
	})
}

// startTimedOut ends a start that takes too long. A question of the agent begins the time anew.
func (s *session) startTimedOut() {
	if s.turn != nil && len(s.turn.asks) > 0 { // a login, for example: the time is the users'
		s.startTimer.Reset(s.startTimeout)
		return
	}
	if s.replay.due && (s.out.full() || s.deaf) { // the worker does not read it
		s.startTimer.Reset(s.startTimeout)
		return
	}
	if a := s.agent; a != nil && a.prepare != nil { // its time begins with its directory
		began := a.prepared.Load()
		if left := s.startTimeout - time.Since(time.Unix(0, began)); began == 0 || left > 0 {
			s.startTimer.Reset(max(left, time.Second))
			return
		}
	}
	doing := ""
	if a := s.agent; a != nil && a.authenticating != "" {
		doing = fmt.Sprintf(": it has not answered authenticate %q", a.authenticating)
	}
	s.startFailed("the agent was not ready after %s%s", s.startTimeout, doing)
}

// sessionRefused ends a start that will never work, and the session with it.
func (s *session) sessionRefused(format string, args ...any) {
	s.release(fmt.Sprintf(format, args...), false)
}

func (s *session) initialized(result json.RawMessage, err error) {
	if err != nil {
		s.startRefused("initialize", err)
		return
	}
	var answer struct {
		ProtocolVersion   json.Number     `json:"protocolVersion"`
		AgentInfo         json.RawMessage `json:"agentInfo"`
		AgentCapabilities json.RawMessage `json:"agentCapabilities"`
		AuthMethods       json.RawMessage `json:"authMethods"`
	}
	if err := json.Unmarshal(result, &answer); err != nil {
		s.startFailed("initialize: the answer cannot be read: %s", err)
		return
	}
	if answer.ProtocolVersion.String() != fmt.Sprint(acpVersion) {
		s.startFailed("initialize: the agent speaks ACP version %q, we speak %d", clip(answer.ProtocolVersion.String(), 64), acpVersion)
		return
	}
	a := s.agent
	s.dir = a.spec.Dir
	var can struct {
		PromptCapabilities promptCapabilities `json:"promptCapabilities"`
	}
	_ = json.Unmarshal(answer.AgentCapabilities, &can) // a part that cannot be read is not offered
	a.takes = can.PromptCapabilities
	a.authMethods = readAuthMethods(answer.AuthMethods)
	a.started.AgentInfo, a.started.AgentCapabilities = cleanRaw(answer.AgentInfo, 16<<10), cleanRaw(answer.AgentCapabilities, 16<<10)
	a.started.ProtocolVersion = acpVersion
	a.started.Steering, a.started.Reasons = readExtensions(result)
	s.w.learn(s.assign.Provider, result)
	if why := s.mcpUnfit(answer.AgentCapabilities); why != "" {
		s.sessionRefused("%s", why)
		return
	}
	s.afterBase(func() { s.openSession(answer.AgentCapabilities) })
}

// openSession asks for the agent's own history if there is one and the agent can load it.
// Otherwise it asks for a new session.
func (s *session) openSession(capabilities json.RawMessage) {
	known := s.agentSession
	var can struct {
		LoadSession         bool `json:"loadSession"`
		SessionCapabilities struct {
			Resume json.RawMessage `json:"resume"`
			Fork   json.RawMessage `json:"fork"`
		} `json:"sessionCapabilities"`
	}
	_ = json.Unmarshal(capabilities, &can) // a part that cannot be read is not offered
	wants := func(way Resume) bool { return s.provider.Resume == ResumeAuto || s.provider.Resume == way }
	params := map[string]any{"sessionId": known, "cwd": s.dir, "mcpServers": s.mcpParams()}
	switch {
	case s.forkFrom != "":
		s.forkSession(!isNull(can.SessionCapabilities.Fork))
	case s.replay.due:
		s.loadHistory(can.LoadSession, params)
	case known == "" && s.assign.Resume:
		s.newSession("the agent's earlier session is not known")
	case known == "":
		s.newSession("")
	case wants(ResumeSession) && !isNull(can.SessionCapabilities.Resume):
		s.open("session/resume", params, func(result json.RawMessage, err error) {
			if err != nil {
				s.newSession("session/resume: " + err.Error())
				return
			}
			s.opened(known, protocol.HistoryResumed, result)
		})
	case wants(ResumeLoad) && can.LoadSession:
		s.agent.replaying = true
		s.open("session/load", params, func(result json.RawMessage, err error) {
			if err != nil {
				s.agent.replaying = false
				s.newSession("session/load: " + err.Error())
				return
			}
			s.afterReplay = func() { s.opened(known, protocol.HistoryLoaded, result) }
			s.replayUntil = time.Now().Add(replayMost)
			s.quietTimer.Reset(replayQuiet)
		})
	default:
		s.newSession("the agent cannot load an earlier session")
	}
}

// newSession opens a new session in the agent. lost says why an earlier one was not found.
func (s *session) newSession(lost string) {
	s.historyLost = s.withoutSecrets(lost)
	s.open("session/new", map[string]any{"cwd": s.dir, "mcpServers": s.mcpParams()}, func(result json.RawMessage, err error) {
		if err != nil {
			s.startRefused("session/new", err)
			return
		}
		var answer struct {
			SessionID string `json:"sessionId"`
		}
		if json.Unmarshal(result, &answer) != nil {
			answer.SessionID = ""
		}
		if err := checkAgentSession(answer.SessionID); err != nil {
			s.startFailed("session/new: %s", err)
			return
		}
		s.opened(answer.SessionID, protocol.HistoryNew, result)
	})
}

// replayed runs when no update has come for replayQuiet.
func (s *session) replayed() {
	if s.agent == nil || s.afterReplay == nil {
		return
	}
	if s.stillReplaying() {
		s.quietTimer.Reset(replayQuiet)
		return
	}
	next := s.afterReplay
	s.afterReplay, s.agent.replaying = nil, false
	next()
}

func (s *session) opened(id, history string, result json.RawMessage) {
	a := s.agent
	a.sessionID = id
	a.started.SessionID, a.started.History = id, history
	var offered struct {
		Modes         json.RawMessage `json:"modes"`
		Models        json.RawMessage `json:"models"`
		ConfigOptions json.RawMessage `json:"configOptions"`
	}
	_ = json.Unmarshal(result, &offered) // a part that cannot be read is not offered
	a.started.Modes = cleanRaw(offered.Modes, 64<<10)
	a.started.Models = cleanRaw(offered.Models, 64<<10)
	a.started.ConfigOptions = cleanRaw(offered.ConfigOptions, 64<<10)
	a.options = readOptions(result)
	s.configure()
}

// tellAgentSession has the hub keep the agent's id of the session before the agent does
// anything. So the next worker of the session can load its history.
func (s *session) tellAgentSession() {
	status := protocol.WorkerStatusData{AgentSession: s.agentSession, GitBase: s.base.id}
	status.Status = protocol.StatusStarting
	if s.turn != nil {
		status.MessageID = s.turn.messageID
	}
	s.publish(protocol.EventStatus, status)
}

// startedData is the data of agent_started. If it is too long, it says only what the hub
// needs.
func (s *session) startedData() json.RawMessage {
	most := s.w.cfg.MaxEventBytes / 2
	data := protocol.Marshal(s.agent.started)
	if len(data) > most {
		least := s.agent.started.AgentStartedData
		least.AgentInfo, least.AgentCapabilities = nil, nil
		data = protocol.Marshal(least)
	}
	return data
}

// agentReady is the end of the handshake. settled are the options that did not get the
// values that the session wanted.
func (s *session) agentReady(settled []string) {
	a := s.agent
	a.ready = true
	a.started.Mode, a.started.Model = a.options.current(protocol.ConfigMode), a.options.current(protocol.ConfigModel)
	if process := a.process.Load(); process != nil {
		a.helpers = process.Below()
	}
	s.startTimer.Stop()
	if a.sessionID != s.agentSession {
		s.told.usage, s.told.tokens = nil, protocol.Tokens{} // it counts from nothing
		s.agentSession = a.sessionID
		s.tellAgentSession()
	}
	s.beginOptions(settled)
	s.publish(protocol.EventAgentStarted, s.startedData())
	if s.historyLost != "" && (s.assign.Resume || s.ranBefore) {
		s.notify(protocol.NoticeHistoryLost, s.historyLost)
	}
	s.ranBefore = true
	s.log.Info("agent ready", "agent", printable(clip(string(a.started.AgentInfo), 200)),
		"mode", a.started.Mode, "model", a.started.Model, "history", a.started.History)
	s.nextOption()
	switch {
	case s.turn != nil:
		s.prompt()
	case s.draining == nil: // it was started for its history
		s.release(protocol.ReleaseDrained, true)
	default:
		s.beginIdle()
	}
}
