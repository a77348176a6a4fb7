package handlers

import (
	"context"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
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
	cursor, err := cursorOf(c)
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

// postMessage takes a message. It reads the session once, both to check the caller and to
// add the message. If the body has not arrived yet, it checks the caller before it reads
// the body.
func (s *Server) postMessage(c *fiber.Ctx) error {
	who, err := s.authenticate(c)
	if err != nil {
		return err
	}
	id := c.Params("id")
	if who.opens(id) != nil || !who.scope.Contains(auth.ScopeWrite) || !incomingOf(c).readArrived(s.cfg.MaxMessageBytes) {
		return s.command(c, auth.ScopeWrite, protocol.CommandMessage, fiber.StatusAccepted)
	}
	ctx, cancel := timeout()
	defer cancel()
	judged := false
	may := hub.Admission{Check: func(snap hub.Snapshot) error {
		judged = true
		return s.admits(who, snap, auth.ScopeWrite)
	}}
	if !who.service {
		may.Owner = who.user
	}
	var answer any
	raw := rawBody{}
	read := s.body(c, &raw)
	if err = read; err == nil {
		answer, err = s.run(ctx, who, id, protocol.CommandMessage, raw.json, may)
	}
	if err != nil && !judged { // a caller without the right gets that answer and no other
		if _, _, denied := s.admitTo(ctx, c, who, auth.ScopeWrite); denied != nil {
			return denied
		}
	}
	if read == nil {
		s.countCommand(protocol.CommandMessage, err)
	}
	if err != nil {
		return err
	}
	return send(c, fiber.StatusAccepted, answer)
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
	answer, err := s.run(ctx, who, snap.State.Info.SessionID, t, raw.json, hub.Admission{})
	s.countCommand(t, err)
	if err != nil {
		return err
	}
	return send(c, status, answer)
}

// countCommand counts a command by its result.
func (s *Server) countCommand(t protocol.CommandType, err error) {
	var code protocol.Code
	if err != nil {
		code = toAnswer(err).code
	}
	s.cfg.Metrics.Command(t, code)
}

// rawBody takes a body as it is, after the checks of Server.body.
type rawBody struct{ json []byte }

func (r *rawBody) UnmarshalJSON(b []byte) error {
	r.json = append([]byte(nil), b...)
	return nil
}

// commandScopes names the scopes that each command needs. auth and ping need only their
// stream. rename is answered with the session, and queue with what its messages say: both
// need the scope to read that, too.
var commandScopes = map[protocol.CommandType]auth.Scope{
	protocol.CommandMessage:   auth.ScopeWrite,
	protocol.CommandApprove:   auth.ScopeApprove,
	protocol.CommandAnswer:    auth.ScopeApprove,
	protocol.CommandCancel:    auth.ScopeWrite,
	protocol.CommandSetOption: auth.ScopeWrite,
	protocol.CommandRename:    auth.ScopeRead | auth.ScopeWrite,
	protocol.CommandQueue:     auth.ScopeRead | auth.ScopeWrite,
}

// run carries out a command that came by HTTP or WebSocket, and audits it. may checks a
// caller who was not checked before: a message alone needs that.
func (s *Server) run(ctx context.Context, who caller, id string, t protocol.CommandType, data []byte, may hub.Admission) (any, error) {
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
		return s.cfg.Hub.Message(ctx, id, who.user, r, may)
	case protocol.CommandApprove:
		var r protocol.ApproveRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		if r.ReasonAsMessage && !who.scope.Contains(auth.ScopeWrite) {
			return nil, deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; a reason as a message needs %q", who.scope, auth.ScopeWrite)
		}
		chosen, err := s.cfg.Hub.Approve(ctx, id, who.user, r)
		if err == nil { // here, so that every way in is audited
			s.audit("approval answered", who, id, "interaction", chosen.InteractionID, "option", chosen.OptionID)
		}
		return chosen, err
	case protocol.CommandAnswer:
		var r protocol.AnswerRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		answered, err := s.cfg.Hub.Answer(ctx, id, who.user, r)
		if err == nil { // without the content, which can be private
			s.audit("question answered", who, id, "interaction", answered.InteractionID, "action", answered.Action)
		}
		return answered, err
	case protocol.CommandCancel:
		var r protocol.CancelRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return protocol.Empty{}, s.cfg.Hub.Cancel(ctx, id, r)
	case protocol.CommandRename:
		var r protocol.RenameRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return s.cfg.Hub.Rename(ctx, id, who.user, r)
	case protocol.CommandSetOption:
		var r protocol.SetOptionRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return s.setOption(ctx, who, id, r)
	case protocol.CommandQueue:
		var r protocol.QueueRequest
		if err := read(&r); err != nil {
			return nil, err
		}
		return s.cfg.Hub.ChangeQueue(ctx, id, who.user, r)
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

// approvalContent answers with the whole of a pending question. It notes that the caller
// has it, which an answer that allows needs. HEAD reads nothing.
func (s *Server) approvalContent(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	interaction, err := url.PathUnescape(c.Params("interactionId"))
	if err != nil {
		return refuse(protocol.CodeInvalidRequest, "the interactionId in the path is badly escaped")
	}
	reader := who.user
	if c.Method() == fiber.MethodHead {
		reader = ""
	}
	raw, err := s.cfg.Hub.ApprovalContent(ctx, snap.State.Info.SessionID, interaction, reader)
	if err != nil {
		return err
	}
	return sendJSON(c, fiber.StatusOK, raw)
}
