package worker

import (
	"encoding/json"

	"sessionhub/internal/excerpt"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// notify tells people something of the worker's own.
func (s *session) notify(kind, description string) {
	notice, _ := protocol.OwnNotice(kind)
	notice.Description = clipTo(printable(description), protocol.MaxNoticeDescription)
	s.publish(protocol.EventNotice, notice)
}

// publishNotice passes on a notice of the agent (ACP, "Session Notices"). A severity that
// the protocol does not know counts as information.
func (s *session) publishNotice(update json.RawMessage) bool {
	var told struct {
		Severity    protocol.Severity `json:"severity"`
		Title       string            `json:"title"`
		Description string            `json:"description"`
		Meta        json.RawMessage   `json:"_meta"`
	}
	if json.Unmarshal(update, &told) != nil || told.Title == "" {
		return false
	}
	notice := protocol.NoticeData{
		Kind: protocol.NoticeAgent, Severity: protocol.SeverityInfo,
		Title:       clipTo(text.Line(told.Title), protocol.MaxNoticeTitle),
		Description: clipTo(told.Description, protocol.MaxNoticeDescription),
	}
	if told.Severity.Known() {
		notice.Severity = told.Severity
	}
	notice.Data, _ = excerpt.Value(wholeRaw(told.Meta), protocol.MaxNoticeData, false)
	s.publish(protocol.EventNotice, notice)
	return true
}
