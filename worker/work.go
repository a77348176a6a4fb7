package worker

import "time"

// work is what an agent does for one message, or in the background. Owned by the session's
// runner.
type work struct {
	messageID string // empty: in the background
	tools     toolCalls
	asks      map[string]*ask // open permission requests by interaction
}

func newWork(messageID string) work { return work{messageID: messageID, asks: make(map[string]*ask)} }

// inTurn reports whether a turn runs: the agent has the message, or it is on its way.
func (s *session) inTurn() bool { return s.turn != nil && s.turn.prompted }

// present is the work that the agent speaks of. While a turn runs, that is the turn: the
// agent does not say more. Nil: no turn runs, and the agent has no session yet, or the hub
// takes nothing outside of a turn.
func (s *session) present() *work {
	switch {
	case s.inTurn():
		return &s.turn.work
	case s.agent.sessionID != "" && s.w.background.Load():
		return &s.background.work
	}
	return nil
}

// workOf is the work that a tool call belongs to. A call that began in the background stays
// there.
func (s *session) workOf(toolCallID string) *work {
	if s.background.works && s.background.tools.known(toolCallID) {
		return &s.background.work
	}
	return s.present()
}

// works are the turn and the background.
func (s *session) works() []*work {
	if s.turn == nil {
		return []*work{&s.background.work}
	}
	return []*work{&s.turn.work, &s.background.work}
}

// openAsks counts the open permission requests, and the bytes of their events.
func (s *session) openAsks() (count, size int) {
	for _, w := range s.works() {
		count += len(w.asks)
		for _, asked := range w.asks {
			size += asked.size
		}
	}
	return count, size
}

// withdrawing reports whether the hub has still to say how a withdrawn question ended.
func (s *session) withdrawing() bool {
	for _, w := range s.works() {
		for _, asked := range w.asks {
			if !asked.withdrawn.IsZero() {
				return true
			}
		}
	}
	return false
}

// dropAsks answers the open requests of a work with cancelled. A client must do so when the
// turn is cancelled.
func (s *session) dropAsks(w *work) {
	for interaction, asked := range w.asks {
		delete(w.asks, interaction)
		s.answerCancelled(asked)
		s.neverRuns(w, asked)
	}
}

// withdrawAll takes back the open requests of a work whose agent is gone. Another agent, which
// counts its requests anew, must not get their answers.
func (s *session) withdrawAll(w *work) {
	for interaction, asked := range w.asks {
		if asked.withdrawn.IsZero() {
			s.publishWithdrawal(interaction, asked)
		}
	}
	clear(w.asks)
}

// onWithdrawGrace answers the withdrawn questions that the hub has not decided.
func (s *session) onWithdrawGrace() {
	for _, w := range s.works() {
		for interaction, asked := range w.asks {
			if !asked.withdrawn.IsZero() && time.Since(asked.withdrawn) >= withdrawGrace {
				delete(w.asks, interaction)
				s.answerCancelled(asked)
				s.neverRuns(w, asked)
				if w == &s.background.work && s.background.works {
					s.inBackground() // the agent has its answer only now
				}
			}
		}
	}
	if s.withdrawing() {
		s.graceTimer.Reset(withdrawGrace / 10)
	}
}
