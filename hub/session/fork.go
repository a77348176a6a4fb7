package session

import "sessionhub/protocol"

// A fork is a session whose log begins with a copy of another one's, and whose agent begins
// with a fork of the other one's own session. The hub copies the log while Load is
// LoadCopies. Then a worker starts the agent at once, so that its fork is of the same
// moment.
//
// Some agents keep a fork only from its first turn on. So until a turn has ended, each new
// start of the agent forks anew: see State.ForkOf.

// Fork says what a session was forked from.
type Fork struct {
	SessionID    string `json:"sessionId"`
	AgentSession string `json:"agentSession"`
	Workspace    string `json:"workspace"`
}

// LoadCopies says that the hub copies the log of the session that this one is a fork of. No
// worker gets the session yet. If the node dies meanwhile, the session expires.
const LoadCopies Load = "copies"

// CanFork says what the agent has to fork, or that it cannot. ErrBusy: the session is in
// the middle of its work.
func CanFork(s *State) (Fork, error) {
	from := Fork{SessionID: s.Info.SessionID, AgentSession: s.AgentSession, Workspace: s.Workspace}
	if s.ForkOf != "" {
		from.AgentSession = s.ForkOf
	}
	switch {
	case s.Closed == protocol.ClosedDeleted:
		return from, ErrNotFound
	case s.Busy() || s.Load != "":
		return from, ErrBusy
	case !s.Forks || from.AgentSession == "":
		return from, ErrCannotFork
	}
	return from, nil
}

// InCopy adds events of the other session to the log.
type InCopy struct {
	Events []NewEvent
	Notes  []Note // Event counts in Events
}

func (in InCopy) apply(st *step) error {
	if st.s.Load != LoadCopies || st.s.Closed != "" {
		return ErrNoReplay
	}
	st.events = append(st.events, in.Events...)
	st.notes = append(st.notes, in.Notes...)
	return nil
}

// InCopied says that the log has all that it is to have of the other session.
type InCopied struct{}

func (InCopied) apply(st *step) error {
	if st.s.Load != LoadCopies || st.s.Closed != "" {
		return ErrNoReplay
	}
	st.s.Load = LoadWanted
	st.status(protocol.StatusQueued, "", "")
	return nil
}
