package client

import (
	"context"
	"errors"
	"net/http"

	"sessionhub/protocol"
)

// Answer answers a question that the agent asks people. protocol.ParseForm reads the form
// of such a question, and its Check holds an answer to it. Of several answers one wins. The
// others get an *Error with protocol.CodeQuestionResolved, which says how it ended. An answer
// that the form does not take gets protocol.CodeInvalidAnswer, and Field is the wrong field.
func (s *Session) Answer(ctx context.Context, r protocol.AnswerRequest) (protocol.AnswerResponse, error) {
	var out protocol.AnswerResponse
	err := s.do(ctx, "answer", http.MethodPost, "/answer", nil, r, &out)
	return out, err
}

// Elicitations lists the questions of the agent that wait for an answer, oldest first.
func (s *Session) Elicitations(ctx context.Context) ([]protocol.ElicitationData, error) {
	var out protocol.Elicitations
	err := s.do(ctx, "list elicitations", http.MethodGet, "/elicitations", nil, nil, &out)
	return out.Elicitations, err
}

// Answer answers a question of the agent, as Session.Answer does. It repeats the answer as
// Message repeats a message.
func (s *Stream) Answer(ctx context.Context, r protocol.AnswerRequest) (protocol.AnswerResponse, error) {
	var out protocol.AnswerResponse
	again, err := s.repeat(ctx, command{
		op: "answer", kind: protocol.CommandAnswer, data: r, out: &out, repeatable: true,
		request: func(ctx context.Context) (err error) { out, err = s.session.Answer(ctx, r); return err },
	})
	var late *Error
	if again && errors.As(err, &late) && late.Code == protocol.CodeQuestionResolved && late.Outcome == protocol.OutcomeOf(r.Action) {
		// An earlier attempt got through, and only its answer was lost.
		return protocol.AnswerResponse{InteractionID: r.InteractionID, Action: r.Action}, nil
	}
	return out, err
}
