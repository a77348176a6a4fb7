package session

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"sessionhub/protocol"
)

// State holds the facts that the rules of a session need and that cannot be read from the
// logs. It is stored as JSON beside them, with the store's version. A State is a value:
// the rules work on a copy.
type State struct {
	Info   Info                `json:"info"`
	Status protocol.StatusData `json:"status"` // of the last status event

	// Messages have no complete yet; the oldest is first. The worker has the first
	// one when Running is its command.
	Messages    []OpenMessage `json:"messages,omitempty"`
	NextCommand uint64        `json:"nextCommand"` // seq of the last command that was made

	// Running is the command seq of the message that a worker may have received. It
	// is set before a link writes the message, and until its done. While it is 0, no
	// worker has received the oldest message, so any worker may get it. Handed counts
	// how often a message was handed to a link.
	Running uint64 `json:"running,omitempty"`
	Handed  uint64 `json:"handed,omitempty"`

	Finished    uint64    `json:"finished,omitempty"` // command seq of the last message that was done
	TurnStarted time.Time `json:"turnStarted,omitzero"`
	Live        []uint64  `json:"live,omitempty"` // approval, cancel and steer commands of the running turn

	// Background says that the agent works outside of a turn. Answers are the approval and
	// cancel commands for that work; they are kept until the assignment ends.
	Background bool     `json:"background,omitempty"`
	Answers    []uint64 `json:"answers,omitempty"`

	Approvals []PendingApproval `json:"approvals,omitempty"` // oldest first
	Upload    *Upload           `json:"upload,omitempty"`    // of a question that is about to be asked; shared, so never changed in place
	Rules     []Rule            `json:"rules,omitempty"`     // the last one matched last

	Attachments Attachments `json:"attachments,omitempty"` // oldest first; shared, so never changed in place

	Elicitations []PendingElicitation `json:"elicitations,omitempty"` // oldest first

	// Tokens of an earlier generation are revoked, and so are those in Revoked.
	Generation uint64         `json:"generation,omitempty"`
	Revoked    []RevokedToken `json:"revoked,omitempty"`
	Tickets    []Ticket       `json:"tickets,omitempty"`

	// Assignment is the fence: it grows with each assignment. Worker is empty
	// when no worker has the session. Workspace stays: once the session has run in a
	// workspace, it runs only there.
	Assignment uint64    `json:"assignment"`
	Worker     string    `json:"worker,omitempty"`
	Workspace  string    `json:"workspace,omitempty"`
	Evicting   uint64    `json:"evicting,omitempty"` // the close command that frees the worker's capacity
	Closed     string    `json:"closed,omitempty"`   // reason; empty while the session is open
	ClosedAt   time.Time `json:"closedAt,omitzero"`
	Forgotten  bool      `json:"forgotten,omitempty"` // deleted, and its logs are gone: only its key is kept

	// AgentSession is the agent's own id of the session. Only the worker that has the
	// session gets it.
	AgentSession string `json:"agentSession,omitempty"`

	// Load says how far the agent's history is that the session takes up; empty: there is
	// none, or the log has it. ReplayMessage is the history's last message, while it has no
	// complete.
	Load          Load   `json:"load,omitempty"`
	ReplayMessage string `json:"replayMessage,omitempty"`

	// ForkOf is the agent's session that this one's agent is to fork, until a turn has
	// ended. Forks says that the agent that was started last can fork.
	ForkOf string `json:"forkOf,omitempty"`
	Forks  bool   `json:"forks,omitempty"`

	// GitBase is what the working directory had when the session began: see
	// protocol.WorkerStatusData.
	GitBase string `json:"gitBase,omitempty"`

	Tree Tree `json:"tree,omitzero"` // of Info.Worktree

	// Named is what a person has called the session since it was created. If it is set, the
	// title of Info does not count.
	Named      *string `json:"named,omitempty"`
	AgentTitle string  `json:"agentTitle,omitempty"`
	FirstLine  string  `json:"firstLine,omitempty"` // of the first message that has a text
	Beginning  string  `json:"beginning,omitempty"` // of the same message, for a search; empty: FirstLine is all of it

	// Pinned and Archived are what the user wants of lists. Unread: see attention.go. LastEnd
	// is of the last turn; nil: none has ended, or an earlier version has ended it.
	Pinned   bool     `json:"pinned,omitempty"`
	Archived bool     `json:"archived,omitempty"`
	Unread   bool     `json:"unread,omitempty"`
	LastEnd  *TurnEnd `json:"lastEnd,omitempty"` // shared, so never changed in place

	Usage   *Usage  `json:"usage,omitempty"`  // nil while nothing is known
	Options Options `json:"options,omitzero"` // of the agent
	// Steering and Reasons are what the agent can that was started last in the present
	// assignment: see protocol.AgentStartedData.
	Steering bool `json:"steering,omitempty"`
	Reasons  bool `json:"reasons,omitempty"`
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
	// RequestHash is the hash of a create request with an Idempotency-Key. A repeat
	// must have the same.
	RequestHash string `json:"requestHash,omitempty"`
	// TakeUp is the agent's session that this one takes up; nil: the agent begins afresh.
	TakeUp *TakeUp `json:"takeUp,omitempty"`
	// Fork is what this session was forked from; nil: nothing.
	Fork *Fork `json:"fork,omitempty"`
	// Worktree is the git worktree that the session works in; nil: it works in
	// WorkingDirectory itself.
	Worktree *Worktree `json:"worktree,omitempty"`
}

