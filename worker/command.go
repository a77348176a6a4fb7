package worker

import "sessionhub/protocol"

// onCommand handles a command of the hub. Commands come in the order of the link. They may
// come again after a reconnect.
func (s *session) onCommand(c protocol.WorkerCommand) {
	switch c.Type {
	case protocol.WorkerMessage:
		s.onMessage(c)
	case protocol.WorkerApproval:
		var approval protocol.ApprovalCommand
		switch {
		case !s.decode(c, &approval):
		case approval.MessageID == "" && s.forBackground(c.Seq):
			s.onApproval(&s.background.work, approval)
		case s.forTurn(c.Seq, approval.MessageID):
			s.onApproval(&s.turn.work, approval)
		}
	case protocol.WorkerElicitation:
		var answer protocol.ElicitationCommand
		switch {
		case !s.decode(c, &answer):
		case answer.MessageID == "" && s.forBackground(c.Seq):
			s.onElicitationAnswer(&s.background.work, answer)
		case s.forTurn(c.Seq, answer.MessageID):
			s.onElicitationAnswer(&s.turn.work, answer)
		}
	case protocol.WorkerCancel:
		var cancel protocol.CancelCommand
		switch {
		case !s.decode(c, &cancel):
		case cancel.MessageID == "" && s.forBackground(c.Seq):
			s.onBackgroundCancel()
		case s.forTurn(c.Seq, cancel.MessageID):
			s.onCancel()
		}
	case protocol.WorkerSetOption:
		var set protocol.SetOptionCommand
		if s.decode(c, &set) {
			s.onSetOption(c.Seq, set)
		}
	case protocol.WorkerSteer:
		var steer protocol.SteerCommand
		if s.decode(c, &steer) && s.forTurn(c.Seq, steer.Into) {
			s.onSteer(steer)
		}
	case protocol.WorkerClose:
		var why protocol.ClosedData
		if s.decode(c, &why) && why.Reason == protocol.ReleaseIdle {
			// Only the agent ends here. The session goes on, and its history stays.
			s.release(protocol.ReleaseIdle, true)
			s.leaving.final = true
			return
		}
		s.release(protocol.ReleaseClosed, false)
	default:
		s.log.Warn("hub sent an unknown command", "type", clip(string(c.Type), 64))
	}
}

func (s *session) decode(c protocol.WorkerCommand, v any) bool {
	if err := protocol.Decode(c.Data, v); err != nil {
		s.log.Warn("hub sent a command that cannot be read", "type", c.Type, "seq", c.Seq, "error", err)
		return false
	}
	return true
}

// forTurn reports whether an approval, a cancel or a steering is new and for the message under way. A
// command for another message is late.
func (s *session) forTurn(seq uint64, messageID string) bool {
	if s.turn == nil || messageID != s.turn.messageID || s.turn.seen[seq] {
		return false
	}
	s.turn.seen[seq] = true
	return true
}
