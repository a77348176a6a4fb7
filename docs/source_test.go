package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// source is what the Go files of package protocol declare. It is read from the
// text, since a list in the code could itself lack what somebody has added.
type source struct {
	consts  map[string][]string // type name -> values of its string constants
	structs map[string][]string // file name -> names of its exported structs
}

func readSource(t *testing.T) source {
	t.Helper()
	s := source{consts: map[string][]string{}, structs: map[string][]string{}}
	names, err := filepath.Glob("../protocol/*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no source of package protocol: %v", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				for _, spec := range g.Specs {
					s.add(t, filepath.Base(name), spec)
				}
			}
		}
	}
	return s
}

func (s source) add(t *testing.T, file string, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if _, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
			s.structs[file] = append(s.structs[file], spec.Name.Name)
		}
	case *ast.ValueSpec:
		kind, ok := spec.Type.(*ast.Ident)
		if !ok {
			return
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				s.consts[kind.Name] = append(s.consts[kind.Name], text)
			}
		}
	}
}

// tree is a YAML document, or a part of one.
type tree map[string]any

func parse(t *testing.T, text []byte) tree {
	t.Helper()
	var out tree
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at goes down by keys and fails where one is missing.
func (n tree) at(t *testing.T, keys ...string) tree {
	t.Helper()
	for i, k := range keys {
		next, ok := n[k].(tree)
		if !ok {
			t.Fatalf("there is no %s", strings.Join(keys[:i+1], "/"))
		}
		n = next
	}
	return n
}

func (n tree) keys() []string { return slices.Sorted(maps.Keys(n)) }

// texts is a list of strings under a key; none where the key is missing.
func (n tree) texts(key string) []string {
	var out []string
	list, _ := n[key].([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// same fails unless both hold the same strings, in any order, each once.
func same(t *testing.T, what string, documented, coded []string) {
	t.Helper()
	slices.Sort(documented)
	coded = slices.Sorted(slices.Values(coded))
	if len(coded) == 0 {
		t.Errorf("%s: the code has none: the test looks at the wrong place", what)
	}
	for _, d := range documented {
		if !slices.Contains(coded, d) {
			t.Errorf("%s: %q is documented, and not in the code", what, d)
		}
	}
	for _, c := range coded {
		if !slices.Contains(documented, c) {
			t.Errorf("%s: %q is in the code, and not documented", what, c)
		}
	}
	if len(documented) != len(slices.Compact(slices.Clone(documented))) {
		t.Errorf("%s: some are documented twice: %v", what, documented)
	}
}
