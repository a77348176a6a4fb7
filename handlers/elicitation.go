package handlers

import (
	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

func (s *Server) postAnswer(c *fiber.Ctx) error {
	return s.command(c, auth.ScopeApprove, protocol.CommandAnswer, fiber.StatusOK)
}

func (s *Server) listElicitations(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Elicitations(ctx, snap.State.Info.SessionID)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}
