package worker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// Bounds of what an agent gets in its prompt. Anything longer it gets as a link to a file.
const (
	maxInlineSound = 3_700_000
	maxInlineText  = 64 << 10
)

// folders keeps the attachments of this worker's sessions on the disk, each session's in a
// folder of its own that no other user of the machine can read. All methods may be called
// concurrently.
//
// A folder has the same path in each assignment of its session to this worker: the agent's
// history names it. It is removed when the assignment ends. The hub sends the attachments
// again with the next one.
type folders struct {
	worker string // immutable: its name
	root   string // immutable; shared with other workers of this user

	mu      sync.Mutex
	folders map[string]*session // by session: the assignment that has it now
}

// newFolders returns the folders of a worker by its name.
func newFolders(worker string) *folders {
	return &folders{
		worker: worker, root: filepath.Join(os.TempDir(), "sessionhub-"+strconv.Itoa(os.Getuid())), folders: make(map[string]*session),
	}
}

// received is an attachment that has come, or is coming.
type received struct {
	name, mediaType string
	size, got       int64
	parts           int
	path            string
	whole           bool
}

// folder makes the folder of a session for its present assignment. What another assignment
// left there is removed.
func (f *folders) folder(s *session) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.path(s.id)
	if f.folders[s.id] == s {
		return dir, nil
	}
	if err := private(f.root); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	f.folders[s.id] = s
	return dir, nil
}

func (f *folders) path(session string) string {
	sum := sha256.Sum256([]byte(f.worker + "\x00" + session))
	return filepath.Join(f.root, hex.EncodeToString(sum[:12]))
}

// remove removes a session's folder, unless a later assignment has it.
func (f *folders) remove(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folders[s.id] != s {
		return
	}
	delete(f.folders, s.id)
	if err := os.RemoveAll(f.path(s.id)); err != nil {
		s.log.Warn("remove the attachments of a session", "error", err)
	}
}

// private makes a folder that only this user can read, or checks that it is one. In a folder
// for all users another user could have made it.
func private(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !owned(info):
		return fmt.Errorf("%s is not a private folder of this user", dir)
	}
	return nil
}

var attachmentID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// attachments are those of one assignment. The link's reader writes them, and the runner
// reads them.
type attachments struct {
	mu   sync.Mutex
	over bool // the assignment has ended: nothing is kept any more
	all  map[string]*received
}

// dropAttachments removes the attachments of an assignment that ends. It may be called twice.
func (s *session) dropAttachments() {
	s.attachments.mu.Lock()
	s.attachments.over = true
	s.attachments.mu.Unlock()
	s.w.folders.remove(s)
}

