package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	oldSecret = "the-old-secret-of-at-least-32-bytes"
	newSecret = "the-new-secret-of-at-least-32-bytes"
)

// tokenCommand runs `sessionhub token`; the environment's own settings do not
// count.
func tokenCommand(stdin string, env []string, args ...string) (code int, out, errs string) {
	cmd := exec.Command(binary, append([]string{"token"}, args...)...)
	cmd.Env = append([]string{"LC_ALL=C"}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// A minted token opens the hub with the same secret, as far as its scope goes,
// and inspect tells what it says.
func TestMintedTokenOpensTheHub(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(newSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SESSIONHUB_TOKEN_SECRET_FILE=" + file}
	s := startServerEnv(t, append(env, "SESSIONHUB_API_KEY=the-key"))
	id := s.create(t, "the-key")

	code, out, errs := tokenCommand("", env, "mint", "--session", id, "--user", "service", "--scope", "read", "--ttl", "1m")
	minted := strings.TrimSuffix(out, "\n")
	if code != exitOK || errs != "" || strings.Count(minted, ".") != 2 || strings.ContainsAny(minted, " \n") {
		t.Fatalf("mint: %d %q %q", code, out, errs)
	}
	for path, want := range map[string]int{"": 200, "/history": 200, "/approvals": 200, "/cancel": 403} {
		method := http.MethodGet
		if want == 403 {
			method = http.MethodPost
		}
		if got := s.status(t, method, "/api/sessions/"+id+path, minted); got != want {
			t.Errorf("%s%s answers %d, want %d", method, path, got, want)
		}
	}

	for _, c := range []struct {
		name, stdin, arg string
		env              []string
		code             int
		signature        string
		signedBy         int
	}{
		{"right secret", "", minted, env, exitOK, "verified", 1},
		{"stdin", minted + "\n", "-", env, exitOK, "verified", 1},
		{"after a rotation", "", minted, []string{"SESSIONHUB_TOKEN_SECRET=" + oldSecret + "," + newSecret}, exitOK, "verified", 2},
		{"no secret", "", minted, nil, exitOK, "not verified", 0},
		{"foreign secret", "", minted, []string{"SESSIONHUB_TOKEN_SECRET=" + oldSecret}, exitFailed, "wrong", 0},
	} {
		code, out, errs := tokenCommand(c.stdin, c.env, "inspect", c.arg)
		var got inspection
		var claims struct{ Sub, Sid, Scope string }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Errorf("%s: %v in %q, %q", c.name, err, out, errs)
			continue
		}
		if err := json.Unmarshal(got.Claims, &claims); err != nil || claims.Sub != "service" || claims.Sid != id || claims.Scope != "read" {
			t.Errorf("%s: claims %s, %v", c.name, got.Claims, err)
		}
		if code != c.code || string(got.Signature) != c.signature || got.SignedBy != c.signedBy || got.Expired || (got.Problem == "") != (code == exitOK) {
			t.Errorf("%s: exit code %d, %s", c.name, code, out)
		}
		for _, secret := range []string{oldSecret, newSecret, minted} {
			if strings.Contains(out+errs, secret) {
				t.Errorf("%s: it prints a secret", c.name)
			}
		}
	}
}

func TestTokenExitCodes(t *testing.T) {
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + oldSecret}
	for _, c := range []struct {
		name string
		env  []string
		args []string
		code int
		says []string
	}{
		{"nothing", env, nil, exitUsage, []string{"mint or inspect"}},
		{"help", nil, []string{"--help"}, exitOK, []string{"--session", "inspect"}},
		{"help of a part", nil, []string{"mint", "--help"}, exitOK, []string{"--session"}},
		{"something else", env, []string{"burn"}, exitUsage, []string{"burn"}},
		{"all that mint lacks", nil, []string{"mint", "--scope", "all", "--ttl", "1"}, exitUsage, []string{"--session", "--user", "--scope", "--ttl", "SESSIONHUB_TOKEN_SECRET"}},
		{"short secret", []string{"SESSIONHUB_TOKEN_SECRET=hunter2"}, []string{"mint", "--session", "s", "--user", "u"}, exitUsage, []string{"32"}},
		{"no token", env, []string{"inspect"}, exitUsage, []string{"no token"}},
		{"no JWT", env, []string{"inspect", "hunter2"}, exitFailed, []string{"no JWT"}},
	} {
		code, out, errs := tokenCommand("", c.env, c.args...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
		}
		for _, want := range c.says {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s: it does not say %q:\n%s%s", c.name, want, out, errs)
			}
		}
		if strings.Contains(out+errs, "hunter2") || strings.Contains(out+errs, oldSecret) {
			t.Errorf("%s: it prints a secret:\n%s%s", c.name, out, errs)
		}
		if code != exitOK && out != "" {
			t.Errorf("%s: stdout has %q", c.name, out)
		}
	}
}
