package worker

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// commandQueue is how many commands of one session may wait for its runner. The hub sends
// one message at a time, and the runner never waits for anything outside. When the queue is
// full, the link's reader waits.
const commandQueue = 64

// session is one assignment of a session to this worker.
//
// run is its runner: the one goroutine that owns the state below. It waits for commands,
// lines of the agent, timers and ends, and handles each in a bounded time. It never blocks
// on the agent, the hub or the disk's processes. It starts one goroutine for each agent
// (agent.run) and waits for it. All other goroutines only send to commands, close revoked
// (through revoke) and wait for done.
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
	vacate     chan chan<- bool            // asks to give the session back, unless it is at work: see onVacate; never closed
	otherHub   chan struct{}               // signalled by a link whose hub takes other events than the last one; never closed
	revokeOnce sync.Once

	// Owned by run.
	agents      sync.WaitGroup
	agent       *agent    // nil while none runs
	terminal    *terminal // in which people log in; nil: none
	dir         string    // resolved working directory of agent
	turn        *turn     // the message under way, or nil
	background  background
	lastMessage uint64 // seq of the newest message that was taken
	lastID      string // its messageId; empty if it was taken in another assignment
	leaving     *leaving
	over        bool // the release is queued: run returns
	draining    <-chan struct{}
	handOver    <-chan struct{}

	startTimer   *time.Timer
	startTimeout time.Duration
	cancelTimer  *time.Timer
	idleTimer    *time.Timer
	quietTimer   *time.Timer
	silentTimer  *time.Timer                 // of the turn's timeout
	settleTimer  *time.Timer                 // a message waits for the agent to settle
	graceTimer   *time.Timer                 // a question was withdrawn: see withdrawGrace
	restTimer    *time.Timer                 // of the work in the background: see Config.BackgroundQuiet
	stopTimer    *time.Timer                 // the work in the background was cancelled
	steerTimer   *time.Timer                 // the agent has to say what became of a message: see steerGrace
	tellTimer    *time.Timer                 // something is untold: see tellSoon
	deafTimer    *time.Timer                 // runs while the agent's stdin is full
	deaf         bool                        // the agent's stdin is full
	idleSince    time.Time                   // since when the agent has had nothing to do
	strays       chan []processtree.Running  // answers when the processes that a cancelled turn left have ended
	afterStrays  func([]processtree.Running) // called then; nil if nothing waits

	agentSession string // the agent's own id of the session, also of an earlier one
	historyLost  string // why the running agent does not know the earlier turns
	ranBefore    bool   // an agent has been ready in this assignment
	told         told
	afterReplay  func()
	replayUntil  time.Time

	replay      replay
	forkFrom    string // the agent's session to be forked at each start, until a turn has ended
	opt         optionState
	attachments attachments // has its own lock
	base        base
}

// leaving says that the session is given back as soon as its agent is gone.
type leaving struct {
	reason string
	retry  bool
	final  bool // the hub has asked for it: a message does not cancel it
}

