package client

import (
	"context"
	"net/http"

	"sessionhub/protocol"
)

// Options reads the options of the session's agent as they were last told: its mode, its
// model and others. The list is empty until an agent of the session has started.
func (s *Session) Options(ctx context.Context) (protocol.SessionOptions, error) {
	var out protocol.SessionOptions
	err := s.do(ctx, "read options", http.MethodGet, "/options", nil, nil, &out)
	return out, err
}

// SetOption sets an option of the agent: at once if it runs, else at its next start. The
// ids protocol.ConfigMode and protocol.ConfigModel name the mode and the model of every
// agent. The event config_options says what became of it.
func (s *Session) SetOption(ctx context.Context, id string, value protocol.OptionValue) (protocol.SetOptionResponse, error) {
	var out protocol.SetOptionResponse
	err := s.do(ctx, "set option", http.MethodPatch, "/options", nil, protocol.SetOptionRequest{ConfigID: id, Value: value}, &out)
	return out, err
}

// SetOption is Session.SetOption. It is repeated only until it may have arrived: after that,
// it could undo a change of somebody else.
func (s *Stream) SetOption(ctx context.Context, id string, value protocol.OptionValue) (protocol.SetOptionResponse, error) {
	var out protocol.SetOptionResponse
	_, err := s.repeat(ctx, command{
		op: "set option", kind: protocol.CommandSetOption, data: protocol.SetOptionRequest{ConfigID: id, Value: value}, out: &out,
		request: func(ctx context.Context) (err error) { out, err = s.session.SetOption(ctx, id, value); return err },
	})
	return out, err
}
