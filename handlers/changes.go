package handlers

import (
	"strconv"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// listChanges serves GET /api/sessions/:id/changes.
func (s *Server) listChanges(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Files.Changes(ctx, snap.State)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

// fileDiff serves GET /api/sessions/:id/changes/diff.
func (s *Server) fileDiff(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	p := protocol.GitDiffParams{Path: c.Query("path"), OldPath: c.Query("oldPath")}
	if p.Path == "" {
		return refuse(protocol.CodeInvalidRequest, "path is missing: want the path of a changed file")
	}
	if text := c.Query("offset"); text != "" {
		if p.Offset, err = strconv.Atoi(text); err != nil || p.Offset < 0 || p.Offset > protocol.MaxDiffBytes {
			return refuse(protocol.CodeInvalidRequest, "offset must be a number from 0 to %d", protocol.MaxDiffBytes)
		}
	}
	out, err := s.cfg.Hub.Files.Diff(ctx, snap.State, p)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}