func newSession(w *Worker, assign protocol.Assign, p Provider, before <-chan struct{}) *session {
	known, forkFrom := assign.AgentSession, ""
	if assign.Fork {
		known, forkFrom = "", known
	}
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
		revoked:  make(chan struct{}), done: make(chan struct{}), otherHub: make(chan struct{}, 1),
		vacate:      make(chan chan<- bool),
		background:  background{work: newWork("")},
		lastMessage: assign.Message, agentSession: known, forkFrom: forkFrom,
		draining: w.draining, handOver: w.handOver,
		startTimer: stoppedTimer(), cancelTimer: stoppedTimer(), idleTimer: stoppedTimer(), quietTimer: stoppedTimer(), silentTimer: stoppedTimer(),
		settleTimer: stoppedTimer(), deafTimer: stoppedTimer(), graceTimer: stoppedTimer(),
		restTimer: stoppedTimer(), stopTimer: stoppedTimer(), steerTimer: stoppedTimer(), tellTimer: stoppedTimer(),
		strays: make(chan []processtree.Running, 1),
		opt:    newOptionState(assign.AgentOptions),
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// revoke ends the session and sends the hub nothing more about it. It does not wait.
func (s *session) revoke() {
	s.revokeOnce.Do(func() {
		s.out.revoke()
		close(s.revoked)
	})
}

// disown ends the session at once and drops its unsent frames. It tells the hub that the
// session does not run here.
func (s *session) disown() {
	s.revoke()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.sendLocked(protocol.NewFrame(protocol.FrameRelease, protocol.Release{
		SessionID: s.id, Assignment: s.assignment, Reason: protocol.ReleaseNotRun, Retry: true,
	}))
}

// command passes a command to the runner, or drops it if the runner has ended.
func (s *session) command(c protocol.WorkerCommand) {
	select {
	case s.commands <- c:
	case <-s.done:
	}
}

// run is the runner. When it returns, no process of the session is left.
func (s *session) run() {
	defer s.dropAttachments()
	defer close(s.done)
	defer s.stopAll()
	s.beginIdle()
	if s.assign.Load {
		s.replay.due = true
		s.idleTimer.Stop()
		s.startAgent()
	}
	for !s.over {
		// A full outbox stops the agent: its lines stay in the pipe.
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
		case answer := <-s.vacate:
			s.onVacate(answer)
		case <-s.draining:
			s.draining = nil
			if s.turn == nil && !s.background.works && !s.replay.due {
				s.release(protocol.ReleaseDrained, true)
			}
		case <-s.handOver:
			s.handOver = nil
			if s.turn != nil {
				s.finishError(protocol.TurnDraining, "the worker was stopped", true)
			} else { // it works in the background
				s.release(protocol.ReleaseDrained, true)
			}
		case <-s.startTimer.C:
			s.startTimedOut()
		case <-s.cancelTimer.C:
			s.log.Warn("agent did not obey the cancel", "grace", s.w.cfg.CancelGrace)
			s.stopAgent()
		case <-s.quietTimer.C:
			s.replayed()
		case <-s.silentTimer.C:
			s.onSilence()
		case <-s.settleTimer.C:
			s.onSettled()
		case <-s.graceTimer.C:
			s.onWithdrawGrace()
		case <-s.restTimer.C:
			s.onRest()
		case <-s.stopTimer.C:
			s.onBackgroundGrace()
		case <-s.otherHub:
			s.onOtherHub()
		case <-s.opt.setTimer.C:
			s.onOptionTimeout()
		case <-s.opt.restoreTimer.C:
			s.onRestoreTimeout()
		case <-s.steerTimer.C:
			s.onSteerGrace()
		case <-s.tellTimer.C:
			s.tellSoon()
		case said := <-s.terminalSays():
			s.onTerminal(said)
		case ended := <-s.strays:
			s.afterStrays(ended)
		case <-s.base.wait:
			s.baseNoted()
		case <-s.idleTimer.C:
			s.onIdle()
		}
	}
}

func (s *session) stopAll() {
	for _, t := range []*time.Timer{s.startTimer, s.cancelTimer, s.idleTimer, s.quietTimer, s.silentTimer, s.settleTimer, s.deafTimer, s.graceTimer, s.restTimer, s.stopTimer, s.steerTimer, s.tellTimer, s.opt.setTimer, s.opt.restoreTimer} {
		t.Stop()
	}
	s.endTerminal()
	if s.base.cancel != nil {
		s.base.cancel()
	}
	s.stopAgent()
	s.agents.Wait()
}

func (s *session) stopAgent() {
	if s.agent != nil {
		s.agent.requestStop()
	}
}

// publish sends an event. A hub that does not take its type gets it in another form: see
// outbox.eventItem.
func (s *session) publish(t protocol.EventType, data any) {
	s.out.pushEvent(t, data)
	s.w.wakeWriter()
}

// release gives the session back as soon as its agent is gone. The first reason stays,
// unless the hub closes the session.
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
	s.dropAttachments() // before the hub can give the session to another worker
	s.out.pushRelease(s.leaving.reason, s.leaving.retry)
	s.over = true
	s.log.Info("session released", "reason", s.leaving.reason, "retry", s.leaving.retry)
	s.w.wakeWriter()
}

