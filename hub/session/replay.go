package session

import "sessionhub/protocol"

// A session that takes up one of its agent's sessions gets the agent's history into its
// log, before the agent runs anything. A worker does that once, in one assignment:
//
//   - LoadWanted: no part of the history is in the log, so any worker may load it.
//   - LoadRuns: the worker of the assignment publishes the history. If it is lost, the log
//     keeps the part that it has. Another worker could not go on at that place.
//
// The history is no work: it has no cost, no tokens and no turn.

// Load says how far the agent's history is.
type Load string

const (
	LoadWanted Load = "wanted"
	LoadRuns   Load = "runs"
)

// maxLoads is the assignment whose loss makes the hub try no more. Behind it, the session goes on without
// the history: something in it may end its workers.
const maxLoads = 5

// TakeUp is the agent's session that a session takes up, and the workspace that has it.
type TakeUp struct {
	AgentSession string `json:"agentSession"`
	Workspace    string `json:"workspace"`
}

// ErrNoReplay says that the session takes no history of its worker, or not any more.
// It is ErrInvalid.
var ErrNoReplay = &Refusal{protocol.LinkForbidden, "the session takes no history: it was not assigned to load one, or has it already"}

// replayStep is a step's part about the history that the session takes up.
type replayStep struct{ *step }

// takeUp begins a session that takes up one of the agent's.
func (st replayStep) takeUp(from TakeUp) {
	st.s.AgentSession, st.s.Workspace, st.s.Load = from.AgentSession, from.Workspace, LoadWanted
}

// InReplay says that the worker begins to publish the agent's history, or that it has
// published all of it.
type InReplay struct{ Begins bool }

func (in InReplay) apply(st *step) error {
	s := st.s
	switch {
	case s.Closed != "":
		return nil
	case in.Begins && s.Load != LoadWanted, !in.Begins && s.Load != LoadRuns:
		return ErrNoReplay
	case in.Begins:
		s.Load = LoadRuns
	default:
		replayStep{st}.endReplay(protocol.CompleteData{StopReason: protocol.StopEndTurn})
	}
	if _, runs := s.Turn(); !runs {
		st.rest()
	}
	return nil
}

// InReplayMessage is a message of the agent's history. Hash is that of its content. It
// counts as the user's own: only the user could take the history up.
type InReplayMessage struct {
	Data protocol.MessageData
	Hash string
}

func (in InReplayMessage) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return nil
	}
	if s.Load != LoadRuns {
		return ErrNoReplay
	}
	replayStep{st}.completeReplay(protocol.CompleteData{StopReason: protocol.StopEndTurn})
	data := in.Data
	data.UserID, data.Delivery, data.Replay = s.Info.UserID, "", true
	st.event(protocol.EventMessage, data)
	st.note(MessageNote(data.MessageID), in.Hash)
	begin(s, data.Content)
	s.ReplayMessage = data.MessageID
	return nil
}

// completeReplay ends the last message of the history.
func (st replayStep) completeReplay(end protocol.CompleteData) {
	if st.s.ReplayMessage == "" {
		return
	}
	end.MessageID, end.Replay = st.s.ReplayMessage, true
	st.s.ReplayMessage = ""
	st.event(protocol.EventComplete, end)
}

// endReplay ends the history.
func (st replayStep) endReplay(end protocol.CompleteData) {
	st.completeReplay(end)
	st.s.Load = ""
}

// loseReplay ends a history whose worker is gone.
func (st replayStep) loseReplay() {
	if st.s.Load == LoadRuns {
		st.endReplay(protocol.CompleteData{StopReason: protocol.StopError, Error: &protocol.TurnError{
			Code: protocol.TurnWorkerLost, Message: "the agent was cut off while its history was loaded: the rest is not in the log",
		}})
	}
}

// giveUpLoading gives up a history that no worker could load.
func (st replayStep) giveUpLoading() {
	if s := st.s; s.Load == LoadWanted && s.Assignment >= maxLoads {
		s.Load = ""
		st.event(protocol.EventNotice, protocol.NoticeData{
			Kind: protocol.NoticeHistoryLost, Severity: protocol.SeverityWarning, Title: "The agent's history could not be loaded",
			Description: "Each worker that began to load it was lost. The next message goes to the agent all the same.",
		})
	}
}
