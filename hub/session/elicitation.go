package session

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sessionhub/protocol"
)

// PendingElicitation is a question of the agent that has no answer (ACP, "Elicitation").
// Asked is when it was logged. Data has the whole form: a question has at most
// protocol.MaxFormBytes of it, and the bounds of open questions hold for all together.
//
// Of a private question Data is what the log has. The whole lies in a part, under the key
// PartKey(InteractionID, 0), until it ends. Mode is its mode, which Data does not have.
type PendingElicitation struct {
	Data  protocol.ElicitationData `json:"data"`
	Asked time.Time                `json:"asked"`
	Mode  string                   `json:"mode,omitempty"`
}

// Questions is how many questions are open: for approval, and the agent's own.
func (s *State) Questions() int { return len(s.Approvals) + len(s.Elicitations) }

// Elicitation finds an open question of the agent. It gives the index in Elicitations; -1:
// it is not open.
func (s *State) Elicitation(interaction string) int {
	return slices.IndexFunc(s.Elicitations, func(p PendingElicitation) bool { return p.Data.InteractionID == interaction })
}

// ElicitationNote is the key of the note of how a question of the agent ended. Its value is
// the outcome.
func ElicitationNote(id string) string { return "q:" + id }

// InElicitation is a question of the agent. A question that cannot be asked is refused: it
// is not logged, its agent gets an answer with the reason, and the result has the reason
// too.
type InElicitation struct {
	Data  protocol.ElicitationData
	Unfit *Refusal // why it cannot be asked, if the caller knows a reason
}

func (in InElicitation) apply(st *step) error {
	s := st.s
	q := in.Data
	m, err := s.asker(q.MessageID)
	if err != nil {
		return err
	}
	if s.Elicitation(q.InteractionID) >= 0 || s.Pending(q.InteractionID) >= 0 {
		return ErrKnownInteraction
	}
	q.MessageID = m.ID
	unfit := in.Unfit
	if unfit == nil && in.Data.Private && privateQuestions(s.Elicitations) >= maxPrivateQuestions {
		unfit = &Refusal{protocol.LinkTooLarge, fmt.Sprintf("%d private questions are open, which is the most", maxPrivateQuestions)}
	}
	if unfit == nil && !m.Cancelled {
		unfit = s.tooMuchToAsk(len(protocol.Marshal(q)))
	}
	if unfit != nil {
		st.tell(q.MessageID, protocol.WorkerElicitation, protocol.ElicitationCommand{
			MessageID: q.MessageID, InteractionID: q.InteractionID, Action: protocol.ActionCancel, Reason: unfit.Detail,
		})
		st.result.Refused = unfit
		return nil
	}
	expires := st.now.Add(st.policy.ApprovalTimeout).UTC().Truncate(time.Millisecond)
	q.ExpiresAt = &expires
	asked := PendingElicitation{Data: q, Asked: st.now}
	if q.Private {
		st.parts = append(st.parts, Part{Key: PartKey(q.InteractionID, 0), Data: protocol.Marshal(q)})
		asked.Data, asked.Mode = q.Public(), q.Mode
	}
	st.event(protocol.EventElicitation, asked.Data)
	s.Elicitations = append(s.Elicitations, asked)
	if !m.Cancelled {
		st.requireAction()
		return nil
	}
	// Asked while the cancel was on its way.
	elicitations{st}.end(len(s.Elicitations)-1, protocol.ActionCancel, protocol.ElicitationResolvedData{Outcome: protocol.OutcomeCancelled})
	if s.Status.Status == protocol.StatusStarting {
		st.resume()
	}
	return nil
}

// elicitations ends open questions of the agent in a step.
type elicitations struct{ *step }

// resolve ends the i-th open question. It tells the worker nothing.
func (st elicitations) resolve(i int, data protocol.ElicitationResolvedData) {
	q := st.s.Elicitations[i].Data
	data.InteractionID = q.InteractionID
	if q.Private {
		data.Content = nil // it may be a code or a key
		st.dropped = append(st.dropped, PartKey(q.InteractionID, 0))
	}
	st.s.Elicitations = slices.Delete(st.s.Elicitations, i, i+1)
	st.event(protocol.EventElicitationResolved, data)
	st.note(ElicitationNote(data.InteractionID), data.Outcome)
}