// OpenMessage is a message without a complete. Command is its seq in the
// command log.
type OpenMessage struct {
	ID        string `json:"id"`
	Command   uint64 `json:"command"`
	Cancelled bool   `json:"cancelled,omitempty"` // the worker has a cancel for it

	// Held: it waits until somebody sends it or takes it back. First: it was put in front
	// of the others.
	Held  bool `json:"held,omitempty"`
	First bool `json:"first,omitempty"`
	// Steer is the steer command without an outcome: the turn may have taken the message
	// in. Steered: the turn has taken it in, and the message completes with the turn.
	Steer   uint64 `json:"steer,omitempty"`
	Steered bool   `json:"steered,omitempty"`
}

// PendingApproval is a question without an answer. Asked is when it was logged.
type PendingApproval struct {
	Data  protocol.ToolApprovalData `json:"data"`
	Asked time.Time                 `json:"asked"`
	Whole *Whole                    `json:"whole,omitempty"` // all of a question that Data shows in part; shared, so never changed in place
}

// Rule is an "allow always": the same tool kind with the same full input.
type Rule struct {
	Kind string `json:"kind"`
	Hash string `json:"hash"` // of the input: see RuleFor
}

// Policy holds the limits that the rules apply.
type Policy struct {
	MaxQueuedMessages int           // messages that wait behind the running one
	ApprovalTimeout   time.Duration // an unanswered question expires

	SessionIdleTTL time.Duration // an idle session without activity expires
	CompactAfter   time.Duration // a run of events is compacted this long after its end; 0: never
	EndedRetention time.Duration // an expired or failed session stays readable
	DeletedLinger  time.Duration // open streams may read a deleted session's end
}

// DefaultPolicy is that of the contract.
var DefaultPolicy = Policy{
	MaxQueuedMessages: 32,
	ApprovalTimeout:   time.Hour,
	SessionIdleTTL:    24 * time.Hour,
	CompactAfter:      time.Minute,
	EndedRetention:    24 * time.Hour,
	DeletedLinger:     time.Minute,
}

// NewEvent is an event that has no seq yet. Data is compact JSON.
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

// Note is a fact that a session keeps for its whole life outside of its state: that a
// messageId was accepted, or how an approval ended. The store adds the seq of the batch's
// event with index Event.
type Note struct {
	Key   string
	Value string
	Event int
}

// Part is a piece of a question's content or of an attachment that lies beside the event. It
// is too long for the state, and readers of the log do not get it. It stays until it is
// dropped, or the session is.
type Part struct {
	Key  string
	Data []byte
}

// Change is the result of one step of the rules. It is stored whole or not at all.
type Change struct {
	State    *State
	Events   []NewEvent
	Commands []Command
	Drop     []uint64 // commands that are finished
	Notes    []Note
	Parts    []Part
	Dropped  []string // keys of parts that are not needed any more
	Result   Result   // for the caller that made the input; not stored

	stores bool
}

// Result holds the facts that some inputs give their caller beside the change. It belongs
// to one decision; a repeated decision has a result of its own.
type Result struct {
	Chosen  protocol.ApproveResponse // of InApprove: the option that was logged
	Deliver string                   // of InMessage: how the message was taken
	Grant   Grant                    // of InRedeem: the grant of the ticket
	Refused *Refusal                 // of InToolApproval: why the question was not asked; nil if it was

	Set protocol.SetOptionResponse // of InSetOption: the option that was meant
}

// Stores reports whether there is anything to store: an event, a command, a note, a part,
// or a changed field of the state.
func (c Change) Stores() bool { return c.stores }

// Input is something that happens to a session. Each kind has its rules in one apply
// method, which may refuse with an error that callers branch on.
type Input interface {
	apply(*step) error
}

