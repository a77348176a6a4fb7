package worker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sessionhub/protocol"
)

const pngHead = "\x89PNG\r\n\x1a\n"

// attach sends an attachment in parts of size bytes.
func (s *scene) attach(id, name, mediaType, data string, size int) {
	s.h.t.Helper()
	for i := 0; i*size < len(data); i++ {
		s.h.send(protocol.FrameAttachment, protocol.WorkerAttachment{
			SessionID: s.id, Assignment: s.assignment, AttachmentID: id, Name: name, MediaType: mediaType, Size: int64(len(data)), Index: i,
			Data: []byte(data[i*size : min(len(data), (i+1)*size)]),
		})
	}
}

// withFiles is a message that has the agent say what it was given.
func withFiles(id string, attachments ...string) protocol.MessageData {
	blocks := []any{map[string]string{"type": "text", "text": "blocks"}}
	for _, a := range attachments {
		blocks = append(blocks, protocol.AttachmentBlock{Type: protocol.BlockAttachment, AttachmentID: a, Name: "called " + a})
	}
	return protocol.MessageData{MessageID: id, Content: protocol.Marshal(blocks), UserID: "u"}
}

// given is what the agent was given with a message: the blocks behind the text, and the note
// at the end.
func (s *scene) given(id string) (blocks []map[string]any, note map[string]any) {
	s.h.t.Helper()
	if c := s.complete(id); c.Error != nil {
		s.h.t.Fatalf("message %s: %s", id, protocol.Marshal(c))
	}
	var line struct {
		Params struct{ Prompt []map[string]any }
	}
	if err := json.Unmarshal([]byte(s.text(id)), &line); err != nil || len(line.Params.Prompt) < 3 {
		s.h.t.Fatalf("message %s: %v: %s", id, err, s.text(id))
	}
	last := len(line.Params.Prompt) - 1
	return line.Params.Prompt[1:last], line.Params.Prompt[last]
}

// fileOf is the path of the file that a block links to.
func fileOf(t *testing.T, block map[string]any) string {
	t.Helper()
	u, err := url.Parse(block["uri"].(string))
	if err != nil || u.Scheme != "file" || block["type"] != "resource_link" {
		t.Fatalf("no link to a file: %v", block)
	}
	return u.Path
}

// An agent without eyes gets a file, which no other user can read, outside of its working
// directory. The file goes with the session, and has the same path in the next assignment.
func TestAgentGetsAttachmentsAsFiles(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := start(t, nil)
	s := h.assign("plain")
	data := pngHead + strings.Repeat("0123456789", 100)
	s.attach("f_1", "a photo é.png", "image/png", data, 300)
	s.command(protocol.WorkerMessage, withFiles("m1", "f_1"))
	given, note := s.given("m1")
	block := given[0]
	path := fileOf(t, block)
	if _, typed := block["mimeType"]; typed || block["name"] != "a photo é.png" || block["size"] != float64(len(data)) {
		t.Errorf("the agent was given %v", block)
	}
	want := fmt.Sprintf("\n\n<attached_files>\n%s (image/png, %d bytes)\n</attached_files>", path, len(data))
	if note["type"] != "text" || note["text"] != want || !reflect.DeepEqual(note["annotations"], map[string]any{"audience": []any{"assistant"}}) {
		t.Errorf("the note is %v, want %q for the assistant", note, want)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != data {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if strings.HasPrefix(path, h.worker.cfg.Root) || !strings.HasPrefix(path, os.Getenv("TMPDIR")) {
		t.Errorf("the file is %s", path)
	}
	for dir := filepath.Dir(path); dir != os.Getenv("TMPDIR"); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, info.Mode(), err)
		}
	}
	s.close()
	s.released()
	if _, err := os.Stat(filepath.Dir(filepath.Dir(path))); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	again := h.assign("plain")
	again.attach("f_1", "a photo é.png", "image/png", data, 1<<20)
	again.command(protocol.WorkerMessage, withFiles("m2", "f_1"))
	given, _ = again.given("m2")
	if now := fileOf(t, given[0]); now != path {
		t.Errorf("the file is %s, and was %s", now, path)
	}
}

