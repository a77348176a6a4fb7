package session

import "sessionhub/protocol"

// What an agent does outside of a turn is its work in the background. The worker says when
// it begins and when it is over. In between, the worker's events without a messageId belong
// to it, also while a turn runs: the events of the two can cross.
//
// The work is over with the assignment at the latest. Its questions end then too.

// InBackground says that the agent's work in the background begins, or that it is over.
type InBackground struct{ Works bool }

func (in InBackground) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return nil
	}
	s.Background = in.Works
	if _, runs := s.Turn(); !runs {
		st.rest()
	}
	return nil
}

// asker is the turn that asks a question of a worker. Its ID is empty if the agent asks in
// the background. ErrNoTurn: nothing of the worker goes on that could ask.
func (s *State) asker(messageID string) (OpenMessage, error) {
	if messageID == "" && s.Background {
		return OpenMessage{}, nil
	}
	m, ok := s.Turn()
	if !ok {
		return OpenMessage{}, ErrNoTurn
	}
	return m, nil
}

// asked reports whether a message has a question without an answer. An empty messageID
// stands for the background.
func (s *State) asked(messageID string) bool {
	for _, a := range s.Approvals {
		if a.Data.MessageID == messageID {
			return true
		}
	}
	for _, q := range s.Elicitations {
		if q.Data.MessageID == messageID {
			return true
		}
	}
	return false
}

// requireAction logs that people must answer a question. The status names the turn that
// runs, if there is one.
func (st *step) requireAction() {
	turn, _ := st.s.Turn()
	st.status(protocol.StatusRequiresAction, turn.ID, "")
}

// keep keeps an answer or cancel command for the background until the assignment ends.
func (st *step) keep(seq uint64) { st.s.Answers = st.newest(append(st.s.Answers, seq)) }

// resolveOf ends the questions of a message with cancelled. An empty messageID stands for
// the background.
func (st *step) resolveOf(messageID string) {
	for i := 0; i < len(st.s.Approvals); {
		if st.s.Approvals[i].Data.MessageID != messageID {
			i++
			continue
		}
		st.resolve(i, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
	}
	for i := 0; i < len(st.s.Elicitations); {
		if st.s.Elicitations[i].Data.MessageID != messageID {
			i++
			continue
		}
		elicitations{st}.resolve(i, protocol.ElicitationResolvedData{Outcome: protocol.OutcomeCancelled})
	}
}

// cancelBackground tells the worker to stop the agent's work in the background. The worker
// says when it is over.
func cancelBackground(st *step) {
	if !st.s.Background && !st.s.asked("") {
		return
	}
	st.keep(st.command(protocol.WorkerCancel, protocol.CancelCommand{}))
	st.resolveOf("")
	st.rest()
}

// endBackground ends the work in the background without its worker.
func (st *step) endBackground() {
	st.resolveOf("")
	wholes{st}.dropUpload()
	st.drop = append(st.drop, st.s.Answers...)
	st.s.Background, st.s.Answers = false, nil
}
