package app

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/client"
	"sessionhub/protocol"
)

// The Go client lists, finds and reads files, and follows a diff from page to page.
func TestClientReadsFilesAndChanges(t *testing.T) {
	root := t.TempDir()
	if out, err := exec.Command("git", "-C", root, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git: %v: %s", err, out)
	}
	text := strings.Repeat("a line of words\n", 40_000)
	if err := os.WriteFile(filepath.Join(root, "a b.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHub(t, "--workspace-root", root)
	c, _ := h.goClient()
	made := h.create(protocol.CreateRequest{})
	s, ctx := c.Session(made.SessionID, ""), t.Context()
	list, err := s.Files(ctx, "", "", 1)
	if err != nil || len(list.Entries) != 1 || list.NextAfter != ".git" {
		t.Fatalf("files: %+v, %v", list, err)
	}
	if list, err = s.Files(ctx, "", list.NextAfter, 0); err != nil || len(list.Entries) != 1 || list.Entries[0].Name != "a b.txt" {
		t.Errorf("files of the next page: %+v, %v", list, err)
	}
	if found, err := s.SearchFiles(ctx, "B.T", 5); err != nil || len(found.Files) != 1 || found.Files[0].Path != "a b.txt" {
		t.Errorf("search: %+v, %v", found, err)
	}
	body, err := s.File(ctx, "a b.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if raw, err := io.ReadAll(body); string(raw) != text || err != nil {
		t.Errorf("read %d bytes, %v", len(raw), err)
	}
	changes, err := s.Changes(ctx)
	if err != nil || len(changes.Files) != 1 || changes.Files[0].Path != "a b.txt" {
		t.Fatalf("changes: %+v, %v", changes, err)
	}
	var diff strings.Builder
	for offset, pages := 0, 1; ; pages++ {
		page, err := s.Diff(ctx, changes.Files[0], offset)
		if err != nil {
			t.Fatal(err)
		}
		diff.WriteString(page.Diff)
		if offset = page.NextOffset; offset == 0 {
			if pages < 2 || diff.Len() != page.Size || !strings.HasSuffix(diff.String(), "+a line of words\n") {
				t.Errorf("%d pages with %d bytes of %d", pages, diff.Len(), page.Size)
			}
			break
		}
	}
	var refused *client.Error
	if _, err := c.Session(made.SessionID, made.Token).Changes(ctx); !errors.As(err, &refused) || refused.Code != protocol.CodeScope {
		t.Errorf("changes by a token without the scope: %v", err)
	}
	if _, err := s.File(ctx, "../x"); !errors.As(err, &refused) || refused.Code != protocol.CodePathNotAllowed {
		t.Errorf("a path that leads out: %v", err)
	}
}
