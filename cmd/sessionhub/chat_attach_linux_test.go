package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A file goes with the next message, and only with that. What cannot be attached is said, and
// the chat goes on.
func TestChatAttachesFiles(t *testing.T) {
	s := startServer(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("read me"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := sit(t, []string{"XDG_STATE_HOME=" + t.TempDir(), "HOME=" + dir, "TMPDIR=" + t.TempDir()}, "chat", "--hub", s.URL)
	p.expect("idle · websocket")
	p.press("/attach ~/none.txt\r")
	p.expect("Could not attach")
	p.press("/attach " + dir + "\r")
	p.expect("it is no file")
	p.press("/attach ~/notes.txt\r")
	p.expect("attached to the next message: notes.txt (text/plain, 7 bytes)")
	p.expect("1 attached")
	p.press("look at this\r")
	p.expect("(attachment) notes.txt (text/plain, 7 bytes)")
	p.expect("[notes.txt](file:///")
	p.expect("idle · websocket")
	p.press("/attach ~/notes.txt\r")
	p.expect("1 attached")
	p.press("/attach\r")
	p.expect("1 files taken back")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
}
