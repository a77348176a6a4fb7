package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exported runs an export in a process of its own.
func exported(t *testing.T, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"export"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestExport(t *testing.T) {
	s := startServer(t)
	_, _, errs := piped(t, nil, "/write a.txt hi", "--hub", s.URL, "--approve", "allow", "--title", "By hand")
	id := sessionID.FindStringSubmatch(errs)[1]
	dir := t.TempDir()
	file := filepath.Join(dir, "saved.json")

	code, markdown, errs := exported(t, nil, id, "--hub", s.URL)
	if code != exitOK || !strings.HasPrefix(markdown, "# By hand\n") || !strings.Contains(markdown, "### Decision: Write a.txt") || errs != "" {
		t.Errorf("%d: %s%s", code, markdown, errs)
	}
	code, out, errs := exported(t, []string{"SESSIONHUB_HUB=" + s.URL}, "--format=json", "--output", file, id)
	saved, err := os.ReadFile(file)
	if code != exitOK || out+errs != "" || err != nil || !json.Valid(saved) || !bytes.Contains(saved, []byte(`"type":"decision"`)) {
		t.Errorf("%d: %s%s: %v: %s", code, out, errs, err, saved)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		errs []string
	}{
		"a file that exists": {[]string{id, "--hub", s.URL, "--output", file}, exitFailed, []string{"saved.json exists"}},
		"no such folder":     {[]string{id, "--hub", s.URL, "--output", filepath.Join(dir, "none", "x")}, exitFailed, []string{"--output"}},
		"no such session":    {[]string{"s_none", "--hub", s.URL}, exitFailed, []string{"not_found"}},
		"no hub":             {[]string{id, "--hub", "http://127.0.0.1:1"}, exitFailed, []string{"refused"}},
		"no session":         {nil, exitUsage, []string{"there is no session"}},
		"two sessions":       {[]string{id, "s_2"}, exitUsage, []string{"more than one session"}},
		"another format":     {[]string{id, "--format", "pdf"}, exitUsage, []string{"--format", "markdown"}},
		"a mistyped flag":    {[]string{id, "--fromat", "json"}, exitUsage, []string{"did you mean --format"}},
		"a key on the line":  {[]string{id, "--api-key", "x"}, exitUsage, []string{"SESSIONHUB_API_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := exported(t, nil, c.args...)
			if code != c.code || out != "" {
				t.Errorf("exit code %d, want %d: %s", code, c.code, out)
			}
			for _, want := range c.errs {
				if !strings.Contains(errs, want) {
					t.Errorf("it does not say %q: %s", want, errs)
				}
			}
		})
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, saved) {
		t.Errorf("the file that existed was changed: %v", err)
	}
	if code, out, _ := exported(t, nil, "--help"); code != exitOK || !strings.Contains(out, "sessionhub export SESSION [flags]") {
		t.Errorf("--help: %d %s", code, out)
	}
}

func TestExportCredentials(t *testing.T) {
	const key = "a-key-for-the-test"
	s := startServerEnv(t, []string{"SESSIONHUB_API_KEY=" + key})
	t.Setenv("SESSIONHUB_API_KEY", "")
	request, err := http.NewRequest(http.MethodPost, s.URL+"/api/sessions", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var made struct{ SessionID, Token string }
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
	}{
		"a key":      {[]string{"SESSIONHUB_API_KEY=" + key}, nil, exitOK},
		"a key file": {nil, []string{"--key-file", file}, exitOK},
		"a token":    {[]string{"SESSIONHUB_TOKEN=" + made.Token}, nil, exitOK},
		"nothing":    {nil, nil, exitFailed},
		"both keys":  {[]string{"SESSIONHUB_API_KEY=" + key}, []string{"--key-file", file}, exitUsage},
	} {
		code, out, errs := exported(t, c.env, append([]string{made.SessionID, "--hub", s.URL}, c.args...)...)
		if code != c.code || (code == exitOK) != strings.Contains(out, made.SessionID) {
			t.Errorf("%s: %d: %s%s", name, code, out, errs)
		}
	}
}

// A transcript that is broken off is an error, and leaves no file behind.
func TestExportThatIsBrokenOff(t *testing.T) {
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "# Half\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer hub.Close()
	file := filepath.Join(t.TempDir(), "half.md")
	for _, args := range [][]string{{"s_1", "--hub", hub.URL}, {"s_1", "--hub", hub.URL, "--output", file}} {
		if code, _, errs := exported(t, nil, args...); code != exitFailed || !strings.Contains(errs, "not complete") {
			t.Errorf("%d: %s", code, errs)
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a file is left: %v", err)
	}
}
