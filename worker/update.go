package worker

import (
	"encoding/json"
	"slices"
	"time"

	"sessionhub/internal/excerpt"
	"sessionhub/protocol"
)

// onUpdate maps a session/update to an event (ACP, "Agent Reports Output"):
//
//	agent_message_chunk, agent_thought_chunk   output; agent_update unless it is a text
//	tool_call, tool_call_update                tool_call
//	plan                                       plan
//	notice                                     notice
//	available_commands_update                  commands
//	usage_update                               usage
//	session_info_update                        session_info, if it has a title
//	user_message_chunk                         nothing: it repeats what the log has; message,
//	                                           in a history that the log does not have
//	current_mode_update, config_option_update  config_options, if it changes anything
//	all others, and updates that cannot be
//	read                                       agent_update
//
// What comes outside of a turn has no messageId: see background. A hub that does not take
// that gets an agent_update.
func (s *session) onUpdate(params json.RawMessage) {
	a := s.agent
	var p struct {
		SessionID string          `json:"sessionId"`
		Update    json.RawMessage `json:"update"`
	}
	var u struct {
		Kind    string          `json:"sessionUpdate"`
		Content json.RawMessage `json:"content"`
		ModeID  string          `json:"currentModeId"`
		Entries json.RawMessage `json:"entries"`
		Options json.RawMessage `json:"configOptions"`
	}
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p.Update, &u) != nil {
		s.publishUnknown("unreadable", params)
		return
	}
	if a.sessionID != "" && p.SessionID != a.sessionID {
		s.publishUnknown("other_session", params)
		return
	}
	if (u.Kind == modeUpdate || u.Kind == optionsUpdate) && s.onOptionUpdate(u.Kind, u.ModeID, u.Options) {
		return
	}
	now := s.present()
	if a.replaying && isHistory(u.Kind) {
		if s.afterReplay != nil {
			s.quietTimer.Reset(max(0, min(replayQuiet, time.Until(s.replayUntil))))
		}
		if !s.replay.due || p.SessionID != s.agentSession || s.onReplay(u.Kind, p.Update) {
			return
		}
		now = &s.replay.work
	}
	if u.Kind == "user_message_chunk" {
		return
	}
	if s.publishTold(u.Kind, p.Update) {
		return
	}
	if !s.publishNamed(now, u.Kind, u.Content, u.Entries, p.Update) {
		s.publishUnknown(agentKind(u.Kind), p.Update)
		return
	}
	if s.inTurn() {
		s.turn.spoken = true
	}
}

// isHistory reports whether a replay consists of updates of this kind. Other kinds
// (available commands, modes) tell something new also in a replay.
func isHistory(kind string) bool {
	return slices.Contains([]string{
		"user_message_chunk", "agent_message_chunk", "agent_thought_chunk",
		"tool_call", "tool_call_update", "plan",
	}, kind)
}

// publishNamed publishes an update of the turn, of the background, or of the history, under
// its own event type. It returns false if the update has none.
func (s *session) publishNamed(now *work, kind string, content, entries, update json.RawMessage) bool {
	if now == nil {
		return false
	}
	switch kind {
	case "agent_message_chunk":
		return s.publishText(now, protocol.OutputText, cleanBlock(content))
	case "agent_thought_chunk":
		return s.publishText(now, protocol.OutputThought, cleanBlock(content))
	case "tool_call", "tool_call_update":
		var call toolUpdate
		if json.Unmarshal(update, &call) != nil || call.ToolCallID == "" || len(call.ToolCallID) > maxToolID {
			return false
		}
		if now != &s.replay.work {
			now = s.workOf(call.ToolCallID)
		}
		s.publishTool(now, call, kind == "tool_call")
		return true
	case "plan":
		return s.publishPlan(now, entries)
	}
	return false
}

// beginWork notes that an event of a work is about to be published.
func (s *session) beginWork(w *work) {
	if w == &s.background.work {
		s.inBackground()
	}
}

// publishTold publishes an update about the session, which may come at any time. It returns
// false for every other update, and for one that cannot be read.
func (s *session) publishTold(kind string, update json.RawMessage) bool {
	switch kind {
	case "notice":
		return s.publishNotice(update)
	case "available_commands_update":
		return s.publishCommands(update)
	case "usage_update":
		return s.publishUsage(update)
	case "session_info_update":
		return s.publishTitle(update)
	}
	return false
}

// agentKind is the kind under which an update of the agent is passed on. An agent cannot
// use a name by which the worker tells something of its own.
func agentKind(kind string) string {
	_, own := protocol.OwnNotice(kind)
	if own || kind == string(protocol.EventAgentStarted) || kind == string(protocol.EventSteered) || kind == updateGarbage {
		return "agent." + kind
	}
	return kind
}

func (s *session) publishUnknown(kind string, raw json.RawMessage) {
	if isNull(raw) {
		raw = json.RawMessage(`{}`)
	}
	if kind == "" {
		kind = "unknown"
	}
	s.publish(protocol.EventAgentUpdate, protocol.AgentUpdateData{
		Kind: clip(kind, 128), Raw: cleanRaw(raw, s.w.cfg.MaxEventBytes-eventMargin),
	})
}

// publishText publishes a piece of text, in several events if it is long. Each piece leaves
// at once: the worker never holds pieces back to join them.
func (s *session) publishText(w *work, kind string, content json.RawMessage) bool {
	var block struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(content, &block) != nil || block.Type != "text" || block.Text == nil {
		return false
	}
	if *block.Text != "" {
		s.beginWork(w)
	}
	for text := *block.Text; text != ""; {
		piece := clipJSON(text, s.w.cfg.MaxEventBytes-eventMargin)
		s.publish(protocol.EventOutput, protocol.OutputData{MessageID: w.messageID, Text: piece, Kind: kind})
		text = text[len(piece):]
	}
	return true
}

// Limits of a plan that is too long as it came.
const planMost = 200

func (s *session) publishPlan(w *work, raw json.RawMessage) bool {
	entries := []protocol.PlanEntry{}
	if json.Unmarshal(raw, &entries) != nil || entries == nil {
		return false
	}
	data := protocol.PlanData{MessageID: w.messageID, Entries: entries}
	if limit := s.w.cfg.MaxEventBytes - eventMargin; len(protocol.Marshal(data)) > limit {
		data.Entries = entries[:min(len(entries), planMost)]
		for i := range data.Entries {
			e := &data.Entries[i]
			e.Content = clipJSON(e.Content, limit/planMost-200)
			e.Priority, e.Status = clipJSON(e.Priority, 32), clipJSON(e.Status, 32)
		}
	}
	s.beginWork(w)
	s.publish(protocol.EventPlan, data)
	return true
}

// publishTool publishes what the agent says of a tool call. announced says that it is the
// agent's tool_call, which begins the call.
func (s *session) publishTool(w *work, u toolUpdate, announced bool) {
	s.beginWork(w)
	data := u.event()
	data.MessageID = w.messageID
	if w == &s.background.work {
		s.background.meet(u, announced)
	}
	w.tools.merge(u)
	excerpt.ToolCall(&data, s.w.cfg.MaxEventBytes-eventMargin)
	s.publish(protocol.EventToolCall, data)
}
