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

// getElicitation gives a pending question, also the whole of a private one. That has an
// address or a code to log in with, so nobody keeps it, and who may only read gets none.
func (s *Server) getElicitation(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeApprove)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Elicitation(ctx, snap.State.Info.SessionID, c.Params("interactionId"))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return send(c, fiber.StatusOK, out)
}
