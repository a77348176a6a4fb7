package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// processesIn lists the processes whose working directory lies below root.
func processesIn(t *testing.T, root string) []string {
	t.Helper()
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("cannot list processes: %v", err)
	}
	var found []string
	for _, link := range links {
		if dir, err := os.Readlink(link); err == nil && within(root, strings.TrimSuffix(dir, " (deleted)")) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
			found = append(found, filepath.Base(filepath.Dir(link))+": "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

func assertNoProcess(t *testing.T, root string) {
	t.Helper()
	if left := processesIn(t, root); len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
}
