package session

import (
	"fmt"
	"time"
)

// MessageNote is the key of the note that a message was accepted. Its value is the hash
// of the content (HashJSON), and its event is the message.
func MessageNote(id string) string { return "m:" + id }

// ReleaseNote is the key of the note that a message was held, and was released. The note's
// event is the last release.
func ReleaseNote(id string) string { return "r:" + id }

// ApprovalNote is the key of the note of how a question ended. Its value is the outcome,
// a space, and the chosen option, if there is one.
func ApprovalNote(id string) string { return "a:" + id }

// created is the first input of every session.
type created struct{}

func (created) apply(st *step) error {
	mcpStep{st}.setAside()
	if from := st.s.Info.TakeUp; from != nil {
		replayStep{st}.takeUp(*from)
	}
	if from := st.s.Info.Fork; from != nil {
		st.s.ForkOf, st.s.Workspace, st.s.Load = from.AgentSession, from.Workspace, LoadCopies
	}
	if from := st.s.Info.Worktree; from != nil {
		st.s.Workspace = from.Workspace
	}
	st.rest()
	return nil
}

// NewState returns the state of a session that is about to be created, and the
// change that logs its first event.
func NewState(info Info, p Policy, now time.Time) (Change, error) {
	c, err := Step(&State{Info: info}, created{}, p, now)
	if err != nil {
		return Change{}, fmt.Errorf("create session %s: %w", info.SessionID, err)
	}
	return c, nil
}
