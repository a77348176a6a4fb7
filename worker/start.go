package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// acpVersion is the protocol version we speak (ACP, "Initialization").
const acpVersion = 1

// A loaded session's replay can go on after the answer to session/load (gemini
// does so): it is over when nothing has come for replayQuiet, and for us at the
// latest after replayMost.
const (
	replayQuiet = 250 * time.Millisecond
	replayMost  = 5 * time.Second
)

// agentStarted is the raw of the agent_update that says an agent is ready.
type agentStarted struct {
	AgentInfo         json.RawMessage `json:"agentInfo,omitempty"`
	ProtocolVersion   int             `json:"protocolVersion"`
	AgentCapabilities json.RawMessage `json:"agentCapabilities,omitempty"`
	SessionID         string          `json:"sessionId"` // the agent's own
	History           string          `json:"history"`   // new, loaded or resumed
	Mode              string          `json:"mode,omitempty"`
	Model             string          `json:"model,omitempty"`
	Modes             json.RawMessage `json:"modes,omitempty"`
	Models            json.RawMessage `json:"models,omitempty"`
	ConfigOptions     json.RawMessage `json:"configOptions,omitempty"`
}

// The values of agentStarted.History.
const (
	historyNew     = "new"
	historyLoaded  = "loaded"
	historyResumed = "resumed"
)

// The kinds of agent_update that the worker makes itself.
const (
	updateAgentStarted = "agent_started" // raw: agentStarted
	updateAgentExited  = "agent_exited"  // outside of a turn; raw: {message}
	updateHistoryLost  = "history_lost"  // the agent began afresh; raw: {message}
	updateGarbage      = "garbage"       // a line on stdout that is no message; raw: {text}
)

type textRaw struct {
	Text string `json:"text"`
}

type messageRaw struct {
	Message string `json:"message"`
}

// startAgent begins the handshake: initialize, session/new (or its history back),
// model, mode. Each step is begun by the answer to the one before.
func (s *session) startAgent() {
	cfg := &s.w.cfg
	dir, err := cfg.ResolveDir(s.assign.WorkingDirectory)
	if errors.Is(err, ErrWorkingDirectory) {
		s.release(protocol.ReleaseWorkingDirectory+": "+err.Error(), false)
		return
	}
	s.turn.started = true
	s.publish(protocol.EventStatus, protocol.StatusData{
		Status: protocol.StatusStarting, MessageID: s.turn.messageID,
	})
	if err != nil {
		s.finishError(protocol.TurnAgentStart, err.Error(), true)
		return
	}
	a := newAgent(processtree.Spec{
		Path: s.provider.Command, Args: s.provider.Args, Env: agentEnv(s.provider, cfg.Environ), Dir: dir,
		Grace: cfg.StopGrace, Supervisor: cfg.Supervisor,
	}, s.log)
	s.agent, s.dir = a, dir
	timeout := cfg.StartTimeout
	if s.provider.StartTimeout > 0 {
		timeout = s.provider.StartTimeout
	}
	s.startTimer.Reset(timeout)
	s.startTimeout = timeout
	s.agents.Go(func() { a.run(s.w.life, s.before, s.w.places) })
	s.call("initialize", map[string]any{
		"protocolVersion": acpVersion,
		"clientInfo":      map[string]string{"name": "sessionhub", "version": cfg.Version},
		"clientCapabilities": map[string]any{
			"fs":       map[string]bool{"readTextFile": false, "writeTextFile": false},
			"terminal": false,
		},
	}, s.initialized)
}

// startFailed ends a start that may work another time.
func (s *session) startFailed(format string, args ...any) {
	s.agentFault(protocol.TurnAgentStart, fmt.Sprintf(format, args...))
}

// sessionRefused ends a start that will never work, and the session with it.
func (s *session) sessionRefused(format string, args ...any) {
	s.release(fmt.Sprintf(format, args...), false)
}

