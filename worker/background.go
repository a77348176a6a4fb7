package worker

import (
	"time"

	"sessionhub/protocol"
)

// background is what the agent does outside of a turn: what a sub-agent or a command says,
// does and asks that goes on behind the turn's end. The hub is told when it begins and when
// it is over: when the agent was silent for Config.BackgroundQuiet, and no tool call and no
// question is open. Owned by the session's runner.
type background struct {
	work
	works     bool      // the hub was told that it began
	heard     time.Time // when the agent last said, did or asked something
	cancelled time.Time // when people asked for its end; zero: they have not
	answered  uint64    // seq of the last command that was handled; the hub repeats older ones
	before    toolCalls // of the last turn: some agents go on about them
}

// inBackground notes that the agent is about to do something in the background. The hub
// learns that first.
func (s *session) inBackground() {
	b := &s.background
	b.heard = time.Now()
	s.restTimer.Reset(s.w.cfg.BackgroundQuiet)
	if b.works {
		return
	}
	b.works = true
	s.log.Debug("agent works in the background")
	s.publishBackground(protocol.StatusRunning)
}

func (s *session) publishBackground(status protocol.Status) {
	s.publish(protocol.EventStatus, protocol.WorkerStatusData{StatusData: protocol.StatusData{Status: status}})
}

// meet makes a tool call of the last turn known in the background. A call that the agent
// never announces is open only once it says so: its end may never be told.
func (b *background) meet(u toolUpdate, announced bool) {
	if b.tools.known(u.ToolCallID) {
		return
	}
	if before := b.before.calls[u.ToolCallID]; before != nil {
		b.tools.keep(u.ToolCallID, before)
	} else if !announced {
		b.tools.keep(u.ToolCallID, &toolCall{status: toolCompleted})
	}
}

// neverRuns ends a tool call that the agent told of by a question alone, when nobody has
// allowed it. Most agents say nothing more about such a call. A turn would end it with its
// own end; the background has none while the call is open. A call that the agent has begun
// all the same stays open. A hub that takes nothing outside of a turn is not told.
func (s *session) neverRuns(w *work, asked *ask) {
	call := w.tools.calls[asked.unannounced]
	if w != &s.background.work || call == nil || !s.w.background.Load() || call.status != "" && call.status != toolPending {
		return
	}
	s.publish(protocol.EventToolCall, protocol.ToolCallData{ToolCallID: asked.unannounced, Status: toolFailed})
	w.tools.end(asked.unannounced)
}

// busy reports whether a tool call or a question is open in the background.
func (b *background) busy() bool { return len(b.asks) > 0 || len(b.tools.open()) > 0 }

// onRest ends the work in the background if the agent is silent and nothing is open.
func (s *session) onRest() {
	b := &s.background
	if !b.works || b.busy() {
		return // what ends a call or a question sets the timer again
	}
	if left := s.w.cfg.BackgroundQuiet - time.Since(b.heard); left > 0 {
		s.restTimer.Reset(left)
		return
	}
	if s.out.full() || s.deaf { // the agent is not read
		s.restTimer.Reset(s.w.cfg.BackgroundQuiet)
		return
	}
	s.backgroundOver()
	switch {
	case s.turn != nil:
	case s.draining == nil:
		s.release(protocol.ReleaseDrained, true)
	default:
		s.beginIdle()
	}
}

// backgroundOver tells the hub that the work in the background is over.
func (s *session) backgroundOver() {
	b := &s.background
	if b.works {
		s.publishBackground(protocol.StatusIdle)
	}
	s.restTimer.Stop()
	s.stopTimer.Stop()
	b.works, b.cancelled, b.tools = false, time.Time{}, toolCalls{}
}

// backgroundGone ends the work in the background with its agent: its open questions are
// withdrawn, and its open tool calls have failed.
func (s *session) backgroundGone() {
	b := &s.background
	s.withdrawAll(&b.work)
	for _, id := range b.tools.open() {
		s.publish(protocol.EventToolCall, protocol.ToolCallData{ToolCallID: id, Status: toolFailed})
	}
	s.backgroundOver()
	b.before = toolCalls{}
}

// forBackground reports whether a command for the background is new. The hub sends them in
// order, and again from the first one over each new link.
func (s *session) forBackground(seq uint64) bool {
	if seq <= s.background.answered {
		return false
	}
	s.background.answered = seq
	return true
}

// onBackgroundCancel stops the work in the background. An agent that goes on is stopped
// after the grace time, as in a turn.
func (s *session) onBackgroundCancel() {
	b := &s.background
	s.dropAsks(&b.work) // the hub has resolved them
	if s.turn != nil || s.agent == nil || s.agent.stopped || !b.works {
		return // it is over, or a message came meanwhile, which a cancel would stop too
	}
	s.answer(encodeNotification("session/cancel", map[string]string{"sessionId": s.agent.sessionID}))
	s.restTimer.Reset(s.w.cfg.BackgroundQuiet)
	if b.cancelled.IsZero() {
		b.cancelled = time.Now()
		s.stopTimer.Reset(s.w.cfg.CancelGrace)
	}
}

// onBackgroundGrace stops an agent that did not obey the cancel. An agent that has
// nothing open and was silent for the second half of the grace has obeyed.
func (s *session) onBackgroundGrace() {
	b, grace := &s.background, s.w.cfg.CancelGrace
	if !b.works || s.turn != nil || !b.busy() && time.Since(b.heard) > grace/2 {
		return
	}
	s.log.Warn("agent did not end its work in the background", "grace", grace)
	s.stopAgent()
}

// onOtherHub runs when the hub of a new link takes other events than the last one. Nobody
// answers a question any more that this hub does not take. The last hub may not have taken
// the list of options: this one is told of them.
func (s *session) onOtherHub() {
	runs := s.agent != nil && !s.agent.stopped
	if !s.w.background.Load() {
		if runs {
			s.dropAsks(&s.background.work)
		}
		s.background.works = false // nothing is told to this hub
		s.backgroundOver()
	}
	if runs && !s.w.hubTakes(protocol.EventElicitation) {
		for _, w := range s.works() {
			s.dropElicitations(w)
		}
	}
	if runs && s.agent.ready && s.opt.told != nil && s.w.hubTakes(protocol.EventConfigOptions) {
		s.opt.before = ""
		s.tellOptions("", 0)
	}
}
