package session

import (
	"strings"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// Title is the session's title: what a person has named it, else what its agent calls it,
// else the first line of its first message.
func (s *State) Title() string {
	named := s.Info.Title
	if s.Named != nil {
		named = *s.Named
	}
	for _, title := range []string{named, s.AgentTitle, s.FirstLine} {
		if title != "" {
			return title
		}
	}
	return ""
}

// InRename names a session for a user. An empty Title takes its name away.
type InRename struct{ Title, By string }

func (in InRename) apply(st *step) error {
	if st.s.Closed != "" {
		return st.s.Ended()
	}
	st.retitle(in.By, func(s *State) { s.Named = &in.Title })
	return nil
}

// InAgentTitle is a worker's session_info event: the agent has named its session. An empty
// Title takes the name away.
type InAgentTitle struct{ Title string }

func (in InAgentTitle) apply(st *step) error {
	if st.s.Closed == "" {
		st.retitle("", func(s *State) { s.AgentTitle = in.Title })
	}
	return nil
}

// retitle logs the title if change leads to another one.
func (st *step) retitle(by string, change func(*State)) {
	before := st.s.Title()
	change(st.s)
	if after := st.s.Title(); after != before {
		st.event(protocol.EventSessionInfo, protocol.SessionInfoData{Title: after, By: by})
	}
}

// maxFirstLine is the longest title that is made of a message, in characters.
const maxFirstLine = 80

// firstLine returns the first line of a message's text that is not empty, cut to
// maxFirstLine characters. It is empty if the message has no text.
func firstLine(content []byte) string {
	for line := range strings.Lines(firstText(content)) {
		if line = text.Line(line); line != "" {
			return cutLine(line)
		}
	}
	return ""
}

// firstText returns the first text of a message that is not blank; empty: it has none.
func firstText(content []byte) string {
	var said string
	if protocol.DecodePart(content, &said) == nil {
		return said
	}
	var blocks []contentBlock
	_ = protocol.DecodePart(content, &blocks) // checked before
	for _, b := range blocks {
		if b.Type == "text" && b.Text != nil && strings.TrimSpace(*b.Text) != "" {
			return *b.Text
		}
	}
	return ""
}

func cutLine(line string) string {
	count, last := 0, 0
	for at := range line {
		if count == maxFirstLine-1 {
			last = at
		}
		if count++; count > maxFirstLine {
			return strings.TrimSpace(line[:text.Cut(line, last)]) + "…"
		}
	}
	return line
}
