package worker

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"sessionhub/protocol"
)

// commandQueue is how many commands of one session may wait for its runner. The
// hub sends one message at a time, and the runner never waits for anything
// outside: when the queue is full, the link's reader waits a moment.
const commandQueue = 64

// session is one assignment of a session to this worker.
//
// run is its runner: the one goroutine that owns the state below. It waits for
// commands, lines of the agent, timers and ends, handles each in a bounded time,
// and never blocks on the agent, the hub or the disk's processes. It starts one
// goroutine for each agent (agent.run) and waits for it. Everybody else only
// sends to commands, closes revoked (through revoke) and waits for done.
type session struct {
	id         string                      // immutable
	assignment uint64                      // immutable
	assign     protocol.Assign             // immutable
	provider   Provider                    // immutable
	w          *Worker                     // immutable
	log        *slog.Logger                // immutable
	out        *outbox                     // has its own lock
	before     <-chan struct{}             // immutable: an earlier runner of this session is done
	commands   chan protocol.WorkerCommand // from the link's reader; never closed
	revoked    chan struct{}               // closed by revoke
	done       chan struct{}               // closed when run has returned
	revokeOnce sync.Once

	// Owned by run.
	agents      sync.WaitGroup
	agent       *agent // nil while none runs
	dir         string // resolved working directory of agent
	turn        *turn  // the message under way, or nil
	lastMessage uint64 // seq of the newest message that was taken
	lastID      string // its messageId; empty if it was taken in another assignment
	leaving     *leaving
	over        bool // the release is on its way: run returns
	draining    <-chan struct{}
	handOver    <-chan struct{}

	startTimer   *time.Timer
	startTimeout time.Duration
	cancelTimer  *time.Timer
	idleTimer    *time.Timer
	quietTimer   *time.Timer
	silentTimer  *time.Timer   // of the turn's timeout
	settleTimer  *time.Timer   // a message waits for the agent to settle
	deafTimer    *time.Timer   // runs while the agent's stdin is full
	deaf         bool          // it does
	swept        chan struct{} // what a cancelled turn left running is gone
	afterSweep   func()        // not nil while that is waited for

	agentSession string // the agent's own id of the session, also of an earlier one
	historyLost  string // why the running agent does not know what was before
	ranBefore    bool   // an agent has been ready in this assignment
	afterReplay  func()
	replayUntil  time.Time
}

// leaving says that the session is given back as soon as its agent is gone.
type leaving struct {
	reason string
	retry  bool
	final  bool // the hub has asked for it: a message does not call it off
}

