package app

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Bounds of the hub's rooms, its packages. Over them a type or a room holds a second
// noun that wants to be taken out.
const (
	maxMethods   = 25 // of a type, outside of tests
	maxRoomShare = 40 // percent of the hub's lines, outside of tests
)

func TestHubIsAHouseOfRooms(t *testing.T) {
	root := filepath.Join("..", "..")
	methods, lines, total := make(map[string]int), make(map[string]int), 0
	err := fs.WalkDir(os.DirFS(root), "hub", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(root, filepath.FromSlash(name)), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		room := path.Dir(name)
		n := files.File(file.Pos()).LineCount()
		lines[room] += n
		total += n
		return countMethods(file, room, methods)
	})
	if err != nil {
		t.Fatal(err)
	}
	// What is counted is there: a test of an empty folder would judge nothing.
	for _, name := range []string{"hub/store/valkey.relay", "hub/store.Reader", "hub/session.State"} {
		if methods[name] == 0 {
			t.Errorf("no method of %s was counted", name)
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods; %d is the most: take the second noun out of it", name, n, maxMethods)
		}
	}
	for room, n := range lines {
		if 100*n > maxRoomShare*total {
			t.Errorf("%s has %d of the hub's %d lines; %d %% is the most for a room", room, n, total, maxRoomShare)
		}
	}
}

// countMethods counts those that a file declares, by their type: of an interface too,
// without those that it takes from another one.
func countMethods(file *ast.File, room string, methods map[string]int) error {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				continue
			}
			name, err := receiver(d.Recv.List[0].Type)
			if err != nil {
				return fmt.Errorf("%s: method %s: %w", room, d.Name, err)
			}
			methods[room+"."+name]++
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				if in, ok := s.Type.(*ast.InterfaceType); ok {
					for _, m := range in.Methods.List {
						methods[room+"."+s.Name.Name] += len(m.Names)
					}
				}
			}
		}
	}
	return nil
}

// receiver is the name of a receiver's type: T of T, *T, T[A] and *T[A, B].
func receiver(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name, nil
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	}
	return "", fmt.Errorf("a receiver of %T", e)
}