func (s *session) initialized(result json.RawMessage, err error) {
	if err != nil {
		s.startFailed("initialize: %s", err)
		return
	}
	var answer struct {
		ProtocolVersion   json.Number     `json:"protocolVersion"`
		AgentInfo         json.RawMessage `json:"agentInfo"`
		AgentCapabilities json.RawMessage `json:"agentCapabilities"`
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
	var can struct {
		PromptCapabilities promptCapabilities `json:"promptCapabilities"`
	}
	_ = json.Unmarshal(answer.AgentCapabilities, &can) // what cannot be read is not offered
	a.takes = can.PromptCapabilities
	a.started = agentStarted{
		AgentInfo: cleanRaw(answer.AgentInfo, 16<<10), ProtocolVersion: acpVersion,
		AgentCapabilities: cleanRaw(answer.AgentCapabilities, 16<<10),
	}
	s.openSession(answer.AgentCapabilities)
}

// openSession asks for the agent's own history where there is one and the agent
// can load it, else for a new session.
func (s *session) openSession(capabilities json.RawMessage) {
	known := s.agentSession
	var can struct {
		LoadSession         bool `json:"loadSession"`
		SessionCapabilities struct {
			Resume json.RawMessage `json:"resume"`
		} `json:"sessionCapabilities"`
	}
	_ = json.Unmarshal(capabilities, &can) // what cannot be read is not offered
	wants := func(way Resume) bool { return s.provider.Resume == ResumeAuto || s.provider.Resume == way }
	params := map[string]any{"sessionId": known, "cwd": s.dir, "mcpServers": []any{}}
	switch {
	case known == "" && s.assign.Resume:
		s.newSession("the agent's earlier session is not known")
	case known == "":
		s.newSession("")
	case wants(ResumeSession) && !isNull(can.SessionCapabilities.Resume):
		s.call("session/resume", params, func(result json.RawMessage, err error) {
			if err != nil {
				s.newSession("session/resume: " + err.Error())
				return
			}
			s.opened(known, historyResumed, result)
		})
	case wants(ResumeLoad) && can.LoadSession:
		s.agent.replaying = true
		s.call("session/load", params, func(result json.RawMessage, err error) {
			if err != nil {
				s.agent.replaying = false
				s.newSession("session/load: " + err.Error())
				return
			}
			s.afterReplay = func() { s.opened(known, historyLoaded, result) }
			s.replayUntil = time.Now().Add(replayMost)
			s.quietTimer.Reset(replayQuiet)
		})
	default:
		s.newSession("the agent cannot load an earlier session")
	}
}

// newSession opens a fresh session; lost says why an earlier one was not found.
func (s *session) newSession(lost string) {
	s.historyLost = lost
	s.call("session/new", map[string]any{"cwd": s.dir, "mcpServers": []any{}}, func(result json.RawMessage, err error) {
		if err != nil {
			s.startFailed("session/new: %s", err)
			return
		}
		var answer struct {
			SessionID string `json:"sessionId"`
		}
		if err := json.Unmarshal(result, &answer); err != nil || answer.SessionID == "" {
			s.startFailed("session/new: the answer names no session")
			return
		}
		if len(answer.SessionID) > protocol.MaxAgentSessionBytes {
			s.startFailed("session/new: a session id of %d bytes is over %d", len(answer.SessionID), protocol.MaxAgentSessionBytes)
			return
		}
		if strings.ContainsFunc(answer.SessionID, unicode.IsControl) {
			s.startFailed("session/new: a session id with control characters")
			return
		}
		s.opened(answer.SessionID, historyNew, result)
	})
}

// replayed is called when no update has come for replayQuiet.
func (s *session) replayed() {
	if s.agent == nil || s.afterReplay == nil {
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
	offered := readSettings(result)
	a.started.Modes = cleanRaw(offered.Modes, 64<<10)
	a.started.Models = cleanRaw(offered.Models, 64<<10)
	a.started.ConfigOptions = cleanRaw(offered.ConfigOptions, 64<<10)
	model, mode := s.assign.AgentOptions.Model, s.assign.AgentOptions.Mode
	if model == "" {
		model = s.provider.Model
	}
	if mode == "" {
		mode = s.provider.Mode
	}
	// The model first: with some agents it decides which modes there are.
	s.set("model", model, offered, func(now settings) {
		a.started.Model = now.choice("model").current
		s.set("mode", mode, now, func(now settings) {
			a.started.Mode = now.choice("mode").current
			s.agentReady()
		})
	})
}

// set makes the agent take a model or a mode, and checks that it did.
func (s *session) set(what, want string, have settings, next func(settings)) {
	choice := have.choice(what)
	if want == "" || want == choice.current {
		next(have)
		return
	}
	if !slices.Contains(choice.offered, want) {
		offered := "nothing"
		if len(choice.offered) > 0 {
			offered = clip(strings.Join(choice.offered, ", "), 1<<10)
		}
		s.sessionRefused("%s %q not offered: offered %s", what, want, offered)
		return
	}
	s.agent.modeSeen = ""
	choice.params["sessionId"] = s.agent.sessionID
	choice.params[choice.field] = want
	s.call(choice.method, choice.params, func(result json.RawMessage, err error) {
		if err != nil {
			s.sessionRefused("%s %q refused: %s", what, want, err)
			return
		}
		if seen := s.agent.modeSeen; what == "mode" && seen != "" && seen != want {
			s.sessionRefused("mode %q was not kept: the agent is in %q", want, seen)
			return
		}
		after := have.with(what, want, result)
		if now := after.choice(what).current; now != want {
			s.sessionRefused("%s %q was not kept: the agent has %q", what, want, now)
			return
		}
		next(after)
	})
}

// tellAgentSession has the hub keep the agent's id of the session before the agent
// does anything: whoever has the session next can load its history.
func (s *session) tellAgentSession() {
	status := protocol.WorkerStatusData{AgentSession: s.agentSession}
	status.Status = protocol.StatusStarting
	if s.turn != nil {
		status.MessageID = s.turn.messageID
	}
	s.publish(protocol.EventStatus, status)
}

// agentReady is the end of the handshake.
func (s *session) agentReady() {
	a := s.agent
	a.ready = true
	s.startTimer.Stop()
	if a.sessionID != s.agentSession {
		s.agentSession = a.sessionID
		s.tellAgentSession()
	}
	s.publish(protocol.EventAgentUpdate, protocol.AgentUpdateData{
		Kind: updateAgentStarted, Raw: cleanRaw(protocol.Marshal(a.started), s.w.cfg.MaxEventBytes/2),
	})
	if s.historyLost != "" && (s.assign.Resume || s.ranBefore) {
		s.publish(protocol.EventAgentUpdate, protocol.AgentUpdateData{
			Kind: updateHistoryLost, Raw: protocol.Marshal(messageRaw{s.historyLost}),
		})
	}
	s.ranBefore = true
	s.log.Info("agent ready", "agent", printable(clip(string(a.started.AgentInfo), 200)),
		"mode", a.started.Mode, "model", a.started.Model, "history", a.started.History)
	if s.turn != nil {
		s.prompt()
	}
}
