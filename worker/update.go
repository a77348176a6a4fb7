package worker

import (
	"encoding/json"
	"slices"
	"time"

	"sessionhub/protocol"
)

// onUpdate maps a session/update to an event (ACP, "Agent Reports Output"):
//
//	agent_message_chunk, agent_thought_chunk   output; agent_update unless it is a text
//	tool_call, tool_call_update                tool_call
//	plan                                       plan
//	user_message_chunk                         nothing: it repeats what the log has
//	all others, what cannot be read, and all
//	that comes outside of a turn               agent_update
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
	}
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p.Update, &u) != nil {
		s.publishUnknown("unreadable", params)
		return
	}
	if a.sessionID != "" && p.SessionID != a.sessionID {
		s.publishUnknown("other_session", params)
		return
	}
	if u.Kind == "current_mode_update" {
		a.modeSeen = u.ModeID
	}
	if a.replaying && isHistory(u.Kind) {
		if s.afterReplay != nil {
			s.quietTimer.Reset(max(0, min(replayQuiet, time.Until(s.replayUntil))))
		}
		return
	}
	if u.Kind == "user_message_chunk" {
		return
	}
	if s.turn == nil || !s.turn.prompted || !s.publishNamed(u.Kind, u.Content, u.Entries, p.Update) {
		s.publishUnknown(u.Kind, p.Update)
		return
	}
	s.turn.spoken = true
}

// isHistory reports whether a replay consists of updates of this kind. Others
// (available commands, modes) tell something new also in a replay.
func isHistory(kind string) bool {
	return slices.Contains([]string{
		"user_message_chunk", "agent_message_chunk", "agent_thought_chunk",
		"tool_call", "tool_call_update", "plan",
	}, kind)
}

// publishNamed publishes an update of the turn under its own event type; false
// means that it has none.
func (s *session) publishNamed(kind string, content, entries, update json.RawMessage) bool {
	switch kind {
	case "agent_message_chunk":
		return s.publishText(protocol.OutputText, content)
	case "agent_thought_chunk":
		return s.publishText(protocol.OutputThought, content)
	case "tool_call", "tool_call_update":
		var call toolUpdate
		if json.Unmarshal(update, &call) != nil || call.ToolCallID == "" || len(call.ToolCallID) > maxToolID {
			return false
		}
		s.publishTool(call)
		return true
	case "plan":
		return s.publishPlan(entries)
	}
	return false
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

// publishText publishes a piece of text, in several events if it is long. An
// idle session's piece leaves at once: pieces are never held back to be joined.
func (s *session) publishText(kind string, content json.RawMessage) bool {
	var block struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(content, &block) != nil || block.Type != "text" || block.Text == nil {
		return false
	}
	for text := *block.Text; text != ""; {
		piece := clipJSON(text, s.w.cfg.MaxEventBytes-eventMargin)
		s.publish(protocol.EventOutput, protocol.OutputData{MessageID: s.turn.messageID, Text: piece, Kind: kind})
		text = text[len(piece):]
	}
	return true
}

// Limits of a plan that is too long as it came.
const planMost = 200

func (s *session) publishPlan(raw json.RawMessage) bool {
	entries := []protocol.PlanEntry{}
	if json.Unmarshal(raw, &entries) != nil || entries == nil {
		return false
	}
	data := protocol.PlanData{MessageID: s.turn.messageID, Entries: entries}
	if limit := s.w.cfg.MaxEventBytes - eventMargin; len(protocol.Marshal(data)) > limit {
		data.Entries = entries[:min(len(entries), planMost)]
		for i := range data.Entries {
			e := &data.Entries[i]
			e.Content = clipJSON(e.Content, limit/planMost-200)
			e.Priority, e.Status = clipJSON(e.Priority, 32), clipJSON(e.Status, 32)
		}
	}
	s.publish(protocol.EventPlan, data)
	return true
}

func (s *session) publishTool(u toolUpdate) {
	data := u.event(s.w.cfg.MaxEventBytes)
	data.MessageID = s.turn.messageID
	s.turn.tools.merge(u)
	s.fit(&data)
	s.publish(protocol.EventToolCall, data)
}
