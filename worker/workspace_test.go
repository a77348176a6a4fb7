package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolveDir(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(base, "real")
	for _, dir := range []string{"real/a/b", "real-too", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(real, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"root": real, "real/in": "a/b", "real/out": "../outside", "real/up": "..", "real/loop": "loop",
		"real/gone": "nowhere", "real/chain": "in/../../../outside",
	} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Root: filepath.Join(base, "root")} // itself a link
	for _, test := range []struct{ dir, want, refusal string }{
		{"", real, ""},
		{".", real, ""},
		{"a/b", real + "/a/b", ""},
		{"a/../a", real + "/a", ""},
		{"in", real + "/a/b", ""},
		{real + "/a", real + "/a", ""},
		{base + "/root/a", real + "/a", ""},
		{"..", "", "outside"},
		{"a/../../outside", "", "outside"},
		{"/", "", "outside"},
		{"/etc", "", "outside"},
		{base + "/real-too", "", "outside"},
		{base + "/nowhere", "", "outside"}, // and not "does not exist"
		{"out", "", "leads outside"},
		{"up", "", "leads outside"},
		{"up/real/a", real + "/a", ""}, // comes back
		{"chain", "", "leads outside"},
		{"loop", "", "cannot be resolved"},
		{"gone", "", "does not exist"},
		{"missing", "", "does not exist"},
		{"file", "", "not a directory"},
		{"file/x", "", "cannot be resolved"},
		{"a\x00b", "", "NUL"},
		{"a\xff", "", "UTF-8"},
		{strings.Repeat("a/", 2100), "", "longer than 4096"},
		{strings.Repeat("a", 300), "", "cannot be resolved"},
	} {
		got, err := c.ResolveDir(test.dir)
		if test.refusal == "" {
			if err != nil || got != test.want {
				t.Errorf("%q: %q, %v", test.dir, got, err)
			}
			continue
		}
		if !errors.Is(err, ErrWorkingDirectory) || !strings.Contains(err.Error(), test.refusal) {
			t.Errorf("%q: %q, %v", test.dir, got, err)
		}
	}
	c.Root = filepath.Join(base, "nowhere")
	if _, err := c.ResolveDir(""); err == nil || errors.Is(err, ErrWorkingDirectory) {
		t.Errorf("missing root: %v", err)
	}
}

func TestWorkspaceIsThatOfTheRealRoot(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, b := workspaceID(dir), workspaceID(link); a != b || len(a) != 16 {
		t.Errorf("%q and %q", a, b)
	}
	if workspaceID(dir) == workspaceID(t.TempDir()) {
		t.Error("two directories have one id")
	}
}
