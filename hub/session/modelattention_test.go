package session

import (
	"slices"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// attended is what the model knows of the user's attention: how many events were logged, and
// the seq of the last one that called for it.
type attended struct{ logged, asked uint64 }

// attend holds a step to what marks are promised: a session is unread from a question or the
// end of its work on, until the user acts on it or has read so far.
func (m *model) attend(before *State, in Input, change Change) {
	want := before.Unread
	switch in := in.(type) {
	case InMessage, InApprove, *InAnswer:
		want = false
	case *InSeen:
		want = want && in.Seq < m.attended.asked
	}
	open := map[string]bool{}
	for _, e := range change.Events {
		switch e.Type {
		case protocol.EventToolApproval, protocol.EventElicitation:
			open[fields(e.Data)("interactionId")] = true
		case protocol.EventApprovalResolved, protocol.EventElicitationResolved:
			delete(open, fields(e.Data)("interactionId"))
		case protocol.EventComplete:
			if end := m.r.s.LastEnd; end == nil || !end.At.Equal(m.r.now.Truncate(1e6)) {
				m.t.Fatalf("a turn has ended, and the state says %+v", end)
			}
		}
	}
	worked := []protocol.Status{protocol.StatusStarting, protocol.StatusRunning, protocol.StatusRequiresAction}
	rests := []protocol.Status{protocol.StatusIdle, protocol.StatusEnded, protocol.StatusFailed}
	now := m.r.s.Status.Status
	calls := len(open) > 0 || slices.Contains(worked, before.Status.Status) && slices.Contains(rests, now) ||
		before.Status.Status == protocol.StatusQueued && now == protocol.StatusFailed
	if want = want || calls; m.r.s.Unread != want {
		m.t.Fatalf("%T: unread is %v, want %v: %+v", in, m.r.s.Unread, want, m.r.s)
	}
	noted := false
	for _, n := range change.Notes {
		if n.Key == AttentionNote {
			m.attended.asked, noted = m.attended.logged+uint64(n.Event)+1, true
		}
	}
	if noted != calls {
		m.t.Fatalf("%T: noted is %v, though the step calls for attention: %v", in, noted, calls)
	}
	m.attended.logged += uint64(len(change.Events))
	if mark, ok := in.(InMark); ok {
		s := m.r.s
		if mark.Pinned != nil && s.Pinned != *mark.Pinned || mark.Archived != nil && s.Archived != *mark.Archived || len(change.Events) > 0 {
			m.t.Fatalf("a mark was not kept: %+v", s)
		}
	} else if m.r.s.Pinned != before.Pinned || !before.Archived && m.r.s.Archived {
		m.t.Fatalf("%T has marked the session", in)
	}
}

// user is what somebody who reads does: to look at the log, or to mark the session.
func (m *model) user(t *rapid.T, input string) Input {
	if input == "seen" {
		return &InSeen{Seq: rapid.Uint64Range(0, m.attended.logged).Draw(t, "seq"), Asked: m.attended.asked}
	}
	mark := func(name string) *bool {
		return rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(t, name)
	}
	return InMark{Pinned: mark("pinned"), Archived: mark("archived")}
}
