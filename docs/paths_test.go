package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pagesOfPaths send a reader to files of the repository, by their names from its top.
var pagesOfPaths = []string{"../CONTRIBUTING.md", "../docs/ARCHITECTURE.md", "../docs/GLOSSARY.md"}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	// A name with a slash, or with the ending of a file that lies at the top.
	filePath = regexp.MustCompile(`^(?:\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*/)+[A-Za-z0-9_.-]*$|^[A-Za-z0-9_-]+\.(?:md|go|yaml|json|mod|mjs|ts)$`)
)

// pathsOf lists the names on a page that look like a file or folder of the repository:
// those whose first part is there, and every name of a file.
func pathsOf(t *testing.T, page string) []string {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range codeSpan.FindAllStringSubmatch(string(raw), -1) {
		name := m[1]
		if !filePath.MatchString(name) {
			continue
		}
		first, _, _ := strings.Cut(name, "/")
		if _, err := os.Stat(filepath.Join("..", first)); err != nil && path.Ext(name) == "" {
			continue // a module, a media type, an ACP method
		}
		all = append(all, name)
	}
	return all
}

// A page that names a file which was moved sends its reader nowhere. It happened with
// every change of a folder: the table of questions named files that had been split.
func TestPagesNameFilesThatExist(t *testing.T) {
	for _, page := range pagesOfPaths {
		seen := 0
		for _, name := range pathsOf(t, page) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names `%s`, which does not exist", strings.TrimPrefix(page, "../"), name)
			}
			seen++
		}
		if seen == 0 && !strings.HasSuffix(page, "GLOSSARY.md") {
			t.Errorf("%s names no file: the test does not see them", page)
		}
	}
}

// Each hop of "The data's way through the house" names a file and what to look for in
// it: a function, a method or a type.
func TestHopsOfTheDataExist(t *testing.T) {
	raw, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(raw), "\n## The data's way through the house\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		t.Fatal("docs/ARCHITECTURE.md has no section of the data's way")
	}
	hops := regexp.MustCompile("(?m)^\\| \\d+ \\| `([^`]+)` \\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1)
	if len(hops) < 30 {
		t.Errorf("%d hops: the test does not see all of them", len(hops))
	}
	for _, hop := range hops {
		source, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(hop[1])))
		if err != nil {
			t.Errorf("hop %s: %v", hop[2], err)
			continue
		}
		// A function, a method, a type, or a method of an interface: its parameters have types.
		declared := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type )` + hop[2] + `\b|^\t` + hop[2] + `\(\w+ `)
		if !declared.Match(source) {
			t.Errorf("%s declares no %s", hop[1], hop[2])
		}
	}
}

// A link between pages leads somewhere.
func TestLinksOfPagesExist(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md")
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	seen := 0
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d links: the test does not see them", seen)
	}
}
