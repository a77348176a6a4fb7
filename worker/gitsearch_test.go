package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestSearchLeavesOutWhatGitIgnores(t *testing.T) {
	l := newRepository(t)
	l.write("session/.gitignore", "/node_modules/\n*.log\n")
	l.write("session/node_modules/x/name.js", "x")
	l.write("session/name.log", "x")
	l.write("session/src/name.js", "x")
	l.write("session/namely/deep/x", "x")
	if err := os.Remove(filepath.Join(l.dir, "a.txt")); err != nil {
		t.Fatal(err)
	}
	found, _ := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "name"})
	var names []string
	for _, f := range found.Files {
		names = append(names, f.Path+" "+string(f.Type))
	}
	sameText(t, "found", strings.Join(names, "\n"), "namely directory\nsrc/name.js file\nnamely/deep directory\nnamely/deep/x file")
	if found, _ = request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "a.txt"}); len(found.Files) != 0 {
		t.Errorf("a file that is gone: %+v", found)
	}
	if found, _ = request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "inside"}); len(found.Files) != 1 || found.Files[0].Type != protocol.FileLink {
		t.Errorf("a link: %+v", found)
	}
}
