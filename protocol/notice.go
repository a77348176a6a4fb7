package protocol

import (
	"encoding/json"
	"slices"
	"strings"
)

// EventNotice tells people something about a session that is no part of an answer.
const EventNotice EventType = "notice"

// Kinds of notice. A reader shows a kind that it does not know as any other.
const (
	NoticeHistoryLost    = "history_lost"    // the agent began afresh
	NoticeProcessesEnded = "processes_ended" // data: {reason, processes: [{pid, name}]}
	NoticeAgentExited    = "agent_exited"    // outside of a turn
	NoticeAgent          = "agent"           // the agent's own words
	NoticeOptionRefused  = "option_refused"  // a change of an option was not made
	NoticeModeRestored   = "mode_restored"   // the agent was in a mode that is not allowed, and is in another one now
)

// Severity says how much a notice matters.
type Severity string

const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// Severities lists every severity.
var Severities = []Severity{SeverityInfo, SeverityWarning, SeverityError}

// Known reports whether s is one of Severities.
func (s Severity) Known() bool { return slices.Contains(Severities, s) }

// NoticeData is the data of a notice event. Title is one line and stands alone. Data is for
// programs; what it holds depends on the kind.
type NoticeData struct {
	Kind        string          `json:"kind"`
	Severity    Severity        `json:"severity"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// Bounds of a notice, in bytes of UTF-8.
const (
	MaxNoticeTitle       = 1024
	MaxNoticeDescription = 16 << 10
	MaxNoticeData        = 16 << 10
)

// ownNotices are the kinds of notice that a worker makes itself. Workers before this event
// type sent an agent_update of the same kind, with {message, ...} as raw.
var ownNotices = map[string]NoticeData{
	NoticeHistoryLost:    {Severity: SeverityWarning, Title: "The agent does not know what was said before"},
	NoticeProcessesEnded: {Severity: SeverityInfo, Title: "What the agent had started was ended with it"},
	NoticeOptionRefused:  {Severity: SeverityError, Title: "An option of the agent was not set"},
	NoticeModeRestored:   {Severity: SeverityWarning, Title: "The agent was taken out of a mode that is not allowed"},
	NoticeAgentExited:    {Severity: SeverityWarning, Title: "The agent has ended by itself; the next message starts it again"},
}

// OwnNotice returns the beginning of a notice that a worker makes itself: its kind, its
// severity and its usual title. ok is false for other kinds.
func OwnNotice(kind string) (n NoticeData, ok bool) {
	n, ok = ownNotices[kind]
	n.Kind = kind
	return n, ok
}

// NoticeOf returns the notice that an agent_update of an earlier worker stands for. ok is
// false for every other update.
func NoticeOf(u AgentUpdateData) (n NoticeData, ok bool) {
	if n, ok = OwnNotice(u.Kind); !ok {
		return NoticeData{}, false
	}
	var raw map[string]json.RawMessage
	var message string
	if Decode(u.Raw, &raw) != nil || Decode(raw["message"], &message) != nil || message == "" {
		return NoticeData{}, false
	}
	n.Description = message
	if title, rest, ok := strings.Cut(message, ": "); ok && u.Kind == NoticeProcessesEnded && len(title) <= MaxNoticeTitle {
		n.Title, n.Description = title, rest
	}
	if delete(raw, "message"); len(raw) > 0 {
		n.Data = Marshal(raw)
	}
	return n, true
}

// Text is the notice in one piece, for a reader that has one place for it.
func (n NoticeData) Text() string {
	if n.Title == "" || n.Description == "" {
		return n.Title + n.Description
	}
	return n.Title + ": " + n.Description
}