// An agent with eyes gets a picture itself, unless its model would refuse it.
func TestAgentGetsAttachedPictures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := start(t, nil, "sees")
	s := h.assign("sees")
	s.attach("f_1", "a.png", "image/png", pngHead, 100)
	s.attach("f_2", "b.png", "image/png", pngHead+strings.Repeat("x", 4_000_000), 1<<20)
	s.attach("f_3", "c.heic", "image/heic", "\x00\x00\x00\x18ftypheic", 100)
	s.attach("f_4", "d.txt", "text/plain", "text", 100)
	s.command(protocol.WorkerMessage, withFiles("m1", "f_1", "f_2", "f_3", "f_4"))
	given, note := s.given("m1")
	if given[0]["type"] != "image" || given[0]["mimeType"] != "image/png" || given[0]["data"] != base64.StdEncoding.EncodeToString([]byte(pngHead)) {
		t.Errorf("the picture came as %v", given[0])
	}
	for _, block := range given[1:] {
		fileOf(t, block)
	}
	// Its model may have no eyes: the note names the picture too.
	if text := note["text"].(string); strings.Count(text, "\n") != 7 || !strings.Contains(text, "/f_1/a.png (image/png, 8 bytes)\n") || !strings.Contains(text, "/f_4/d.txt (text/plain, 4 bytes)\n") {
		t.Errorf("the note is %q", text)
	}
}

// What did not come whole fails its message, and the next one runs.
func TestIncompleteAttachment(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := start(t, nil)
	s := h.assign("plain")
	part := func(a protocol.WorkerAttachment) {
		a.SessionID, a.Assignment, a.AttachmentID, a.Size = s.id, s.assignment, "f_1", 8
		if a.Name == "" {
			a.Name = "a"
		}
		h.send(protocol.FrameAttachment, a)
	}
	for i, parts := range [][]protocol.WorkerAttachment{
		nil,
		{{Data: []byte("1234")}},
		{{Data: []byte("1234")}, {Index: 2, Data: []byte("5678")}},
		{{Data: []byte("123456789")}},
		{{Index: 1, Data: []byte("5678")}},
		{{Name: "../out", Data: []byte("12345678")}},
		{{Name: "..", Data: []byte("12345678")}},
		{{Name: `c:\out`, Data: []byte("12345678")}},
		{{Name: strings.Repeat("n", 256), Data: []byte("12345678")}},
	} {
		for _, p := range parts {
			part(p)
		}
		id := "m" + string(rune('a'+i))
		s.command(protocol.WorkerMessage, withFiles(id, "f_1"))
		c := s.complete(id)
		if c.Error == nil || c.Error.Message != `the attachment "called f_1" did not reach the worker` {
			t.Errorf("%d: complete %s", i, protocol.Marshal(c))
		}
	}
	if out, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*", "out")); len(out) > 0 {
		t.Errorf("a file outside of its folder: %v", out)
	}
	part(protocol.WorkerAttachment{Data: []byte("1234")}) // anew
	part(protocol.WorkerAttachment{Index: 1, Data: []byte("5678")})
	s.command(protocol.WorkerMessage, withFiles("last", "f_1"))
	given, _ := s.given("last")
	if got, err := os.ReadFile(fileOf(t, given[0])); err != nil || !bytes.Equal(got, []byte("12345678")) {
		t.Errorf("the file has %q, %v", got, err)
	}
}

// In a folder for all users, another one can have made the place of the files.
func TestForeignFolderForAttachments(t *testing.T) {
	for name, make := range map[string]func(root string) error{
		"readable for all": func(root string) error { return os.Mkdir(root, 0o755) },
		"a link":           func(root string) error { return os.Symlink(t.TempDir(), root) },
		"a file":           func(root string) error { return os.WriteFile(root, nil, 0o600) },
	} {
		root := filepath.Join(t.TempDir(), "root")
		if err := make(root); err != nil {
			t.Fatal(err)
		}
		if err := private(root); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