// receive writes one part of an attachment to the disk. An attachment that cannot be written
// stays incomplete: the message that needs it fails, and says so.
func (s *session) receive(a protocol.WorkerAttachment) error {
	name := filepath.Base(a.Name)
	if !attachmentID.MatchString(a.AttachmentID) || name != a.Name || strings.ContainsAny(name, `/\`) || name == "." || name == ".." ||
		len(name) > protocol.MaxAttachmentNameBytes || a.Size <= 0 {
		return errors.New("an attachment has no name that a file could have, or no size")
	}
	x := &s.attachments
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return nil
	}
	r := x.all[a.AttachmentID]
	if a.Index == 0 {
		if r != nil && r.whole {
			return nil // sent again over another link
		}
		folder, err := s.w.folders.folder(s)
		if err != nil {
			return err
		}
		dir := filepath.Join(folder, a.AttachmentID)
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		r = &received{name: name, mediaType: a.MediaType, size: a.Size, path: filepath.Join(dir, name)}
		if x.all == nil {
			x.all = make(map[string]*received)
		}
		x.all[a.AttachmentID] = r
	}
	if r == nil || r.whole {
		return nil
	}
	if a.Index != r.parts || r.got+int64(len(a.Data)) > r.size {
		return fmt.Errorf("part %d of an attachment came as part %d", r.parts, a.Index)
	}
	flag := os.O_WRONLY | os.O_APPEND
	if a.Index == 0 {
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(r.path, flag, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(a.Data)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	r.parts++
	r.got += int64(len(a.Data))
	r.whole = r.got == r.size
	return nil
}

// find returns an attachment that is whole.
func (x *attachments) find(id string) (received, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.all[id]
	if r == nil || !r.whole {
		return received{}, false
	}
	return *r, true
}

// resolve replaces the attachments of a message by what the agent takes: a picture, a sound
// or a text in the prompt, or else a link to the file. Behind them the agent is told where
// the files lie. problem says, for people, why that is not possible.
func (s *session) resolve(content json.RawMessage, takes promptCapabilities) (resolved json.RawMessage, problem string) {
	var note strings.Builder
	resolved, err := protocol.MapAttachments(content, func(_ int, b protocol.AttachmentBlock) (json.RawMessage, error) {
		r, ok := s.attachments.find(b.AttachmentID)
		if !ok {
			return nil, fmt.Errorf("the attachment %q did not reach the worker", b.Name)
		}
		fmt.Fprintf(&note, "%s (%s, %d bytes)\n", r.path, r.mediaType, r.size)
		return r.block(takes)
	})
	if err != nil {
		return nil, err.Error()
	}
	if note.Len() > 0 {
		resolved = withNote(resolved, attachedFiles+note.String()+attachedFilesEnd)
	}
	return resolved, ""
}

// attachedFiles begins the note about the files of a message. It is in front of no other
// text, since agents take a command such as "/compact" at the begin of a message only. Some
// agents join the texts of a message, so it begins a line of its own.
const (
	attachedFiles    = "\n\n<attached_files>\n"
	attachedFilesEnd = "</attached_files>"
)

// withNote appends a text to a message. It is for the agent's model alone (ACP,
// "Annotations"): an agent that shows its history need not show it.
//
// Agents leave out content that they have said to take: qwen-code does so with a link to a
// file outside of the workspace, and with a picture if its model is not known to see. So the
// model is told of each file by a text, too.
func withNote(content json.RawMessage, note string) json.RawMessage {
	var blocks []json.RawMessage
	if json.Unmarshal(content, &blocks) != nil {
		return content // no attachment is in a text
	}
	return protocol.Marshal(append(blocks, protocol.Marshal(map[string]any{
		"type": "text", "text": note, "annotations": map[string][]string{"audience": {"assistant"}},
	})))
}

// block is the attachment as a content block of ACP ("Content").
//
// A link has no media type, which ACP leaves out if it is not known. opencode gives a file of
// a named type to its model as it is. Models refuse most types, and then each further
// message of the session. Without a type it reads the file and looks what it is.
func (r received) block(takes promptCapabilities) (json.RawMessage, error) {
	kind, _, _ := strings.Cut(r.mediaType, "/")
	uri := (&url.URL{Scheme: "file", Path: filepath.ToSlash(r.path)}).String()
	media := takes.Image && mediatype.ForModel(r.mediaType, r.size) || takes.Audio && kind == "audio" && r.size <= maxInlineSound
	if media || takes.EmbeddedContext && r.size <= maxInlineText {
		data, err := os.ReadFile(r.path)
		if err != nil {
			return nil, fmt.Errorf("the attachment %q cannot be read: %w", r.name, errors.Unwrap(err))
		}
		switch {
		case media:
			return protocol.Marshal(map[string]string{"type": kind, "mimeType": r.mediaType, "data": base64.StdEncoding.EncodeToString(data)}), nil
		case utf8.Valid(data) && !strings.Contains(string(data), "\x00"):
			return protocol.Marshal(map[string]any{"type": "resource", "resource": map[string]string{
				"uri": uri, "mimeType": r.mediaType, "text": string(data),
			}}), nil
		}
	}
	return protocol.Marshal(map[string]any{"type": "resource_link", "uri": uri, "name": r.name, "size": r.size}), nil
}
