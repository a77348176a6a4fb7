package fleet

import (
	"context"
	"errors"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// writer sends the worker the frames that it lacks.
type writer struct{ *link }

// write sends the frames that are due until the link ends.
func (w writer) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			if ctx.Err() != nil {
				return nil // a write now would cut the connection before the error frame
			}
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// send writes a frame. A worker that does not read gets as much time as one that does not
// speak. An error is a writeError, unless ctx has ended.
func (w writer) send(ctx context.Context, t protocol.FrameType, data any) error {
	if err := ctx.Err(); err != nil {
		return err // as in write
	}
	limit, cancel := context.WithTimeout(ctx, w.fleet.Timers.MostSilence())
	defer cancel()
	err := w.writeFrame(limit, t, data)
	if err != nil && ctx.Err() == nil {
		return writeError{err}
	}
	return err
}

// writeError is the failure of a write to the worker.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// hearRest is how long the reader goes on after a failed write.
const hearRest = time.Second

// brokenBy is the failed write after which nothing more can be sent; nil if there was
// none.
func (w writer) brokenBy() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// endFor ends the link for the reason that ended a goroutine that writes. After a failed
// write, frames that the worker sent before are still stored, for at most leaveTimeout. A
// worker that leaves hangs up right after its last frame, and never repeats a release.
// heardAll is closed when the reader has ended.
func (w writer) endFor(ctx context.Context, reason error, heardAll <-chan struct{}) {
	var failed writeError
	if !errors.As(reason, &failed) {
		w.end(reason)
		return
	}
	w.mu.Lock()
	if w.broken == nil {
		w.broken = failed.error
	}
	w.mu.Unlock()
	w.answers.abandon()
	late := time.NewTimer(leaveTimeout)
	defer late.Stop()
	select {
	case <-heardAll:
	case <-time.After(hearRest):
	case <-ctx.Done():
	}
	w.close(context.Cause(ctx)) // ends the reader
	select {
	case <-late.C:
	case <-ctx.Done(): // all is stored
	}
	w.end(failed.error)
}

// writeFrame writes a frame. It waits until no other goroutine writes.
func (w writer) writeFrame(ctx context.Context, t protocol.FrameType, data any) error {
	select {
	case w.pen <- struct{}{}:
		defer func() { <-w.pen }()
		return w.conn.WriteFrame(ctx, protocol.NewFrame(t, data))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush sends the ping, acknowledgements and answers that are due. Then it sends each
// dirty session its acknowledgement and the commands that the worker lacks.
func (w writer) flush(ctx context.Context) error {
	w.mu.Lock()
	acks, ping, quiet := w.acks, w.life.ping, w.checkSilence
	w.acks, w.life.ping, w.checkSilence = nil, false, false
	revoked, problems := w.answers.takeLocked()
	dirty := make([]*heldSession, 0, len(w.dirty))
	for id := range w.dirty {
		if s := w.sessions[id]; s != nil {
			dirty = append(dirty, s)
		}
	}
	clear(w.dirty)
	w.mu.Unlock()

	if ping {
		if err := w.send(ctx, protocol.FramePing, protocol.Empty{}); err != nil {
			return err
		}
	}
	for _, a := range acks {
		if err := w.send(ctx, protocol.FrameAck, a); err != nil {
			return err
		}
	}
	for _, r := range revoked {
		if err := w.send(ctx, protocol.FrameRevoke, r); err != nil {
			return err
		}
	}
	for _, p := range problems {
		if err := w.send(ctx, protocol.FrameError, p); err != nil {
			return err
		}
	}
	if n := len(revoked) + len(problems); n > 0 {
		w.answers.sent(n)
	}
	for _, s := range dirty {
		if err := w.flushSession(ctx, s); err != nil {
			return err
		}
	}
	if quiet {
		w.tellSilent(ctx, time.Now())
	}
	return nil
}

func (w writer) flushSession(ctx context.Context, s *heldSession) error {
	w.mu.Lock()
	stored, finished, ack, assigned, changed := s.stored, s.finished, s.stored > s.acked, s.assigned, s.changed && !s.released
	after := min(s.message, s.command)
	s.acked, s.changed = s.stored, false
	w.mu.Unlock()
	if ack {
		if err := w.send(ctx, protocol.FrameAck, protocol.EventAck{SessionID: s.id, Assignment: s.assignment, N: stored}); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	if w.fleet.store.Available(s.id) != nil { // sessions of other servers do not wait for this one
		w.retry(s)
		return nil
	}
	snap, is, err := lossFinder(w).readFate(ctx, s, known{stored: stored, finished: finished, seen: s.seen})
	switch is {
	case notOurs:
		w.drop(ctx, s, true)
		return nil
	case wasLost:
		return w.unlessAway(s, w.lostByStore(ctx, s))
	case doneLost: // the worker will not repeat its done
		return w.unlessAway(s, lossFinder(w).inputAfterEvents(ctx, s, session.InDone{Message: finished}))
	}
	if err == nil {
		snap, err = w.hand(ctx, s, snap)
	}
	var commands []session.Command
	if err == nil {
		if snap.State.Closed == "" {
			s.seen = protocol.Cursor{Epoch: snap.Epoch(), Seq: snap.Last}
		}
		if w.lacksCommands(s, snap.State) {
			commands, err = w.fleet.store.Commands(ctx, s.id, after)
		}
	}
	var servers []protocol.MCPServer
	if err == nil && !assigned {
		servers, err = MCPOf(ctx, w.fleet.store, snap.State)
	}
	switch {
	case errors.Is(err, session.ErrNotDue), errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrNotFound):
		w.markChanged(s)
		return nil
	case err != nil:
		w.retry(s)
		return nil
	}
	if !assigned {
		if err := w.sendAssign(ctx, s, snap.State, servers); err != nil {
			return err
		}
	}
	if wait, err := (deliverer{w}).delivering(ctx, s, snap, commands, handOf(snap.State)); wait || err != nil {
		return err
	}
	for _, c := range commands {
		if more, err := w.sendWhole(ctx, s, snap.State, c); err != nil || !more {
			return err
		}
	}
	return nil
}

// sendWhole sends a command with what it refers to. more is false if the session must be read
// again first.
func (w writer) sendWhole(ctx context.Context, s *heldSession, state *session.State, c session.Command) (more bool, err error) {
	whole := c
	if w.isDue(s, c, handOf(state)) {
		whole, err = (deliverer{w}).withAttachments(ctx, s, state, c)
	}
	var why undeliverable
	if errors.As(err, &why) {
		if err = (deliverer{w}).refuseMessage(ctx, s, c, why); err == nil {
			w.markChanged(s)
			return false, nil
		}
	}
	switch {
	case errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrNotFound):
		w.markChanged(s)
		return false, nil
	case err != nil:
		w.retry(s)
		return false, nil
	}
	return true, w.sendCommand(ctx, s, whole, handOf(state))
}

// unlessAway passes on an error that ends the link. errAway does not: the session is read
// again later.
func (w writer) unlessAway(s *heldSession, err error) error {
	if errors.Is(err, errAway) {
		w.retry(s)
		return nil
	}
	return err
}

// retry has the writer read the session again after StoreRetry.
func (w writer) retry(s *heldSession) { w.alarms.After(engine.StoreRetry, func() { w.markChanged(s) }) }

// sendAssign writes the assignment. servers are the session's MCP servers, with their secrets.
func (w writer) sendAssign(ctx context.Context, s *heldSession, state *session.State, servers []protocol.MCPServer) error {
	w.mu.Lock()
	s.assigned = true
	w.mu.Unlock()
	i, options, agentSession := state.Info, state.AgentOptions(), state.AgentSession
	if state.ForkOf != "" {
		agentSession = state.ForkOf
	}
	options.MCPServers = servers
	worktree := ""
	if i.Worktree != nil {
		worktree = i.Worktree.ID
	}
	return w.send(ctx, protocol.FrameAssign, protocol.Assign{
		SessionID: s.id, Assignment: s.assignment, Provider: i.Provider, WorkingDirectory: i.WorkingDirectory,
		AgentOptions: options, UserID: i.UserID, Message: state.Finished, Resume: s.assignment > 1,
		AgentSession: agentSession, Load: state.Load == session.LoadWanted, Fork: state.ForkOf != "", Worktree: worktree,
	})
}

// isDueLocked reports whether a command must be sent now. Only the link that a message was
// handed to sends it.
func (s *heldSession) isDueLocked(c session.Command, handed hand) bool {
	if c.Type != protocol.WorkerMessage {
		return c.Seq > s.command
	}
	return c.Seq == handed.message && c.Seq > s.message && s.handed == handed
}

func (w writer) isDue(s *heldSession, c session.Command, handed hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.isDueLocked(c, handed)
}

// takeDue reports whether a command must be sent now, and notes it as sent.
func (w writer) takeDue(s *heldSession, c session.Command, handed hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := s.isDueLocked(c, handed)
	if c.Type != protocol.WorkerMessage {
		s.command = max(s.command, c.Seq)
		return due
	}
	if !due {
		return false
	}
	s.message, s.turn, s.event, s.silent = c.Seq, messageOf(c), time.Now(), false
	return true
}

// sendCommand sends a command that has not been sent. A message is sent only when it is
// due; other commands are sent at once.
func (w writer) sendCommand(ctx context.Context, s *heldSession, c session.Command, due hand) error {
	if err := ctx.Err(); err != nil {
		return err // before takeDue notes the command as sent
	}
	if !w.takeDue(s, c, due) {
		return nil
	}
	if c.Type == protocol.WorkerClose {
		// The capacity is free when the worker answers, or after the grace.
		w.alarms.After(w.fleet.Timers.CloseGrace, func() { _ = w.guard(func() error { w.closeOverdue(s); return nil }) })
	}
	return w.send(ctx, protocol.FrameCommand, protocol.WorkerCommand{
		SessionID: s.id, Assignment: s.assignment, Seq: c.Seq, Type: c.Type, Data: c.Data,
	})
}

// closeOverdue frees the capacity of a session whose worker has not answered a close.
func (w writer) closeOverdue(s *heldSession) {
	if w.forgotten(s) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.fleet.Timers.WorkerLease)
	defer cancel()
	// Lost, not released: the worker may have begun a message that crossed the close.
	in := session.FromWorker{Assignment: s.assignment, Input: session.InLost{}}
	if _, _, err := w.fleet.engine.Change(ctx, s.id, in, nil); err != nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrFenced) {
		w.fleet.Log.Error("free the place of a closed session", "session", s.id, "error", err)
	}
	w.drop(ctx, s, true)
}
