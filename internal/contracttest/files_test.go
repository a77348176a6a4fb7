package contracttest

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// shelf is a session with files in its directory.
func shelf(t *testing.T) session {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"outside.txt": "a secret", "s/a b.txt": "letters and words", "s/src/page.html": "<script>alert(1)</script>", "s/empty": "",
		"s/long": strings.Repeat("0123456789", 100_000),
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside.txt", filepath.Join(root, "s", "link")); err != nil {
		t.Fatal(err)
	}
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-service-1234567890"}, "--workspace-root", root)
	n.key = "key-service-1234567890"
	return n.create(`{"workingDirectory":"s"}`)
}

// files makes the path of a request about files.
func (s session) files(kind string, query ...string) string {
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return s.path + "/files" + kind + "?" + values.Encode()
}

func TestFilesNeedTheirScope(t *testing.T) {
	s := shelf(t)
	n := s.n
	mint := func(body string, header ...string) protocol.TokenResponse {
		t.Helper()
		return ok[protocol.TokenResponse](n, http.StatusCreated, "POST", s.path+"/token", body, header...)
	}
	if got := mint(`{}`).Scope; got != "read write approve" {
		t.Errorf("a key's token has the scope %q unless another is asked for", got)
	}
	n.refused(http.StatusForbidden, protocol.CodeScope, "POST", s.path+"/token", `{"scope":"read files"}`, s.bearer()...)
	reader := []string{"Authorization", "Bearer " + mint(`{"scope":"read"}`).Token}
	files := mint(`{"scope":"files read"}`)
	if files.Scope != "read files" {
		t.Errorf("scope %q", files.Scope)
	}
	for _, path := range []string{s.files(""), s.files("/content", "path", "a b.txt"), s.files("/search", "query", "a")} {
		n.refused(http.StatusForbidden, protocol.CodeScope, "GET", path, "", s.bearer()...)
		n.refused(http.StatusForbidden, protocol.CodeScope, "GET", path, "", reader...)
		n.refused(http.StatusUnauthorized, protocol.CodeUnauthorized, "GET", path, "", "Authorization", "Bearer x")
		if a := n.call("GET", path, "", "Authorization", "Bearer "+files.Token); a.StatusCode != http.StatusOK {
			t.Errorf("%s with the scope: %d %s", path, a.StatusCode, a.Body)
		}
	}
	n.refused(http.StatusForbidden, protocol.CodeScope, "POST", s.path+"/messages", `{"content":"x"}`, "Authorization", "Bearer "+files.Token)
	other := n.create(`{}`)
	n.refused(http.StatusNotFound, protocol.CodeNotFound, "GET", other.files(""), "", "Authorization", "Bearer "+files.Token)
}

func TestFiles(t *testing.T) {
	s := shelf(t)
	n := s.n
	page := ok[protocol.FileList](n, 200, "GET", s.files("", "limit", "2"), "")
	if len(page.Entries) != 2 || page.Entries[0].Name != "a b.txt" || page.Entries[0].Size != 17 || page.NextAfter != "empty" {
		t.Errorf("the first page: %+v", page)
	}
	page = ok[protocol.FileList](n, 200, "GET", s.files("", "after", page.NextAfter), "")
	if len(page.Entries) != 3 || page.Entries[0].Type != protocol.FileLink || page.NextAfter != "" {
		t.Errorf("the last page: %+v", page)
	}
	found := ok[protocol.FileMatches](n, 200, "GET", s.files("/search", "query", "PAGE"), "")
	if len(found.Files) != 1 || found.Files[0].Path != "src/page.html" {
		t.Errorf("found %+v", found)
	}
	for _, c := range []struct {
		status int
		code   protocol.Code
		path   string
	}{
		{403, protocol.CodePathNotAllowed, s.files("", "path", "..")},
		{403, protocol.CodePathNotAllowed, s.files("/content", "path", "link")},
		{403, protocol.CodePathNotAllowed, s.files("/content", "path", "/etc/passwd")},
		{404, protocol.CodeNotFound, s.files("/content", "path", "none")},
		{400, protocol.CodeInvalidRequest, s.files("/content")},
		{400, protocol.CodeInvalidRequest, s.files("/content", "path", "src")},
		{400, protocol.CodeInvalidRequest, s.files("/search")},
		{400, protocol.CodeInvalidRequest, s.files("", "limit", "x")},
		{400, protocol.CodeInvalidRequest, s.files("", "path", strings.Repeat("x", 5000))},
	} {
		n.refused(c.status, c.code, "GET", c.path, "")
	}
}

func TestFileContent(t *testing.T) {
	s := shelf(t)
	n := s.n
	page := n.call("GET", s.files("/content", "path", "src/page.html"), "")
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
		"Content-Disposition": `attachment; filename="page.html"; filename*=UTF-8''page.html`, "Cache-Control": "no-store",
	} {
		if got := page.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a := n.call("GET", s.files("/content", "path", "empty"), ""); a.StatusCode != 200 || len(a.Body) != 0 {
		t.Errorf("an empty file: %d, %d bytes", a.StatusCode, len(a.Body))
	}
	long := s.files("/content", "path", "long")
	whole := n.call("GET", long, "")
	if want := strings.Repeat("0123456789", 100_000); string(whole.Body) != want || whole.Header.Get("Content-Length") != "1000000" {
		t.Errorf("a long file: %d bytes", len(whole.Body))
	}
	if head := n.call("HEAD", long, ""); head.StatusCode != 200 || head.Header.Get("Content-Length") != "1000000" || head.Header.Get("ETag") != whole.Header.Get("ETag") {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
	for _, c := range []struct {
		header       string
		status       int
		text, answer string
	}{
		{"bytes=0-4", 206, "01234", "bytes 0-4/1000000"},
		{"bytes=999998-", 206, "89", "bytes 999998-999999/1000000"},
		{"bytes=-3", 206, "789", "bytes 999997-999999/1000000"},
		{"bytes=262143-262145", 206, "345", "bytes 262143-262145/1000000"},
		{"bytes=999990-2000000", 206, "0123456789", "bytes 999990-999999/1000000"},
		{"bytes=5-2", 200, string(whole.Body), ""},
		{"bytes=0-1,4-5", 200, string(whole.Body), ""},
		{"lines=0-1", 200, string(whole.Body), ""},
	} {
		a := n.call("GET", long, "", "Range", c.header)
		if a.StatusCode != c.status || string(a.Body) != c.text || a.Header.Get("Content-Range") != c.answer {
			t.Errorf("%s: %d, %d bytes, %q", c.header, a.StatusCode, len(a.Body), a.Header.Get("Content-Range"))
		}
	}
	n.refused(http.StatusRequestedRangeNotSatisfiable, protocol.CodeRange, "GET", long, "", "Range", "bytes=1000000-")
	tag := whole.Header.Get("ETag")
	if a := n.call("GET", long, "", "Range", "bytes=0-1", "If-Range", tag); a.StatusCode != 206 {
		t.Errorf("If-Range of this file: %d", a.StatusCode)
	}
	if a := n.call("GET", long, "", "Range", "bytes=0-1", "If-Range", `"other"`); a.StatusCode != 200 {
		t.Errorf("If-Range of another file: %d", a.StatusCode)
	}
}

func TestFilesWithoutAWorker(t *testing.T) {
	n := serve(t, "--worker", "none")
	s := n.create(`{}`)
	a := n.call("GET", s.files(""), "")
	if err := a.Problem(http.StatusServiceUnavailable, protocol.CodeNoWorker); err != nil {
		t.Error(err)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Error("the answer says not when to come back")
	}
}
