package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sessionhub/protocol"
)

// library is a worker's root with a session's directory, and something beside it that no
// request may reach.
type library struct {
	testing.TB
	w    *Worker
	root string
	dir  string
}

const secret = "nobody may read this"

func newLibrary(t testing.TB) *library {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &library{TB: t, root: root, dir: filepath.Join(root, "session")}
	l.write("secret.txt", secret)
	l.write("session/a.txt", "letters")
	l.write("session/src/Main.go", "package main")
	l.write("session/src/deep/main_test.go", "package main")
	l.write("session/.git/config", "[core]")
	for link, to := range map[string]string{
		"up": "..", "secret": "../secret.txt", "passwd": "/etc/passwd", "loop": "loop", "inside": "src/Main.go", "chain": "up/secret.txt",
	} {
		if err := os.Symlink(to, filepath.Join(l.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(l.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l.w, err = New(Config{Root: root, Providers: map[string]Provider{"demo": {Command: "true"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.w.Close() })
	return l
}

func (l *library) write(name, text string) {
	l.Helper()
	path := filepath.Join(l.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
}

// request gives the result of a request, and the code of its error.
func request[T any](l *library, method protocol.WorkerMethod, params any) (out T, code protocol.Code) {
	l.Helper()
	r := l.w.answer(protocol.WorkerRequest{ID: "1", Method: method, WorkingDirectory: l.dir, Params: protocol.Marshal(params)})
	if r.Error != nil {
		return out, r.Error.Code
	}
	if err := protocol.Decode(r.Result, &out); err != nil {
		l.Fatal(err)
	}
	return out, ""
}

func (l *library) read(path string) (string, protocol.Code) {
	l.Helper()
	piece, code := request[protocol.FilePiece](l, protocol.MethodFilesRead, protocol.FilesReadParams{Path: path, Limit: 100})
	return string(piece.Data), code
}

func TestReadStaysInTheDirectory(t *testing.T) {
	l := newLibrary(t)
	for path, want := range map[string]string{
		"a.txt": "letters", "./src/../a.txt": "letters", filepath.Join(l.dir, "a.txt"): "letters", "inside": "package main",
	} {
		if got, code := l.read(path); got != want {
			t.Errorf("%s: %q, %s", path, got, code)
		}
	}
	for path, want := range map[string]protocol.Code{
		"../secret.txt": protocol.CodePathNotAllowed, "up/secret.txt": protocol.CodePathNotAllowed, "secret": protocol.CodePathNotAllowed,
		"chain": protocol.CodePathNotAllowed, "passwd": protocol.CodePathNotAllowed, "/etc/passwd": protocol.CodePathNotAllowed,
		filepath.Join(l.root, "secret.txt"): protocol.CodePathNotAllowed, l.dir + "/../secret.txt": protocol.CodePathNotAllowed,
		l.dir + "2/x": protocol.CodePathNotAllowed, "loop": protocol.CodePathNotAllowed,
		"src": protocol.CodeInvalidRequest, "": protocol.CodeInvalidRequest, "pipe": protocol.CodeInvalidRequest, "a\x00b": protocol.CodeInvalidRequest,
		strings.Repeat("x", 5000): protocol.CodeInvalidRequest,
		"none":                    protocol.CodeNotFound, "a.txt/b": protocol.CodeNotFound,
	} {
		if got, code := l.read(path); code != want {
			t.Errorf("%.60q: %q, code %q, want %q", path, got, code, want)
		}
	}
	if os.Getuid() != 0 {
		l.write("session/mine", "")
		_ = os.Chmod(filepath.Join(l.dir, "mine"), 0)
		if _, code := l.read("mine"); code != protocol.CodePathNotAllowed {
			t.Errorf("a file that the worker may not read: %q", code)
		}
	}
}

// A file becomes a link to the secret and back, as often as it can be done.
func TestReadWhileALinkMoves(t *testing.T) {
	l := newLibrary(t)
	a, b := filepath.Join(l.dir, "good"), filepath.Join(l.dir, "evil")
	l.write("session/good/text", "fine")
	if err := os.Symlink("..", b); err != nil {
		t.Fatal(err)
	}
	l.write("text", secret)
	moving := filepath.Join(l.dir, "moving")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			from := []string{a, b}[n%2]
			_ = os.Rename(from, moving)
			_ = os.Rename(moving, from)
		}
	})
	fine := 0
	for range 3000 {
		switch got, _ := l.read("moving/text"); got {
		case "fine":
			fine++
		case "":
		default:
			t.Errorf("%q was read", got)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d of 3000 reads met the good directory", fine)
}

// The session's directory itself becomes a link out of the worker's root and back.
func TestReadWhileTheDirectoryMoves(t *testing.T) {
	l := newLibrary(t)
	inside := filepath.Join(l.root, "inside")
	l.write("inside/session/text", "fine")
	outside := filepath.Join(l.root, "outside")
	l.write("outside/text", secret)
	l.write("outside/here", "")
	w, err := New(Config{Root: inside, Providers: map[string]Provider{"demo": {Command: "true"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	l.w, l.dir = w, filepath.Join(inside, "session")
	link, kept := filepath.Join(inside, "link"), filepath.Join(inside, "kept")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(l.dir, kept)
			_ = os.Rename(link, l.dir)
			_ = os.Rename(l.dir, link)
			_ = os.Rename(kept, l.dir)
		}
	})
	met := map[string]int{}
	for range 5000 {
		got, code := l.read("text")
		met[got+string(code)]++
		if list, _ := request[protocol.FileList](l, protocol.MethodFilesList, protocol.FilesListParams{}); len(list.Entries) == 2 {
			met["a list of the outside"]++
		}
		if found, _ := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "here"}); len(found.Files) > 0 {
			met["a file found outside"]++
		}
	}
	close(stop)
	wg.Wait()
	if t.Log(met); met[secret]+met["a list of the outside"]+met["a file found outside"] > 0 {
		t.Error("the outside was read")
	}
}

func TestReadInPieces(t *testing.T) {
	l := newLibrary(t)
	text := strings.Repeat("0123456789", 60_000)
	l.write("session/long", text)
	var all strings.Builder
	for all.Len() < len(text) {
		piece, code := request[protocol.FilePiece](l, protocol.MethodFilesRead, protocol.FilesReadParams{Path: "long", Offset: int64(all.Len()), Limit: 1 << 30})
		if code != "" || len(piece.Data) == 0 || len(piece.Data) > protocol.MaxFilePiece || piece.Size != int64(len(text)) {
			t.Fatalf("at %d: %d bytes of %d, %s", all.Len(), len(piece.Data), piece.Size, code)
		}
		all.Write(piece.Data)
	}
	if all.String() != text {
		t.Error("the pieces are not the file")
	}
	if piece, code := request[protocol.FilePiece](l, protocol.MethodFilesRead, protocol.FilesReadParams{Path: "long", Offset: 1 << 40, Limit: 1}); code != "" || len(piece.Data) != 0 {
		t.Errorf("behind the end: %d bytes, %s", len(piece.Data), code)
	}
	if _, code := request[protocol.FilePiece](l, protocol.MethodFilesRead, protocol.FilesReadParams{Path: "long", Offset: -1}); code != protocol.CodeInvalidRequest {
		t.Errorf("before the beginning: %q", code)
	}
}

func TestMediaTypes(t *testing.T) {
	for head, want := range map[string]string{
		"":                                  "text/plain; charset=utf-8",
		"<html><script>alert(1)</script>":   "text/plain; charset=utf-8",
		"<svg onload=alert(1)>":             "text/plain; charset=utf-8",
		"\x89PNG\r\n\x1a\n":                 "image/png",
		"\x00\x01":                          "application/octet-stream",
		"caf\xe9":                           "application/octet-stream",
		strings.Repeat("é", 8<<10)[:8<<10]:  "text/plain; charset=utf-8",
		strings.Repeat("€", 8<<10)[:8<<10]:  "text/plain; charset=utf-8",
		strings.Repeat("x", 8191) + "\xff":  "text/plain; charset=utf-8", // as the beginning of a letter
		strings.Repeat("x", 8000) + "\xffx": "application/octet-stream",
	} {
		if got := mediaTypeOf([]byte(head)); got != want {
			t.Errorf("%.20q: %s, want %s", head, got, want)
		}
	}
}

func TestListInPages(t *testing.T) {
	l := newLibrary(t)
	const many = 12_000 // more than is kept at a time
	for i := range many {
		l.write(fmt.Sprintf("session/many/f%05d", i), "")
	}
	_ = os.WriteFile(filepath.Join(l.dir, "many", "bad\xff"), nil, 0o600)
	var after string
	seen := 0
	for {
		page, code := request[protocol.FileList](l, protocol.MethodFilesList, protocol.FilesListParams{Path: "many", After: after})
		if code != "" || page.Path != "many" {
			t.Fatalf("%+v, %s", page, code)
		}
		for _, e := range page.Entries {
			if want := fmt.Sprintf("f%05d", seen); e.Name != want || e.Type != protocol.FileRegular {
				t.Fatalf("entry %d is %+v", seen, e)
			}
			seen++
		}
		if after = page.NextAfter; after == "" {
			break
		}
	}
	if seen != many {
		t.Errorf("%d entries, want %d", seen, many)
	}
	types := make(map[string]protocol.FileType)
	page, _ := request[protocol.FileList](l, protocol.MethodFilesList, protocol.FilesListParams{})
	for _, e := range page.Entries {
		types[e.Name] = e.Type
	}
	for name, want := range map[string]protocol.FileType{"a.txt": "file", "src": "directory", "passwd": "link", "pipe": "other"} {
		if types[name] != want {
			t.Errorf("%s is a %s", name, types[name])
		}
	}
	for path, want := range map[string]protocol.Code{"up": protocol.CodePathNotAllowed, "..": protocol.CodePathNotAllowed, "a.txt": protocol.CodeInvalidRequest, "none": protocol.CodeNotFound} {
		if _, code := request[protocol.FileList](l, protocol.MethodFilesList, protocol.FilesListParams{Path: path}); code != want {
			t.Errorf("list %s: %q, want %q", path, code, want)
		}
	}
}

func TestSearch(t *testing.T) {
	l := newLibrary(t)
	for query, want := range map[string]string{
		"main":   "src/Main.go src/deep/main_test.go",
		"MAIN.G": "src/Main.go src/deep/main_test.go",
		"sdmt":   "src/deep/main_test.go",
		"a.txt":  "a.txt",
		"config": "", // of .git
		"zzz":    "",
	} {
		found, code := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: query})
		var names []string
		for _, f := range found.Files {
			names = append(names, f.Path)
		}
		if got := strings.Join(names, " "); got != want || code != "" {
			t.Errorf("%s: %q %s, want %q", query, got, code, want)
		}
	}
	if found, _ := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "a", Limit: 2}); len(found.Files) != 2 {
		t.Errorf("%d files, want 2", len(found.Files))
	}
	if _, code := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: strings.Repeat("a", 257)}); code != protocol.CodeInvalidRequest {
		t.Errorf("a long query: %q", code)
	}
}

