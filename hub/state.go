package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sessionhub/protocol"
)

// State is what the rules of a session need to know, and nothing that can be
// read from the logs. It is stored as JSON beside them; its version is the
// store's. A State is a value: the rules work on a copy.
type State struct {
	Info   Info                `json:"info"`
	Status protocol.StatusData `json:"status"` // of the last status event

	// Messages are those that have no complete yet, oldest first. The first
	// one is with the worker when Running is its command.
	Messages    []OpenMessage `json:"messages,omitempty"`
	NextCommand uint64        `json:"nextCommand"`        // seq of the last command that was made
	Running     uint64        `json:"running,omitempty"`  // command seq of the message that a worker has: until its done
	Finished    uint64        `json:"finished,omitempty"` // command seq of the last message that was done
	TurnStarted time.Time     `json:"turnStarted,omitzero"`
	Live        []uint64      `json:"live,omitempty"` // approval and cancel commands of the running turn

	Approvals []PendingApproval `json:"approvals,omitempty"` // oldest first
	Rules     []Rule            `json:"rules,omitempty"`

	// Tokens of an earlier generation are revoked, and so are those in Revoked.
	Generation uint64         `json:"generation,omitempty"`
	Revoked    []RevokedToken `json:"revoked,omitempty"`
	Tickets    []Ticket       `json:"tickets,omitempty"`

	// Assignment is the fence: it grows with each assignment. Worker is empty
	// when no worker has the session. Workspace stays: where the session ran
	// once, it runs again.
	Assignment uint64    `json:"assignment"`
	Worker     string    `json:"worker,omitempty"`
	Workspace  string    `json:"workspace,omitempty"`
	Evicting   uint64    `json:"evicting,omitempty"` // the close command that makes the place free
	Closed     string    `json:"closed,omitempty"`   // reason; empty while the session is open
	ClosedAt   time.Time `json:"closedAt,omitzero"`
	Forgotten  bool      `json:"forgotten,omitempty"` // deleted, and its logs are gone: only its key is kept

	// AgentSession is the agent's own id of the session, for the worker that has
	// the session and for nobody else.
	AgentSession string `json:"agentSession,omitempty"`
}

// Info is fixed when a session is created.
type Info struct {
	SessionID        string                `json:"sessionId"`
	UserID           string                `json:"userId"`
	SpaceID          string                `json:"spaceId,omitempty"`
	Provider         string                `json:"provider"`
	WorkingDirectory string                `json:"workingDirectory"`
	Title            string                `json:"title,omitempty"`
	Metadata         json.RawMessage       `json:"metadata,omitempty"`
	AgentOptions     protocol.AgentOptions `json:"agentOptions,omitzero"`
	CreatedAt        time.Time             `json:"createdAt"`
	// RequestHash is of the create request, when that had an Idempotency-Key:
	// a repeat must be the same.
	RequestHash string `json:"requestHash,omitempty"`
}

// OpenMessage is a message without a complete. Command is its seq in the
// command log.
type OpenMessage struct {
	ID        string `json:"id"`
	Command   uint64 `json:"command"`
	Cancelled bool   `json:"cancelled,omitempty"` // a cancel is with the worker
}

// PendingApproval is a question without an answer. Asked is when it was logged.
type PendingApproval struct {
	Data  protocol.ToolApprovalData `json:"data"`
	Asked time.Time                 `json:"asked"`
}

// Rule is an "allow always": the same tool kind with the same full input.
type Rule struct {
	Kind string `json:"kind"`
	Hash string `json:"hash"` // of the input: see ruleFor
}

// Policy holds the limits that the rules apply.
type Policy struct {
	MaxQueuedMessages int           // messages that wait behind the running one
	ApprovalTimeout   time.Duration // then a question expires
}

// NewEvent is an event that has no place in the log yet. Data is compact JSON.
type NewEvent struct {
	Type protocol.EventType
	Data json.RawMessage
}

// Command is an entry of the command log.
type Command struct {
	Seq  uint64
	Type protocol.WorkerCommandType
	Data json.RawMessage
}

// Note is a fact that a session keeps for its whole life outside of its state:
// which messageId was accepted, how an approval ended. The store puts the seq
// of the batch's event with this index beside it.
type Note struct {
	Key   string
	Value string
	Event int
}

// Change is what one step of the rules makes: it is stored whole or not at all.
type Change struct {
	State    *State
	Events   []NewEvent
	Commands []Command
	Drop     []uint64 // commands that are finished
	Notes    []Note
}

// Input is something that happens to a session. Each kind has its rules in one
// apply method, which may refuse with an error that callers branch on.
type Input interface {
	apply(*step) error
}

// Step is the one place where a session's state changes. It is pure: the same
// state, input, policy and time give the same change. An input that changes
// nothing gives a Change without events, with State equal to s.
func Step(s *State, in Input, p Policy, now time.Time) (Change, error) {
	st := &step{s: s.clone(), policy: p, now: now}
	if err := in.apply(st); err != nil {
		return Change{}, err
	}
	return Change{State: st.s, Events: st.events, Commands: st.commands, Drop: st.drop, Notes: st.notes}, nil
}

func (s *State) clone() *State {
	c := *s
	c.Messages = slices.Clone(s.Messages)
	c.Approvals = slices.Clone(s.Approvals)
	c.Rules = slices.Clone(s.Rules)
	c.Live = slices.Clone(s.Live)
	c.Revoked = slices.Clone(s.Revoked)
	c.Tickets = slices.Clone(s.Tickets)
	return &c
}

