package handlers

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// listOptions answers with the options of the session's agent.
func (s *Server) listOptions(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Options(ctx, snap.State.Info.SessionID)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

func (s *Server) patchOptions(c *fiber.Ctx) error {
	return s.command(c, auth.ScopeWrite, protocol.CommandSetOption, fiber.StatusAccepted)
}

// setOption sets an option, and audits it: it can be the end of the agent's questions.
func (s *Server) setOption(ctx context.Context, who caller, id string, r protocol.SetOptionRequest) (protocol.SetOptionResponse, error) {
	set, err := s.cfg.Hub.SetOption(ctx, id, who.user, r, who.scope.Contains(auth.ScopeApprove))
	if err == nil {
		s.audit("option set", who, id, "option", set.ConfigID, "value", set.Value.String())
	}
	return set, err
}