// end ends the i-th open question, and has the worker tell the agent.
func (st elicitations) end(i int, action string, data protocol.ElicitationResolvedData) {
	q := st.s.Elicitations[i].Data
	st.resolve(i, data)
	st.tell(q.MessageID, protocol.WorkerElicitation, protocol.ElicitationCommand{
		MessageID: q.MessageID, InteractionID: q.InteractionID, Action: action, Content: data.Content,
	})
}

// InAnswer answers a question of the agent. By is the user. The first answer wins.
// ErrNotPending: the question is not open. *InvalidAnswerError: the form does not take the
// content.
type InAnswer struct {
	Request protocol.AnswerRequest
	By      string
	// Whole is the question if it is private, as of the state that is decided on.
	Whole *protocol.ElicitationData
}

func (in *InAnswer) apply(st *step) error {
	s, r := st.s, in.Request
	if s.Closed != "" {
		return s.Ended()
	}
	i := s.Elicitation(r.InteractionID)
	if i < 0 {
		return ErrNotPending
	}
	data := protocol.ElicitationResolvedData{Outcome: protocol.OutcomeOf(r.Action), By: in.By}
	q := s.Elicitations[i].Data
	if q.Private {
		if in.Whole == nil {
			return ErrNotPending // it was asked just now
		}
		q = *in.Whole
	}
	if r.Action == protocol.ActionAccept && q.Mode == protocol.ElicitForm {
		form, err := protocol.ParseForm(q.RequestedSchema)
		if err == nil {
			err = form.Check(r.Content)
		}
		if wrong, ok := errors.AsType[*protocol.FormError](err); ok {
			return &InvalidAnswerError{*wrong}
		}
		if data.Content = r.Content; len(data.Content) == 0 {
			data.Content = []byte("{}")
		}
	} else if len(r.Content) > 0 {
		return &InvalidAnswerError{protocol.FormError{Problem: "content goes with accept of a form only: leave it out"}}
	}
	attention{st}.acted()
	elicitations{st}.end(i, r.Action, data)
	st.resume()
	return nil
}

// InvalidAnswerError says which field of a form does not take its value, and what it wants.
type InvalidAnswerError struct{ protocol.FormError }

func (e *InvalidAnswerError) Error() string { return e.FormError.Error() }

// mode is that of the question that was asked.
func (p PendingElicitation) mode() string {
	if p.Data.Private {
		return p.Mode
	}
	return p.Data.Mode
}

// maxPrivateQuestions bounds the private questions of a session that are open at once. Their
// parts do not count as state.
const maxPrivateQuestions = 8

func privateQuestions(open []PendingElicitation) (n int) {
	for _, p := range open {
		if p.Data.Private {
			n++
		}
	}
	return n
}

// InEndElicitation is the agent's end of its own question: it took the question back, or
// the page of a url was completed. The worker is told the outcome, as for every question. A
// question that was answered before keeps its outcome.
type InEndElicitation struct {
	InteractionID string
	Completed     bool // the page was completed; else the question was taken back
}

func (in InEndElicitation) apply(st *step) error {
	i := st.s.Elicitation(in.InteractionID)
	switch {
	case i < 0:
		return nil
	case !in.Completed:
		elicitations{st}.end(i, protocol.ActionCancel, protocol.ElicitationResolvedData{Outcome: protocol.OutcomeCancelled})
	case st.s.Elicitations[i].mode() != protocol.ElicitURL:
		return &Refusal{protocol.LinkForbidden, fmt.Sprintf("only people answer a form: a worker may withdraw it, as %q", protocol.OutcomeCancelled)}
	default:
		elicitations{st}.end(i, protocol.ActionAccept, protocol.ElicitationResolvedData{Outcome: protocol.OutcomeAccepted, By: protocol.ByAgent})
	}
	st.resume()
	return nil
}

// expire ends the questions that nobody answered in time. The agent goes on, without an
// answer.
func (st elicitations) expire() {
	for i := 0; i < len(st.s.Elicitations); {
		if at := st.s.Elicitations[i].Data.ExpiresAt; at == nil || st.now.Before(*at) {
			i++
			continue
		}
		st.end(i, protocol.ActionCancel, protocol.ElicitationResolvedData{Outcome: protocol.OutcomeExpired})
	}
}
