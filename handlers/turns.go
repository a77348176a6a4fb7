package handlers

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

func (s *Server) history(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	cursor, err := protocol.ParseCursor(c.Query("after"))
	if err != nil {
		return err
	}
	limit, err := queryLimit(c, 1000)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.History(ctx, snap.State.Info.SessionID, cursor, limit)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

func (s *Server) postMessage(c *fiber.Ctx) error {
	return s.command(c, auth.ScopeWrite, protocol.CommandMessage, fiber.StatusAccepted)
}

func (s *Server) postApprove(c *fiber.Ctx) error {
	return s.command(c, auth.ScopeApprove, protocol.CommandApprove, fiber.StatusOK)
}

func (s *Server) postCancel(c *fiber.Ctx) error {
	return s.command(c, auth.ScopeWrite, protocol.CommandCancel, fiber.StatusAccepted)
}

// command runs a command that came as an HTTP request.
func (s *Server) command(c *fiber.Ctx, scope auth.Scope, t protocol.CommandType, status int) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, scope)
	if err != nil {
		return err
	}
	raw := rawBody{}
	if err := s.body(c, &raw); err != nil {
		return err
	}
	answer, err := s.run(ctx, who, snap.State.Info.SessionID, t, raw.json)
	s.countCommand(t, err)
	if err != nil {
		return err
	}
	return send(c, status, answer)
}

// countCommand counts a command and what became of it.
func (s *Server) countCommand(t protocol.CommandType, err error) {
	var code protocol.Code
	if err != nil {
		code = toAnswer(err).code
	}
	s.cfg.Metrics.Command(t, code)
}

// rawBody takes a body as it is, after body's checks.
type rawBody struct{ json []byte }

func (r *rawBody) UnmarshalJSON(b []byte) error {
	r.json = append([]byte(nil), b...)
	return nil
}

// commandScopes is what each command needs; auth and ping need nothing more
// than the stream they come on.
var commandScopes = map[protocol.CommandType]auth.Scope{
	protocol.CommandMessage: auth.ScopeWrite,
	protocol.CommandApprove: auth.ScopeApprove,
	protocol.CommandCancel:  auth.ScopeWrite,
}

// run carries a command out, whichever way it came, and audits it.
func (s *Server) run(ctx context.Context, who caller, id string, t protocol.CommandType, data []byte) (any, error) {
	if need := commandScopes[t]; !who.scope.Contains(need) {
		return nil, deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; %s needs %q", who.scope, t, need)
	}
	read := func(v any) error {
		if len(data) == 0 {
			return nil
		}
		return decode(data, v, "the data of "+string(t))
	}
	switch t {
	case protocol.CommandMessage:
		var r protocol.MessageRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return s.cfg.Hub.Message(ctx, id, who.user, r)
	case protocol.CommandApprove:
		var r protocol.ApproveRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		chosen, err := s.cfg.Hub.Approve(ctx, id, who.user, r)
		if err == nil { // here, so that no way in goes without it
			s.audit("approval answered", who, id, "interaction", chosen.InteractionID, "option", chosen.OptionID)
		}
		return chosen, err
	case protocol.CommandCancel:
		var r protocol.CancelRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return protocol.Empty{}, s.cfg.Hub.Cancel(ctx, id, r)
	}
	return nil, refuse(protocol.CodeInvalidRequest, "unknown command %q", t)
}

func (s *Server) listApprovals(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Approvals(ctx, snap.State.Info.SessionID)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}