func TestRequestIsOfADirectoryBelowTheRoot(t *testing.T) {
	l := newLibrary(t)
	for dir, want := range map[string]protocol.Code{"/etc": protocol.CodeWorkingDirectory, "..": protocol.CodeWorkingDirectory, "none": protocol.CodeWorkingDirectory, "session": ""} {
		l.dir = dir
		if _, code := request[protocol.FileList](l, protocol.MethodFilesList, protocol.FilesListParams{}); code != want {
			t.Errorf("files of %s: %q, want %q", dir, code, want)
		}
	}
	l.dir = ""
	if _, code := request[protocol.FileList](l, "files.delete", nil); code != protocol.CodeNotImplemented {
		t.Errorf("an unknown method: %q", code)
	}
	r := l.w.answer(protocol.WorkerRequest{ID: "1", Method: protocol.MethodFilesList, Params: []byte(`{"limit":"x"}`)})
	if r.Error == nil || r.Error.Code != protocol.CodeInvalidRequest {
		t.Errorf("bad parameters: %+v", r)
	}
}

// Whatever a path says, what is read lies in the directory.
func FuzzLocalPath(f *testing.F) {
	for _, p := range []string{"", "a", "../b", "/etc/passwd", "a/../../b", "a//b/./c", "\x00", "..\\b", "a/..", "/"} {
		f.Add(p)
	}
	const dir = "/srv/session"
	f.Fuzz(func(t *testing.T, p string) {
		name, err := localPath(dir, p)
		var refused *protocol.RequestError
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("%q: %v", p, err)
			}
			return
		}
		if !within(dir, filepath.Join(dir, name)) || !filepath.IsLocal(name) || (name != "." && !fs.ValidPath(name)) {
			t.Fatalf("%q leads to %q", p, name)
		}
	})
}