// Step is the only function that changes a session's state. It is pure: the same state,
// input, policy and time give the same change. An input that changes nothing gives a
// Change with State equal to s, and Stores reports false.
func Step(s *State, in Input, p Policy, now time.Time) (Change, error) {
	st := &step{s: s.clone(), policy: p, now: now}
	if err := in.apply(st); err != nil {
		return Change{}, err
	}
	attention{st}.note(s)
	c := Change{
		State: st.s, Events: st.events, Commands: st.commands, Drop: st.drop, Notes: st.notes, Parts: st.parts, Dropped: st.dropped, Result: st.result,
	}
	// The states are compared whole, and only if nothing else shows a change. So no rule
	// has to list the fields that it writes.
	c.stores = len(c.Events)+len(c.Commands)+len(c.Drop)+len(c.Notes)+len(c.Parts)+len(c.Dropped) > 0 || !reflect.DeepEqual(c.State, s)
	return c, nil
}

func (s *State) clone() *State {
	c := *s
	c.Messages = slices.Clone(s.Messages)
	c.Approvals = slices.Clone(s.Approvals)
	c.Elicitations = slices.Clone(s.Elicitations)
	c.Rules = slices.Clone(s.Rules)
	c.Live = slices.Clone(s.Live)
	c.Answers = slices.Clone(s.Answers)
	c.Revoked = slices.Clone(s.Revoked)
	c.Tickets = slices.Clone(s.Tickets)
	c.Options.Sent = slices.Clone(s.Options.Sent)
	return &c
}

// NeedsWorker reports whether the session waits for an assignment.
func (s *State) NeedsWorker() bool {
	return s.Closed == "" && s.Worker == "" && s.Load != LoadCopies && (wants(s) || s.Load == LoadWanted)
}

// wants reports whether a message waits that is not held.
func wants(s *State) bool { return len(s.Messages) > 0 && !s.Messages[0].Held }

// Turn returns the message that a worker may have received and that has no complete yet.
func (s *State) Turn() (OpenMessage, bool) {
	if s.Running != 0 && len(s.Messages) > 0 && s.Messages[0].Command == s.Running {
		return s.Messages[0], true
	}
	return OpenMessage{}, false
}

// Waiting returns the message that the session's worker must receive next. There is none
// while the worker is asked to close the session.
func (s *State) Waiting() (OpenMessage, bool) {
	if s.Worker == "" || s.Closed != "" || s.Running != 0 || s.Evicting != 0 || !wants(s) {
		return OpenMessage{}, false
	}
	return s.Messages[0], true
}

// Knows reports whether the state still knows that a message was sent to its worker. If
// the store has lost the log's end, there is no such command, another message has its
// number, or the message waits for its hand again. A closed session knows every message.
func (s *State) Knows(sent OpenMessage) bool {
	if s.Closed != "" {
		return true
	}
	for _, m := range s.Messages {
		if m.Command == sent.Command {
			return m.ID == sent.ID && m.Command == s.Running
		}
	}
	return sent.Command <= max(s.Running, s.Finished)
}

// Has reports whether the worker of an assignment may still publish: it has the session,
// and the session is not closed. Stores call it for a Fence.
func (s *State) Has(assignment uint64) bool {
	return s.Closed == "" && s.Worker != "" && s.Assignment == assignment
}

// Ended is the answer to a change of a closed session: ErrNotFound for a deleted one,
// ErrSessionEnded otherwise.
func (s *State) Ended() error {
	if s.Closed == protocol.ClosedDeleted {
		return ErrNotFound
	}
	return ErrSessionEnded
}

// Busy reports whether a message runs or waits to run, a question is open, the agent works
// in the background, or its history is to be loaded. A busy session does not expire. One whose messages are all held
// does.
func (s *State) Busy() bool {
	return head(s) > 0 || wants(s) || s.Questions() > 0 || s.Background || s.Load == LoadWanted || s.Load == LoadRuns
}

// Asleep reports whether an open session is at rest: it has no worker, and no message or
// question is open, but for messages that are held. It can be continued.
func (s *State) Asleep() bool { return s.Closed == "" && s.Worker == "" && !s.Busy() }

// step collects one change.
type step struct {
	s        *State
	policy   Policy
	now      time.Time
	events   []NewEvent
	commands []Command
	drop     []uint64
	notes    []Note
	parts    []Part
	dropped  []string
	result   Result
}

func (st *step) event(t protocol.EventType, data any) {
	st.events = append(st.events, NewEvent{Type: t, Data: protocol.Marshal(data)})
}

