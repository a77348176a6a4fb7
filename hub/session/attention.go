package session

import (
	"strings"
	"time"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// A session calls for its user's attention when it asks something and when its work ends.
// Unread then says so until the user has looked. The state does not know the seqs of its
// events, so the note AttentionNote keeps the seq of the last such event.

// AttentionNote is the key of the note at the last event that made the session unread.
const AttentionNote = "attention"

// TurnEnd says how the last turn ended. At is in UTC.
type TurnEnd struct {
	At         time.Time `json:"at"`
	StopReason string    `json:"stopReason"`
}

// AtRest reports whether nothing runs, waits to run, or is asked.
func AtRest(s *State) bool { return atRest(s.Status.Status) }

func atRest(st protocol.Status) bool {
	return st == protocol.StatusIdle || st == protocol.StatusEnded || st == protocol.StatusFailed
}

// attention is a step's part about the user's attention.
type attention struct{ *step }

// note notes whether a step calls for the user's attention. before is the state before
// the step. A history that is loaded or copied calls for none.
func (st attention) note(before *State) {
	s := st.s
	if before.Load == "" {
		for _, e := range st.events {
			var end protocol.CompleteData
			if e.Type == protocol.EventComplete && protocol.Decode(e.Data, &end) == nil {
				s.LastEnd = &TurnEnd{At: st.now.UTC().Truncate(time.Millisecond), StopReason: end.StopReason}
			}
		}
	}
	if asksMore(before, s) || before.Load == "" && stops(before.Status.Status, s.Status.Status) {
		s.Unread = true
		st.step.note(AttentionNote, "")
	}
}

// stops reports whether work that ran or was about to run is over. A message that was taken
// back while it waited is no work.
func stops(before, after protocol.Status) bool {
	switch before {
	case protocol.StatusRunning, protocol.StatusRequiresAction, protocol.StatusStarting:
		return atRest(after)
	case protocol.StatusQueued:
		return after == protocol.StatusFailed
	}
	return false
}

// asksMore reports whether a question is open that was not open before.
func asksMore(before, after *State) bool {
	for _, a := range after.Approvals {
		if before.Pending(a.Data.InteractionID) < 0 {
			return true
		}
	}
	for _, e := range after.Elicitations {
		if before.Elicitation(e.Data.InteractionID) < 0 {
			return true
		}
	}
	return false
}

// OldestQuestion is when the oldest open question was asked. ok is false if none is open.
func OldestQuestion(s *State) (at time.Time, ok bool) {
	if len(s.Approvals) > 0 {
		at, ok = s.Approvals[0].Asked, true
	}
	if len(s.Elicitations) > 0 && (!ok || s.Elicitations[0].Asked.Before(at)) {
		at, ok = s.Elicitations[0].Asked, true
	}
	return at, ok
}

// InSeen says that the user has read the log up to Seq. Asked is the seq of AttentionNote's
// event as of the state that is decided on; 0: there is none. An ended session can be read,
// too.
type InSeen struct{ Seq, Asked uint64 }

func (in *InSeen) apply(st *step) error {
	if st.s.Closed == protocol.ClosedDeleted {
		return ErrNotFound
	}
	if in.Seq >= in.Asked {
		st.s.Unread = false
	}
	return nil
}

// InMark pins and archives a session, or takes that back; nil leaves it as it is. An ended
// session can be marked, too. A mark logs no event. With a Name, the session is named in the
// same step.
type InMark struct {
	Pinned, Archived *bool
	Name             *InRename
}

func (in InMark) apply(st *step) error {
	if st.s.Closed == protocol.ClosedDeleted {
		return ErrNotFound
	}
	if in.Name != nil {
		if err := in.Name.apply(st); err != nil {
			return err
		}
	}
	if in.Pinned != nil {
		st.s.Pinned = *in.Pinned
	}
	if in.Archived != nil {
		st.s.Archived = *in.Archived
	}
	return nil
}

// acted notes that the user has acted on the session, and so has seen it.
func (st attention) acted() { st.s.Unread = false }

// maxBeginning is the most of a first message that is kept for a search, in bytes.
const maxBeginning = 200

// begin keeps what a search and a title need of the session's first message with a text.
func begin(s *State, content []byte) {
	if s.FirstLine != "" {
		return
	}
	s.FirstLine = firstLine(content)
	said := firstText(content)
	said = text.Line(strings.ToValidUTF8(said[:min(len(said), 4*maxBeginning)], ""))
	if len(said) > len(s.FirstLine) {
		s.Beginning = strings.ToValidUTF8(said[:min(len(said), maxBeginning)], "")
	}
}

// Matches reports whether the title or the beginning of the first message has a text in it.
// The text must be in lower case.
func Matches(s *State, lower string) bool {
	for _, own := range []string{s.Title(), s.FirstLine, s.Beginning} {
		if strings.Contains(strings.ToLower(own), lower) {
			return true
		}
	}
	return false
}
