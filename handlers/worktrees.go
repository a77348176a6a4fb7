package handlers

import (
	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// prepareWorktree serves POST /api/worktrees.
func (s *Server) prepareWorktree(c *fiber.Ctx) error {
	who, err := s.admitUser(c, auth.ScopeCreate)
	if err != nil {
		return err
	}
	var r protocol.PrepareWorktreeRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	user := who.user
	if r.UserID != "" && r.UserID != user {
		if !who.service {
			return refuse(protocol.CodeForbidden, "this key may create sessions for the user %q only", who.user)
		}
		user = r.UserID
	}
	ctx, cancel := workerTimeout()
	defer cancel()
	out, err := s.cfg.Hub.Worktrees.Prepare(ctx, user, r)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

// getWorktree serves GET /api/sessions/:id/worktree.
func (s *Server) getWorktree(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Worktrees.Status(ctx, snap.State)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

// postWorktree serves POST /api/sessions/:id/worktree. A merge changes files outside of the
// session's own directory, so it needs more than the scope for messages.
func (s *Server) postWorktree(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeWrite|auth.ScopeFiles)
	if err != nil {
		return err
	}
	var r protocol.WorktreeActionRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	out, err := s.cfg.Hub.Worktrees.Act(ctx, snap.State, r)
	if err != nil {
		return err
	}
	s.audit("worktree "+string(r.Action), who, snap.State.Info.SessionID, "branch", out.Branch)
	return send(c, fiber.StatusOK, out)
}