// status logs a status, unless it equals the last one.
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

// note keeps a fact with the event that was logged last.
func (st *step) note(key, value string) {
	st.notes = append(st.notes, Note{Key: key, Value: value, Event: len(st.events) - 1})
}

// hand notes that a link is about to write the oldest message to the worker.
func (st *step) hand() {
	st.s.Running = st.s.Messages[0].Command
	st.s.Handed++
	st.s.TurnStarted = st.now
	st.s.beginTurnCost()
}

// rest logs the status of a session in which no turn runs.
func (st *step) rest() {
	s := st.s
	switch {
	case s.Questions() > 0:
		st.status(protocol.StatusRequiresAction, "", "")
	case wants(s):
		st.status(protocol.StatusQueued, s.Messages[0].ID, "")
	case s.Background, s.Load == LoadRuns:
		st.status(protocol.StatusRunning, "", "")
	case s.Load == LoadWanted && s.Worker != "":
		st.status(protocol.StatusStarting, "", "")
	case s.Load != "":
		st.status(protocol.StatusQueued, "", "")
	default:
		st.status(protocol.StatusIdle, "", "")
	}
}

// complete ends the i-th open message. Every message ends here. It makes all complete
// events except those that the worker sent itself.
func (st *step) complete(i int, data protocol.CompleteData) {
	s := st.s
	m := s.Messages[i]
	data.MessageID = m.ID
	turn := s.Running == m.Command
	if turn {
		st.resolveOf(m.ID) // the questions of a turn end with it
		wholes{st}.dropUpload()
		st.drop = append(st.drop, s.Live...)
		s.Live = nil
		st.usageOfTurn(&data)
	}
	st.drop = append(st.drop, m.Command)
	s.Messages = slices.Delete(s.Messages, i, i+1)
	st.event(protocol.EventComplete, data)
	if turn {
		queue{st}.settleSteers(data)
	}
}

// resolve ends the i-th pending approval.
func (st *step) resolve(i int, data protocol.ApprovalResolvedData) {
	a := st.s.Approvals[i]
	data.InteractionID = a.Data.InteractionID
	if a.Whole != nil {
		wholes{st}.drop(data.InteractionID, a.Whole.Parts)
	}
	st.s.Approvals = slices.Delete(st.s.Approvals, i, i+1)
	st.event(protocol.EventApprovalResolved, data)
	st.note(ApprovalNote(data.InteractionID), data.Outcome+" "+data.OptionID)
}

// answer sends an approval's outcome to the worker that waits for it.
func (st *step) answer(c protocol.ApprovalCommand) {
	st.tell(c.MessageID, protocol.WorkerApproval, c)
}

// tell sends how a question ended to the worker that waits for it. messageID is that of the
// question; empty: it was asked in the background.
func (st *step) tell(messageID string, t protocol.WorkerCommandType, c any) {
	if messageID == "" {
		st.keep(st.command(t, c))
		return
	}
	m, ok := st.s.Turn()
	if !ok || m.Cancelled && len(st.s.Live) >= maxLive {
		return // a worker that goes on asking after a cancel gets no more answers
	}
	st.live(st.command(t, c))
}

// maxLive bounds the answers and cancel commands that are kept for a turn. They are sent
// to the worker again after a reconnect. A worker has at most MaxOpenApprovals open
// questions, so it received older answers long ago.
const maxLive = 4 * protocol.MaxOpenApprovals

// live keeps an answer or cancel command until its turn ends.
func (st *step) live(seq uint64) { st.s.Live = st.newest(append(st.s.Live, seq)) }

// newest gives the last maxLive of kept commands, and drops the others.
func (st *step) newest(kept []uint64) []uint64 {
	over := max(0, len(kept)-maxLive)
	st.drop = append(st.drop, kept[:over]...)
	return slices.Delete(kept, 0, over)
}

// addRule keeps an "always". Above the limit, the rule that has matched nothing for
// longest is dropped, and people are asked again.
func (s *State) addRule(r Rule) {
	s.Rules = append(slices.DeleteFunc(s.Rules, func(o Rule) bool { return o == r }), r)
	if over := len(s.Rules) - protocol.MaxRules; over > 0 {
		s.Rules = slices.Delete(s.Rules, 0, over)
	}
}

// resume logs what goes on behind the last question that was answered: the turn, the work
// in the background, or nothing.
func (st *step) resume() {
	if st.s.Questions() > 0 {
		return
	}
	if m, ok := st.s.Turn(); ok {
		st.status(protocol.StatusRunning, m.ID, "")
		return
	}
	st.rest()
}