// NeedsWorker reports whether the session waits for an assignment.
func (s *State) NeedsWorker() bool {
	return s.Closed == "" && s.Worker == "" && len(s.Messages) > 0
}

// Turn returns the message that a worker has and that has no complete yet.
func (s *State) Turn() (OpenMessage, bool) {
	if s.Running != 0 && len(s.Messages) > 0 && s.Messages[0].Command == s.Running {
		return s.Messages[0], true
	}
	return OpenMessage{}, false
}

// knows reports whether a message that went to a worker is still what its command
// stands for. It is not when the store has lost its end: then there is no such
// command, or another message has its number. A closed session has ended its
// messages whatever became of them.
func (s *State) knows(sent OpenMessage) bool {
	if s.Closed != "" {
		return true
	}
	for _, m := range s.Messages {
		if m.Command == sent.Command {
			return m.ID == sent.ID
		}
	}
	return sent.Command <= max(s.Running, s.Finished)
}

// Has reports whether the worker of an assignment may still publish: it has the
// session, and closed is not in the log yet. Stores ask it for a Fence.
func (s *State) Has(assignment uint64) bool {
	return s.Closed == "" && s.Worker != "" && s.Assignment == assignment
}

// ended is the answer to a change of a session that takes none any more; a
// deleted one is gone.
func (s *State) ended() error {
	if s.Closed == protocol.ClosedDeleted {
		return ErrNotFound
	}
	return ErrSessionEnded
}

// Busy reports whether a turn runs or an approval is pending: the session does
// not expire then.
func (s *State) Busy() bool { return len(s.Messages) > 0 || len(s.Approvals) > 0 }

// step collects one change.
type step struct {
	s        *State
	policy   Policy
	now      time.Time
	events   []NewEvent
	commands []Command
	drop     []uint64
	notes    []Note
}

func (st *step) event(t protocol.EventType, data any) {
	st.events = append(st.events, NewEvent{Type: t, Data: protocol.Marshal(data)})
}

// status logs a status; one equal to the last is dropped.
func (st *step) status(status protocol.Status, messageID, detail string) {
	next := protocol.StatusData{Status: status, MessageID: messageID, Detail: detail}
	if next == st.s.Status {
		return
	}
	st.s.Status = next
	st.event(protocol.EventStatus, next)
}

func (st *step) command(t protocol.WorkerCommandType, data any) uint64 {
	st.s.NextCommand++
	st.commands = append(st.commands, Command{Seq: st.s.NextCommand, Type: t, Data: protocol.Marshal(data)})
	return st.s.NextCommand
}

// note remembers a fact beside the seq of the event that was logged last.
func (st *step) note(key, value string) {
	st.notes = append(st.notes, Note{Key: key, Value: value, Event: len(st.events) - 1})
}

// advance hands the next message to the worker, if there is one and the worker
// has none.
func (st *step) advance() {
	s := st.s
	if s.Worker == "" || s.Running != 0 || s.Closed != "" || len(s.Messages) == 0 {
		return
	}
	s.Running = s.Messages[0].Command
	s.TurnStarted = st.now
	st.status(protocol.StatusRunning, s.Messages[0].ID, "")
}

// rest logs the status of a session in which no turn runs.
func (st *step) rest() {
	if len(st.s.Messages) > 0 {
		st.status(protocol.StatusQueued, st.s.Messages[0].ID, "")
		return
	}
	st.status(protocol.StatusIdle, "", "")
}

// complete ends the i-th open message: it is the only maker of complete events
// that the worker did not send itself, and every ending comes through here.
func (st *step) complete(i int, data protocol.CompleteData) {
	s := st.s
	m := s.Messages[i]
	data.MessageID = m.ID
	if s.Running == m.Command {
		// The questions of a turn end with it.
		for len(s.Approvals) > 0 {
			st.resolve(0, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
		}
		st.drop = append(st.drop, s.Live...)
		s.Live = nil
	}
	st.drop = append(st.drop, m.Command)
	s.Messages = slices.Delete(s.Messages, i, i+1)
	st.event(protocol.EventComplete, data)
}

// resolve ends the i-th pending approval.
func (st *step) resolve(i int, data protocol.ApprovalResolvedData) {
	a := st.s.Approvals[i]
	data.InteractionID = a.Data.InteractionID
	st.s.Approvals = slices.Delete(st.s.Approvals, i, i+1)
	st.event(protocol.EventApprovalResolved, data)
	st.note(approvalNote(data.InteractionID), data.Outcome+" "+data.OptionID)
}

// answer sends an approval's outcome to the worker that waits for it.
func (st *step) answer(c protocol.ApprovalCommand) {
	if _, ok := st.s.Turn(); ok {
		st.s.Live = append(st.s.Live, st.command(protocol.WorkerApproval, c))
	}
}

// resume logs that the turn goes on after its last question was answered.
func (st *step) resume() {
	if m, ok := st.s.Turn(); ok && len(st.s.Approvals) == 0 {
		st.status(protocol.StatusRunning, m.ID, "")
	}
}

// The keys of notes.
func messageNote(id string) string  { return "m:" + id }
func approvalNote(id string) string { return "a:" + id }

// created is the first input of every session.
type created struct{}

func (created) apply(st *step) error {
	st.status(protocol.StatusIdle, "", "")
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
