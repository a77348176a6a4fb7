package docs_test

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// directModules reads those of go.mod that are not marked as indirect.
func directModules(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) v\S+$`)
	var all []string
	for _, m := range line.FindAllStringSubmatch(string(raw), -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// Who asks what a dependency is for finds it in docs/ARCHITECTURE.md, and no
// module there that is gone.
func TestPageOfDependencies(t *testing.T) {
	raw, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(raw), "\n## Dependencies\n")
	table, _, ends := strings.Cut(section, "\nOf the dashboard")
	if !found || !ends {
		t.Fatal("docs/ARCHITECTURE.md has no section of dependencies, or it ends elsewhere")
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+ \\|$").FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if want := directModules(t); !slices.Equal(listed, want) {
		t.Errorf("docs/ARCHITECTURE.md lists\n%s\nwant the direct modules of go.mod\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
}

// A module is direct if a file of ours imports it. `go mod tidy` says the same,
// but it needs modules that a build does not, and so the network.
func TestDirectModulesAreThoseThatAreImported(t *testing.T) {
	out, err := exec.Command("go", "list", "-f",
		`{{range .Imports}}{{.}} {{end}}{{range .TestImports}}{{.}} {{end}}{{range .XTestImports}}{{.}} {{end}}`, "sessionhub/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, out)
	}
	direct := directModules(t)
	imported := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
			continue // the standard library, or our own
		}
		i := slices.IndexFunc(direct, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
		if i < 0 {
			t.Errorf("%s is imported, and no direct module of go.mod has it", path)
			continue
		}
		imported[direct[i]] = true
	}
	if got := slices.Sorted(maps.Keys(imported)); !slices.Equal(got, direct) {
		t.Errorf("imported are\n%s\ndirect in go.mod\n%s", strings.Join(got, "\n"), strings.Join(direct, "\n"))
	}
}
