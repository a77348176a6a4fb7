package handlers

import (
	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

func (s *Server) getQueue(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Queue(ctx, snap.State.Info.SessionID)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

func (s *Server) postQueue(c *fiber.Ctx) error {
	return s.command(c, commandScopes[protocol.CommandQueue], protocol.CommandQueue, fiber.StatusOK)
}
