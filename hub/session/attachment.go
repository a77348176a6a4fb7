package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sessionhub/protocol"
)

// Attachment is a file that a user has added to the session. Its bytes lie in Parts parts
// beside the session's logs, under AttachmentKey, for as long as the session.
type Attachment struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"` // in bytes
	Parts     int    `json:"parts"`
	// Used says that a message refers to it: its worker needs the bytes.
	Used bool `json:"used,omitempty"`
}

// AttachmentKey is the key of a part of an attachment. index counts from 0. It never equals
// a PartKey, which ends in a number: a worker chooses the ids of its questions.
func AttachmentKey(id string, index int) string {
	return "attachment/" + strconv.Itoa(index) + "/" + id + "."
}

// Attachments are the files of a session.
type Attachments []Attachment

// ByID finds an attachment. The error is ErrNotFound.
func (all Attachments) ByID(id string) (Attachment, error) {
	i := slices.IndexFunc(all, func(a Attachment) bool { return a.ID == id })
	if i < 0 {
		return Attachment{}, fmt.Errorf("attachment %q: %w", Clip(id), ErrNotFound)
	}
	return all[i], nil
}

// Bytes is the size of all attachments.
func (all Attachments) Bytes() (n int64) {
	for _, a := range all {
		n += a.Size
	}
	return n
}

// CheckAttach says why the session cannot get one more attachment of so many bytes, or nil.
// maxBytes bounds all its attachments together. ErrTooLarge; or the error of State.Ended.
func CheckAttach(s *State, size, maxBytes int64) error {
	switch had := s.Attachments.Bytes(); {
	case s.Closed != "":
		return s.Ended()
	case len(s.Attachments) >= protocol.MaxAttachments:
		return fmt.Errorf("%w: the session has %d attachments, which is the most", ErrTooLarge, protocol.MaxAttachments)
	case had+size > maxBytes:
		return fmt.Errorf("%w: the session has %d bytes of attachments, and with %d more they are over the %d of --max-attachments-bytes",
			ErrTooLarge, had, size, maxBytes)
	}
	return nil
}

// InAttach adds an attachment to the session. Data is all of its bytes. They are cut into
// parts. MaxBytes bounds all attachments of the session together.
type InAttach struct {
	ID, Name, MediaType string
	Data                []byte
	MaxBytes            int64
	Used                bool // a message of the session refers to it already: in a fork
}

func (in InAttach) apply(st *step) error {
	s := st.s
	if err := CheckAttach(s, int64(len(in.Data)), in.MaxBytes); err != nil {
		return err
	}
	a := Attachment{ID: in.ID, Name: in.Name, MediaType: in.MediaType, Size: int64(len(in.Data)), Used: in.Used}
	for part := range slices.Chunk(in.Data, protocol.AttachmentPartBytes) {
		st.parts = append(st.parts, Part{Key: AttachmentKey(in.ID, a.Parts), Data: part})
		a.Parts++
	}
	s.Attachments = append(slices.Clip(s.Attachments), a)
	return nil
}

// Fill returns the content with what is known of the attachments that it refers to.
// ErrNotFound: there is no such attachment.
func (all Attachments) Fill(content json.RawMessage) (json.RawMessage, error) {
	filled, _, err := all.fill(content)
	return filled, err
}

// fill is Fill. It also returns the ids.
func (all Attachments) fill(content json.RawMessage) (filled json.RawMessage, ids []string, err error) {
	filled, err = protocol.MapAttachments(content, func(at int, b protocol.AttachmentBlock) (json.RawMessage, error) {
		a, err := all.ByID(b.AttachmentID)
		if err != nil {
			return nil, fmt.Errorf("content[%d]: the session has no %w", at, err)
		}
		ids = append(ids, a.ID)
		return protocol.Marshal(protocol.AttachmentBlock{
			Type: protocol.BlockAttachment, AttachmentID: a.ID, Name: a.Name, MediaType: a.MediaType, Size: a.Size,
		}), nil
	})
	return filled, ids, err
}

// refer is Attachments.Fill for a message that the session takes: its worker will need the
// attachments.
func (st *step) refer(content json.RawMessage) (json.RawMessage, error) {
	filled, ids, err := st.s.Attachments.fill(content)
	if err != nil || len(ids) == 0 {
		return filled, err
	}
	st.s.Attachments = slices.Clone(st.s.Attachments)
	for i := range st.s.Attachments {
		a := &st.s.Attachments[i]
		a.Used = a.Used || slices.Contains(ids, a.ID)
	}
	return filled, nil
}

// Used are the attachments that a message has referred to.
func (all Attachments) Used() (used Attachments) {
	for _, a := range all {
		if a.Used {
			used = append(used, a)
		}
	}
	return used
}

// CheckAttachmentName checks the name of a file from outside: a name without a path, which
// people can read. ErrInvalid.
func CheckAttachmentName(name string) error {
	if err := CheckName("name", name, protocol.MaxAttachmentNameBytes); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: name is not UTF-8", ErrInvalid)
	case strings.ContainsAny(name, `/\`) || name == "." || name == "..":
		return fmt.Errorf("%w: name must be the name of a file, without a path", ErrInvalid)
	case strings.ContainsFunc(name, misleads):
		return fmt.Errorf("%w: name holds a character that changes the direction of writing, or breaks the line", ErrInvalid)
	}
	return nil
}

// misleads reports whether a character makes a name look like another one (Unicode, UAX #9:
// embeddings, overrides and isolates; and the separators of lines).
func misleads(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// InUndeliverable ends a turn whose message no link can write: an attachment is gone, or
// does not reach a worker of an earlier version. The link has not begun to write it. Nothing
// changes if another message runs.
type InUndeliverable struct {
	Command uint64
	Detail  string // for people
}

func (in InUndeliverable) apply(st *step) error {
	s := st.s
	if turn, ok := s.Turn(); !ok || turn.Command != in.Command {
		return nil
	}
	queue{st}.unsteer()
	st.complete(0, protocol.CompleteData{StopReason: protocol.StopError, Error: &protocol.TurnError{
		Code: protocol.TurnAgentFailed, Message: in.Detail,
	}})
	s.Finished, s.Running = s.Running, 0
	st.rest()
	return nil
}
