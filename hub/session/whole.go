package session

import (
	"fmt"
	"slices"
	"strconv"

	"sessionhub/protocol"
)

// Whole describes the whole of a pending question that its event shows in part. The
// content is a protocol.ApprovalContent, in Parts parts beside the session's logs. A
// Whole is a value: a change makes a new one.
type Whole struct {
	Bytes int  `json:"bytes"`
	Parts int  `json:"parts"`
	Rule  Rule `json:"rule"` // of the whole question: what "always" means

	// ReadBy are the last maxReaders users who have read it. Only they may give an
	// answer that allows.
	ReadBy []string `json:"readBy,omitempty"`
}

// maxReaders bounds Whole.ReadBy. A user who falls off the list must read it again.
const maxReaders = 64

// Upload counts the parts that a worker has sent of a question that it has not asked yet.
type Upload struct {
	InteractionID string `json:"interactionId"`
	Bytes         int    `json:"bytes"`
	Parts         int    `json:"parts"`
}

// PartKey is the key of a part of a question. index counts from 0.
func PartKey(interaction string, index int) string { return interaction + "/" + strconv.Itoa(index) }

// rule is the rule that an "always" on the question makes.
func (p PendingApproval) rule() Rule {
	if p.Whole != nil {
		return p.Whole.Rule
	}
	return RuleFor(p.Data)
}

// wholes are the parts of the questions of a step's session.
type wholes struct{ st *step }

// bytes is the size of the parts of all open questions.
func (w wholes) bytes() (n int) {
	for _, p := range w.st.s.Approvals {
		if p.Whole != nil {
			n += p.Whole.Bytes
		}
	}
	return n
}

// drop forgets the parts of a question.
func (w wholes) drop(interaction string, parts int) {
	for i := range parts {
		w.st.dropped = append(w.st.dropped, PartKey(interaction, i))
	}
}

// dropUpload forgets the parts of a question that will not be asked.
func (w wholes) dropUpload() {
	if up := w.st.s.Upload; up != nil {
		w.drop(up.InteractionID, up.Parts)
		w.st.s.Upload = nil
	}
}

// InContent is one part of a question that its worker is about to ask. The first part of
// a question drops the parts of an earlier one.
type InContent struct{ Data protocol.ApprovalContentData }

func (in InContent) apply(st *step) error {
	s, d := st.s, in.Data
	if _, ok := s.Turn(); !ok && !s.Background {
		return ErrNoTurn
	}
	if s.Pending(d.InteractionID) >= 0 || s.Elicitation(d.InteractionID) >= 0 {
		return ErrKnownInteraction
	}
	var up Upload
	if d.Index > 0 && s.Upload != nil && s.Upload.InteractionID == d.InteractionID {
		up = *s.Upload
	}
	if d.Index != up.Parts {
		return &Refusal{protocol.LinkInvalid, fmt.Sprintf("the part %d of the content of a question came as number %d", d.Index, up.Parts)}
	}
	up = Upload{InteractionID: d.InteractionID, Bytes: up.Bytes + len(d.Data), Parts: up.Parts + 1}
	if why := (wholes{st}).over(up.Bytes); why != "" {
		return &Refusal{protocol.LinkTooLarge, why}
	}
	if up.Parts == 1 {
		wholes{st}.dropUpload()
	}
	s.Upload = &up
	st.parts = append(st.parts, Part{Key: PartKey(d.InteractionID, d.Index), Data: d.Data})
	return nil
}

// over says why one more question cannot have so many bytes; empty: it can.
func (w wholes) over(bytes int) string {
	switch open := w.bytes(); {
	case bytes > protocol.MaxApprovalContent:
		return fmt.Sprintf("what is asked has %d bytes, over the %d that can be shown whole", bytes, protocol.MaxApprovalContent)
	case open+bytes > protocol.MaxApprovalContents:
		return fmt.Sprintf("what is asked has %d bytes, and the session's open questions have %d: together over the %d that can be kept",
			bytes, open, protocol.MaxApprovalContents)
	}
	return ""
}

// Pending finds a question by its interaction id. It gives the index in Approvals; -1: it
// is not pending.
func (s *State) Pending(interaction string) int {
	return slices.IndexFunc(s.Approvals, func(p PendingApproval) bool { return p.Data.InteractionID == interaction })
}

// take gives a question that is about to be logged its whole. refused says why the
// question cannot be asked: a part of it is missing.
func (w wholes) take(in InToolApproval) (whole *Whole, refused string) {
	s := w.st.s
	up := s.Upload
	switch {
	case in.Whole == nil:
	case in.Parts != nil:
		if refused = w.over(in.Whole.Bytes); refused == "" {
			whole = in.Whole
		}
	case up != nil && up.InteractionID == in.Data.InteractionID && up.Bytes == in.Whole.Bytes && up.Parts == in.Whole.Parts:
		whole, s.Upload = in.Whole, nil
	}
	w.dropUpload()
	if whole == nil {
		if !in.Data.Truncated {
			return nil, ""
		}
		if refused == "" {
			refused = w.over(in.Data.FullBytes)
		}
		if refused == "" {
			refused = "what is asked did not come whole from its worker"
		}
		return nil, refused
	}
	for i, part := range in.Parts {
		w.st.parts = append(w.st.parts, Part{Key: PartKey(in.Data.InteractionID, i), Data: part})
	}
	return whole, ""
}

// InContentRead notes that a user has read the whole of a question.
type InContentRead struct{ InteractionID, User string }

func (in InContentRead) apply(st *step) error {
	i := st.s.Pending(in.InteractionID)
	if i < 0 {
		return ErrNotPending
	}
	p := &st.s.Approvals[i]
	if p.Whole == nil || slices.Contains(p.Whole.ReadBy, in.User) {
		return nil
	}
	w := *p.Whole
	w.ReadBy = append(slices.Clone(w.ReadBy[max(0, len(w.ReadBy)+1-maxReaders):]), in.User)
	p.Whole = &w
	return nil
}

// unread refuses an answer that allows from a user who has not read the whole question.
// Any user may reject.
func (p PendingApproval) unread(kind, user string) error {
	if !p.Data.Truncated || kind == protocol.RejectOnce || kind == protocol.RejectAlways {
		return nil
	}
	if p.Whole != nil && slices.Contains(p.Whole.ReadBy, user) {
		return nil
	}
	return fmt.Errorf("%w: its event shows a part; read all %d bytes with GET approvals/{interactionId}/content first", ErrContentUnread, p.Data.FullBytes)
}

// ContentOf is the whole of a question that its event shows whole.
func ContentOf(a protocol.ToolApprovalData) protocol.ApprovalContent {
	return protocol.ApprovalContent{
		InteractionID: a.InteractionID, ToolCallID: a.ToolCallID, Title: a.Title, Kind: a.Kind,
		Input: a.Input, Content: a.Content, Options: a.Options,
	}
}