func newSession(w *Worker, assign protocol.Assign, p Provider, before <-chan struct{}) *session {
	if before == nil {
		closed := make(chan struct{})
		close(closed)
		before = closed
	}
	return &session{
		id: assign.SessionID, assignment: assign.Assignment, assign: assign, provider: p, w: w,
		log:      w.log.With("session", assign.SessionID, "assignment", assign.Assignment, "provider", assign.Provider),
		out:      newOutbox(assign.SessionID, assign.Assignment, assign.Message, w.cfg.BufferBytes),
		before:   before,
		commands: make(chan protocol.WorkerCommand, commandQueue),
		revoked:  make(chan struct{}), done: make(chan struct{}),
		lastMessage: assign.Message, agentSession: assign.AgentSession,
		draining: w.draining, handOver: w.handOver,
		startTimer: stoppedTimer(), cancelTimer: stoppedTimer(), idleTimer: stoppedTimer(), quietTimer: stoppedTimer(), silentTimer: stoppedTimer(),
		settleTimer: stoppedTimer(), deafTimer: stoppedTimer(),
		swept: make(chan struct{}, 1),
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// revoke ends the session without another word to the hub. It does not wait.
func (s *session) revoke() {
	s.revokeOnce.Do(func() {
		s.out.revoke()
		close(s.revoked)
	})
}

// disown gives the session back at once, with all that was not sent of it.
func (s *session) disown() {
	s.revoke()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.sendLocked(protocol.NewFrame(protocol.FrameRelease, protocol.Release{
		SessionID: s.id, Assignment: s.assignment, Reason: protocol.ReleaseNotRun, Retry: true,
	}))
}

// command hands a command to the runner, or drops it if the runner has ended.
func (s *session) command(c protocol.WorkerCommand) {
	select {
	case s.commands <- c:
	case <-s.done:
	}
}

// run is the runner. When it returns, no process of the session is left.
func (s *session) run() {
	defer close(s.done)
	defer s.stopAll()
	s.idleTimer.Reset(s.w.cfg.AgentIdle)
	for !s.over {
		// A full outbox holds the agent back: its lines stay in the pipe.
		var lines <-chan rpcMessage
		var gone, room <-chan struct{}
		s.watchStdin()
		if s.agent != nil {
			gone, room = s.agent.gone, s.agent.stdin.room
			if !s.agent.stopped && !s.out.full() && !s.deaf {
				lines = s.agent.in
			}
		}
		select {
		case <-s.w.life.Done():
			return
		case <-s.revoked:
			return
		case c := <-s.commands:
			s.onCommand(c)
		case m := <-lines:
			s.onLine(m)
		case <-gone:
			s.onAgentGone()
		case <-s.out.room:
		case <-room:
		case <-s.deafTimer.C:
			s.agentFault(protocol.TurnAgentProtocol, "the agent does not read its stdin")
		case <-s.draining:
			s.draining = nil
			if s.turn == nil {
				s.release(protocol.ReleaseDrained, true)
			}
		case <-s.handOver:
			s.handOver = nil
			if s.turn != nil {
				s.finishError(protocol.TurnDraining, "the worker was stopped", true)
			}
		case <-s.startTimer.C:
			s.startFailed("the agent was not ready after %s", s.startTimeout)
		case <-s.cancelTimer.C:
			s.log.Warn("agent did not obey the cancel", "grace", s.w.cfg.CancelGrace)
			s.stopAgent()
		case <-s.quietTimer.C:
			s.replayed()
		case <-s.silentTimer.C:
			s.onSilence()
		case <-s.settleTimer.C:
			s.onSettled()
		case <-s.swept:
			s.afterSweep()
		case <-s.idleTimer.C:
			s.release(protocol.ReleaseIdle, true)
		}
	}
}

func (s *session) stopAll() {
	for _, t := range []*time.Timer{s.startTimer, s.cancelTimer, s.idleTimer, s.quietTimer, s.silentTimer, s.settleTimer, s.deafTimer} {
		t.Stop()
	}
	s.stopAgent()
	s.agents.Wait()
}

func (s *session) stopAgent() {
	if s.agent != nil {
		s.agent.requestStop()
	}
}

// publish sends an event; see fit for what happens to a large one.
func (s *session) publish(t protocol.EventType, data any) {
	s.out.pushEvent(t, data)
	s.w.wakeWriter()
}

// release gives the session back as soon as its agent is gone. The first reason
// stays, except that a close comes before all others.
func (s *session) release(reason string, retry bool) {
	if s.leaving != nil && reason != protocol.ReleaseClosed {
		return
	}
	s.leaving = &leaving{reason: reason, retry: retry}
	s.idleTimer.Stop()
	if s.agent != nil {
		s.stopAgent()
		return
	}
	s.leave()
}

func (s *session) leave() {
	s.out.pushRelease(s.leaving.reason, s.leaving.retry)
	s.over = true
	s.log.Info("session released", "reason", s.leaving.reason, "retry", s.leaving.retry)
	s.w.wakeWriter()
}

// onCommand handles a command of the hub. Commands come in the order of the
// link, and may come again after a reconnect.
func (s *session) onCommand(c protocol.WorkerCommand) {
	switch c.Type {
	case protocol.WorkerMessage:
		s.onMessage(c)
	case protocol.WorkerApproval:
		var approval protocol.ApprovalCommand
		if s.decode(c, &approval) && s.forTurn(c.Seq, approval.MessageID) {
			s.onApproval(approval)
		}
	case protocol.WorkerCancel:
		var cancel protocol.CancelCommand
		if s.decode(c, &cancel) && s.forTurn(c.Seq, cancel.MessageID) {
			s.onCancel()
		}
	case protocol.WorkerClose:
		var why protocol.ClosedData
		if s.decode(c, &why) && why.Reason == protocol.ReleaseIdle {
			// Not the session ends but its place here: the history stays.
			s.release(protocol.ReleaseIdle, true)
			s.leaving.final = true
			return
		}
		s.release(protocol.ReleaseClosed, false)
	default:
		s.log.Warn("hub sent an unknown command", "type", clip(string(c.Type), 64))
	}
}

func (s *session) decode(c protocol.WorkerCommand, v any) bool {
	if err := protocol.Decode(c.Data, v); err != nil {
		s.log.Warn("hub sent a command that cannot be read", "type", c.Type, "seq", c.Seq, "error", err)
		return false
	}
	return true
}

// forTurn reports whether an approval or a cancel is for the message under way,
// and new. One for another message is late.
func (s *session) forTurn(seq uint64, messageID string) bool {
	if s.turn == nil || messageID != s.turn.messageID || s.turn.seen[seq] {
		return false
	}
	s.turn.seen[seq] = true
	return true
}

func (s *session) onMessage(c protocol.WorkerCommand) {
	if s.leaving != nil && (s.leaving.reason != protocol.ReleaseIdle || s.leaving.final) {
		return // it crossed our release: the hub gives it to somebody else
	}
	var data protocol.MessageData
	if !s.decode(c, &data) {
		return
	}
	switch {
	case c.Seq == s.lastMessage && (data.MessageID == s.lastID || s.lastID == ""):
		return // repeated after a reconnect
	case c.Seq <= s.lastMessage, s.turn != nil:
		// The hub serialises, and gives no number twice. Its store has lost what
		// this worker was told (a failover), so the assignment means nothing.
		s.log.Warn("the hub does not know of a message that it sent", "seq", c.Seq, "last", s.lastMessage)
		s.disown()
		return
	}
	s.leaving = nil // the idle end is called off; a new agent starts after the old
	s.lastMessage, s.lastID = c.Seq, data.MessageID
	s.out.begin(protocol.HelloTurn{Seq: c.Seq, MessageID: data.MessageID})
	s.idleTimer.Stop()
	s.turn = newTurn(c.Seq, data)
	switch {
	case s.agent == nil:
		s.startAgent()
	case s.agent.stopped: // onAgentGone starts the next
	case s.agent.ready:
		s.prompt()
	}
}

// onLine handles one line of the agent.
func (s *session) onLine(m rpcMessage) {
	a := s.agent
	a.heard = time.Now()
	defer func() { a.heard = time.Now() }() // a long line takes its time here, too
	switch m.kind {
	case lineResponse:
		s.agent.answered(m)
	case lineNotification:
		if m.method == "session/update" {
			s.onUpdate(m.params)
		} else {
			s.log.Debug("agent sent a notification without a meaning here", "method", clip(m.method, 64))
		}
	case lineRequest:
		if m.method == "session/request_permission" {
			s.onPermission(m.id, m.params)
		} else {
			s.answer(encodeError(m.id, rpcMethodNotFound, "method not found: "+clip(m.method, 200)))
		}
	case lineGarbage:
		s.onGarbage(m.text)
	case lineTooLong:
		s.agentFault(protocol.TurnAgentProtocol, "the agent printed a line of more than 32 MiB")
	}
}

// Garbage is tolerated: agents and what they start print banners and warnings.
const (
	garbageMost  = 100 // in one turn; then the agent does not speak ACP
	garbageShown = 10  // of them in the log
)

func (s *session) onGarbage(text string) {
	a := s.agent
	a.garbage++
	s.log.Debug("agent printed a line that is no message", "count", a.garbage)
	if a.garbage <= garbageShown {
		s.publish(protocol.EventAgentUpdate, protocol.AgentUpdateData{
			Kind: updateGarbage, Raw: protocol.Marshal(textRaw{text}),
		})
	}
	if a.garbage >= garbageMost {
		s.agentFault(protocol.TurnAgentProtocol, "the agent printed 100 lines that are no JSON-RPC messages")
	}
}

// answer sends a response or a notification to the agent.
func (s *session) answer(line []byte) { s.agent.stdin.push(line) }

func (s *session) call(method string, params any, answer func(json.RawMessage, error)) {
	s.agent.call(method, params, answer)
}

// watchStdin bounds how long an agent may ask without reading the answers: it is
// not read meanwhile, and one that does not read then either is stopped.
func (s *session) watchStdin() {
	full := s.agent != nil && !s.agent.stopped && s.agent.stdin.full()
	switch {
	case full && !s.deaf:
		s.deafTimer.Reset(s.w.cfg.ReadGrace)
	case !full && s.deaf:
		s.deafTimer.Stop()
	}
	s.deaf = full
}

// agentFault stops an agent that cannot go on; the turn ends when it is gone.
func (s *session) agentFault(code, message string) {
	a := s.agent
	if a == nil || a.stopped {
		return
	}
	if !a.ready {
		code = protocol.TurnAgentStart
	}
	a.failure = &protocol.TurnError{Code: code, Message: message, Retryable: true}
	a.requestStop()
}

// onAgentGone is called when the agent's process and its goroutines have ended,
// and everything that it said has been handled.
func (s *session) onAgentGone() {
	a := s.agent
	s.agent, s.afterReplay = nil, nil
	for _, t := range []*time.Timer{s.startTimer, s.cancelTimer, s.quietTimer, s.silentTimer, s.settleTimer} {
		t.Stop()
	}
	reason := a.failure
	switch {
	case reason != nil:
		if words := a.stderr.String(); words != "" && a.startErr == nil {
			reason.Message += ": " + words
		}
	case !a.ready:
		reason = &protocol.TurnError{Code: protocol.TurnAgentStart, Message: a.lastWords(), Retryable: true}
	default:
		reason = &protocol.TurnError{Code: protocol.TurnAgentCrashed, Message: a.lastWords(), Retryable: true}
	}
	wanted := a.stopped && a.failure == nil
	if !wanted {
		s.log.Warn("agent failed", "code", reason.Code, "exit", a.exit)
	}
	exited := func() {
		if !wanted {
			s.publish(protocol.EventAgentUpdate, protocol.AgentUpdateData{
				Kind: updateAgentExited, Raw: protocol.Marshal(messageRaw{reason.Message}),
			})
		}
	}
	switch {
	case s.leaving != nil:
		s.leave()
	case s.turn == nil:
		exited()
	case s.turn.cancelled:
		s.finishCancelled(nil)
	case s.turn.survives(a, wanted):
		exited()
		s.turn.prompted = false
		s.startAgent()
	default:
		s.finishError(reason.Code, reason.Message, reason.Retryable)
	}
}
