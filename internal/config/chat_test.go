package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func chatEnv(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestChatSettings(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte("secret-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ParseChat([]string{"--hub", "wss://hub.example.org/base/", "--key-file", keyFile, "--session=s_1", "--json", "--approve", "allow", "--transport", "sse"},
		chatEnv(map[string]string{"SESSIONHUB_TOKEN": "a.b.c", "SESSIONHUB_PROVIDER": "codex", "SESSIONHUB_TRANSPORT": "websocket"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Hub != "https://hub.example.org/base" || c.APIKey.Reveal() != "secret-key" || c.Token.Reveal() != "a.b.c" || c.Session != "s_1" ||
		!c.JSON || c.Approve != ChatAllow || c.Transport != ChatSSE || c.Provider != "codex" {
		t.Errorf("got %+v", c)
	}
	if c, err := ParseChat(nil, chatEnv(nil)); err != nil || c != DefaultChat() {
		t.Errorf("nothing given: %+v, %v", c, err)
	}
}

func TestChatNamesEverythingThatIsWrong(t *testing.T) {
	_, err := ParseChat([]string{"--hub", "ftp://x", "--approve", "perhaps", "--transport", "pigeon", "--key-file", "/nowhere", "--dirr", "x"},
		chatEnv(map[string]string{"SESSIONHUB_API_KEY": "with space"}))
	var all *Error
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	for _, want := range []string{"--hub", "--approve", "--transport", "--key-file", "--dirr", "did you mean --dir", "SESSIONHUB_API_KEY"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not name %s: %v", want, err)
		}
	}
	if _, err := ParseChat([]string{"--hub", ""}, chatEnv(nil)); err == nil {
		t.Error("an empty hub is taken")
	}
	both := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(both, []byte("k2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseChat([]string{"--key-file", both}, chatEnv(map[string]string{"SESSIONHUB_API_KEY": "k1"})); err == nil || strings.Contains(err.Error(), "k1") || strings.Contains(err.Error(), "k2") {
		t.Errorf("two keys: %v", err)
	}
}
