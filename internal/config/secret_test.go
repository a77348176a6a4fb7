package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSecretIsNeverPrinted tries every way by which settings end up in a log.
func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "topsecret"
	s := Default()
	s.APIKey, s.TokenSecret, s.WorkerKey = NewSecret(text), NewSecret(text), NewSecret(text)
	hidden := struct{ cfg Serve }{s} // fmt reads unexported fields without asking methods

	var out bytes.Buffer
	for _, v := range []any{s.APIKey, &s.APIKey, s, &s, hidden, []Secret{s.APIKey}, map[string]Secret{"k": s.APIKey}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("settings", "key", s.APIKey, "all", s, "hidden", hidden)
	}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	out.Write(y)
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text)} {
		if strings.Contains(out.String(), form) {
			t.Fatalf("the secret was printed: %s", out.String())
		}
	}
	if !strings.Contains(string(j), `"APIKey":"[secret]"`) {
		t.Errorf("JSON is %s", j)
	}
	if s.APIKey.Reveal() != text || !s.APIKey.IsSet() {
		t.Error("Reveal does not give the secret")
	}
	if NewSecret("").IsSet() || (Secret{}).IsSet() || (Secret{}).Reveal() != "" {
		t.Error("no secret counts as one")
	}
}

func TestSecretsFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s, err := Parse(nil, env{
		"SESSIONHUB_API_KEY":           "key-1",
		"SESSIONHUB_API_KEYS_FILE":     "keys",
		"SESSIONHUB_TOKEN_SECRET_FILE": write("secret", "  first,second\n\n"),
		"SESSIONHUB_WORKER_KEY_FILE":   write("worker", "key-2"),
		"SESSIONHUB_WORKER_KEYS_FILE":  "worker-keys",
	}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"API key", s.APIKey.Reveal(), "key-1"},
		{"token secret", s.TokenSecret.Reveal(), "first,second"},
		{"worker key", s.WorkerKey.Reveal(), "key-2"},
		{"keys file", s.APIKeysFile, "keys"},
		{"worker keys file", s.WorkerKeysFile, "worker-keys"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.name, c.got, c.want)
		}
	}

	for _, c := range []struct {
		name string
		env  env
		want string
	}{
		{"both", env{"SESSIONHUB_API_KEY": "topsecret", "SESSIONHUB_API_KEY_FILE": write("k", "topsecret")},
			"SESSIONHUB_API_KEY_FILE: SESSIONHUB_API_KEY is set too"},
		{"no file", env{"SESSIONHUB_TOKEN_SECRET_FILE": filepath.Join(dir, "none")}, "SESSIONHUB_TOKEN_SECRET_FILE: read the secret"},
		{"a directory", env{"SESSIONHUB_TOKEN_SECRET_FILE": dir}, "SESSIONHUB_TOKEN_SECRET_FILE: read the secret"},
		{"an empty file", env{"SESSIONHUB_WORKER_KEY_FILE": write("e", " \n")}, "SESSIONHUB_WORKER_KEY_FILE: "},
		{"a large file", env{"SESSIONHUB_WORKER_KEY_FILE": write("l", strings.Repeat("topsecret", maxSecretFile))}, "is larger than 64KiB"},
		{"a key with a space", env{"SESSIONHUB_API_KEY": "topsecret topsecret"}, "SESSIONHUB_API_KEY: the key holds a space"},
		{"a long key", env{"SESSIONHUB_WORKER_KEY": strings.Repeat("topsecret", 200)}, "SESSIONHUB_WORKER_KEY: the key has 1800 bytes"},
	} {
		_, err := Parse([]string{"--listen", "0.0.0.0:80"}, c.env.with("SESSIONHUB_ALLOW_ANONYMOUS", "1").lookup)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.want)
		}
		problems(t, err, 1)
	}
}

// TestBadKeyIsNotMissing: a key that was refused is not also called absent.
func TestBadKeyIsNotMissing(t *testing.T) {
	_, err := Parse([]string{"--listen", ":8080"}, env{"SESSIONHUB_API_KEY": "a b"}.lookup)
	problems(t, err, 1)
}

// TestSecretsAreNoFlags: what is put on the command line or into the file by
// mistake is refused without being shown.
func TestSecretsAreNoFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("api-key: topsecret\ntoken-secret: topsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--api-key", "topsecret", "--worker-key=topsecret"},
		{"--token-secret", "-topsecret", "--api-key-file", "topsecret"},
		{"-api-key=topsecret", "--unknown", "topsecret"},
		{"--config", file},
	} {
		_, err := Parse(args, env{}.lookup)
		problems(t, err, 2)
		if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%q: %v", args, err)
		}
	}
	_, err := Parse([]string{"--api-key=x"}, env{}.lookup)
	if want := "--api-key: is not a flag, since others could read it there: want it in the environment as SESSIONHUB_API_KEY or SESSIONHUB_API_KEY_FILE"; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The URL of the store may hold a password: a file keeps it out of the process list.
func TestValkeyURLFromAFile(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "url"), filepath.Join(dir, "empty")
	const url = "rediss://hub:topsecret@valkey.example.org:6380"
	for path, text := range map[string]string{file: url + "\n", empty: "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := env{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}
	for name, c := range map[string]struct {
		args []string
		env  env
	}{
		"flag":     {[]string{"--valkey-url-file", file}, secret},
		"variable": {nil, secret.with("SESSIONHUB_VALKEY_URL_FILE", file)},
	} {
		if s, err := Parse(c.args, c.env.lookup); err != nil || s.ValkeyURL != url {
			t.Errorf("%s: %q, %v", name, s.ValkeyURL, err)
		}
	}
	for want, args := range map[string][]string{
		"--valkey-url-file: --valkey-url is set too": {"--valkey-url-file", file, "--valkey-url", url},
		"--valkey-url-file: read the secret":         {"--valkey-url-file", filepath.Join(dir, "none")},
		"want a file with the secret":                {"--valkey-url-file", empty},
	} {
		_, err := Parse(args, secret.lookup)
		problems(t, err, 1)
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%v, want it to say %q", err, want)
		}
	}
	// All nodes must sign with one secret here, too.
	_, err := Parse([]string{"--valkey-url-file", file}, env{}.lookup)
	problems(t, err, 1)
}