func (s *session) onMessage(c protocol.WorkerCommand) {
	if s.leaving != nil && (s.leaving.reason != protocol.ReleaseIdle || s.leaving.final) {
		return // it crossed our release: the hub gives it to another worker
	}
	var data protocol.MessageData
	if !s.decode(c, &data) {
		return
	}
	switch {
	case c.Seq == s.lastMessage && (data.MessageID == s.lastID || s.lastID == ""):
		return // repeated after a reconnect
	case c.Seq <= s.lastMessage, s.turn != nil:
		// The hub sends one message at a time, and gives no number twice. So its store has
		// lost messages that this worker has received (a failover), and the assignment is
		// void.
		s.log.Warn("the hub does not know of a message that it sent", "seq", c.Seq, "last", s.lastMessage)
		s.disown()
		return
	}
	s.leaving = nil // the message cancels the idle end; a new agent starts after the old one
	s.lastMessage, s.lastID = c.Seq, data.MessageID
	s.out.begin(protocol.HelloTurn{Seq: c.Seq, MessageID: data.MessageID})
	s.idleTimer.Stop()
	s.turn, s.opt.restored = newTurn(c.Seq, data), 0
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
	defer func() { a.heard = time.Now() }() // a long line takes its time to arrive
	switch m.kind {
	case lineResponse:
		s.agent.answered(m)
	case lineNotification:
		switch m.method {
		case "session/update":
			s.onUpdate(m.params)
		case "$/cancel_request":
			s.onCancelRequest(m.params)
		case "elicitation/complete":
			s.onElicitationComplete(m.params)
		default:
			s.log.Debug("agent sent a notification without a meaning here", "method", clip(m.method, 64))
		}
	case lineRequest:
		switch m.method {
		case "session/request_permission":
			s.onPermission(m.id, m.params)
		case "elicitation/create":
			s.onElicitation(m.id, m.params)
		default:
			s.answer(encodeError(m.id, rpcMethodNotFound, "method not found: "+clip(m.method, 200)))
		}
	case lineGarbage:
		s.onGarbage(m.text)
	case lineTooLong:
		s.agentFault(protocol.TurnAgentProtocol, "the agent printed a line of more than 32 MiB")
	}
}

// Garbage is tolerated: agents and their processes print banners and warnings.
const (
	garbageMost  = 100 // in one turn; beyond it, the agent does not speak ACP
	garbageShown = 10  // of them in the log
)

func (s *session) onGarbage(text string) {
	a := s.agent
	a.garbage++
	s.log.Debug("agent printed a line that is no message", "count", a.garbage)
	if a.garbage <= garbageShown && !a.people {
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

// watchStdin bounds how long an agent may ask without reading the answers. Meanwhile the
// worker does not read from it. Then the worker stops the agent.
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

// agentFault stops an agent that cannot go on. Another agent may still do the work.
func (s *session) agentFault(code, message string) {
	s.agentFailed(protocol.TurnError{Code: code, Message: message, Retryable: true})
}

// agentFailed stops an agent that cannot go on; the turn ends when it is gone.
func (s *session) agentFailed(why protocol.TurnError) {
	a := s.agent
	if a == nil || a.stopped {
		return
	}
	if !a.ready {
		why.Code = protocol.TurnAgentStart
	}
	a.failure = &why
	a.requestStop()
}

// onAgentGone runs when the agent's process and its goroutines have ended, and everything
// that it said has been handled.
func (s *session) onAgentGone() {
	a := s.agent
	s.endTerminal()
	logged := s.leaving == nil || s.leaving.reason != protocol.ReleaseClosed // nothing is logged behind a close
	if logged {
		s.tellNow()
	}
	s.agent, s.afterReplay = nil, nil
	for _, t := range []*time.Timer{s.startTimer, s.cancelTimer, s.quietTimer, s.silentTimer, s.settleTimer} {
		t.Stop()
	}
	reason := a.failure
	switch {
	case reason != nil:
		if words := a.stderr.String(); words != "" && a.startErr == nil && !a.people {
			reason.Message += ": " + s.withoutSecrets(words)
		}
	case !a.ready:
		reason = &protocol.TurnError{Code: protocol.TurnAgentStart, Message: s.withoutSecrets(a.lastWords()), Retryable: true}
	default:
		reason = &protocol.TurnError{Code: protocol.TurnAgentCrashed, Message: s.withoutSecrets(a.lastWords()), Retryable: true}
	}
	if logged {
		s.backgroundGone()
	}
	s.publishLeft(a)
	s.endOptions()
	wanted := a.stopped && a.failure == nil
	if !wanted {
		s.log.Warn("agent failed", "code", reason.Code, "exit", a.exit)
	}
	exited := func() {
		if !wanted {
			s.notify(protocol.NoticeAgentExited, reason.Message)
		}
	}
	switch {
	case s.leaving != nil:
		s.leave()
	case s.replay.due:
		s.loadRefused(reason.Message)
	case s.turn == nil:
		exited()
		if s.draining == nil { // what it did in the background is over too
			s.release(protocol.ReleaseDrained, true)
		}
	case s.turn.cancelled:
		s.finishCancelled(nil)
	case s.turn.survives(a, wanted):
		exited()
		s.endSteers(true)
		s.withdrawAll(&s.turn.work) // an agent that starts can ask for a login
		s.turn.prompted = false
		s.startAgent()
	default:
		s.finishError(reason.Code, reason.Message, reason.Retryable)
	}
}
