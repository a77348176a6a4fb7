package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// tokenTexts stands for the parsers of package auth, which have their own tests.
var tokenTexts = TokenChecks{
	Scope: func(text string) error {
		if text == "bad" {
			return errors.New("scope is bad")
		}
		return nil
	},
	Secrets: func(text string) error {
		if len(text) < 8 {
			return errors.New("too short")
		}
		return nil
	},
}

func TestMintSettings(t *testing.T) {
	secret := env{"SESSIONHUB_TOKEN_SECRET": "long-enough"}
	got, err := ParseMint([]string{"--session", "s_1", "--user=ana b"}, secret.lookup, tokenTexts)
	want := Mint{Session: "s_1", User: "ana b", Scope: "read write approve", TTL: 24 * time.Hour, TokenSecret: got.TokenSecret}
	if err != nil || got != want || got.TokenSecret.Reveal() != "long-enough" {
		t.Errorf("%+v, %v", got, err)
	}
	from := secret.with("SESSIONHUB_SESSION", "s_2").with("SESSIONHUB_USER", "bob").with("SESSIONHUB_SCOPE", "read").
		with("SESSIONHUB_TTL", "5m").with("SESSIONHUB_GENERATION", "3")
	got, err = ParseMint([]string{"--user", "eve"}, from.lookup, tokenTexts)
	want = Mint{Session: "s_2", User: "eve", Scope: "read", TTL: 5 * time.Minute, Generation: 3, TokenSecret: got.TokenSecret}
	if err != nil || got != want {
		t.Errorf("from variables: %+v, %v", got, err)
	}
}

// A forgotten --session must not make a token that opens everything of a user.
func TestMintOfAUserTokenIsSaid(t *testing.T) {
	secret := env{"SESSIONHUB_TOKEN_SECRET": "long-enough"}
	got, err := ParseMint([]string{"--all-sessions", "--user", "ana", "--scope", "read create"}, secret.lookup, tokenTexts)
	if err != nil || got.Session != "" || got.Scope != "read create" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, args := range [][]string{
		{"--user", "ana"}, {"--user", "ana", "--session", "s_1", "--all-sessions"}, {"--user", "ana", "--session", "s_1", "--scope", "read create"},
	} {
		_, err := ParseMint(args, secret.lookup, tokenTexts)
		problems(t, err, 1)
	}
}

func TestMintNamesEverythingThatIsWrong(t *testing.T) {
	_, err := ParseMint(nil, env{}.lookup, tokenTexts)
	got := problems(t, err, 3)
	for i, source := range []string{"--session", "--user", "SESSIONHUB_TOKEN_SECRET"} {
		if got[i].Source != source {
			t.Errorf("problem %d is %s", i, got[i])
		}
	}
	_, err = ParseMint([]string{"--session", "a\nb", "--user", strings.Repeat("u", 257), "--scope", "bad", "--ttl", "3", "--generation", "-1", "--token-secret", "hunter2"},
		env{"SESSIONHUB_TOKEN_SECRET": "hunter3"}.lookup, tokenTexts)
	problems(t, err, 7)
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("it repeats a secret: %v", err)
	}
	if _, err := ParseMint([]string{"--help"}, env{}.lookup, tokenTexts); !errors.Is(err, ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

func TestInspectSettings(t *testing.T) {
	in, err := ParseInspect([]string{"a.b.c"}, env{}.lookup, tokenTexts)
	if err != nil || in.Token.Reveal() != "a.b.c" || in.TokenSecret.IsSet() {
		t.Errorf("%+v, %v", in, err)
	}
	in, err = ParseInspect([]string{"-"}, env{"SESSIONHUB_TOKEN_SECRET": "long-enough"}.lookup, tokenTexts)
	if err != nil || in.Token.Reveal() != "-" || !in.TokenSecret.IsSet() {
		t.Errorf("%+v, %v", in, err)
	}
	_, err = ParseInspect(nil, env{"SESSIONHUB_TOKEN_SECRET": "short"}.lookup, tokenTexts)
	problems(t, err, 2)
	_, err = ParseInspect([]string{"eyJh.b.c", "eyJx.y.z", "--verbose"}, env{}.lookup, tokenTexts)
	problems(t, err, 2)
	if strings.Contains(err.Error(), "eyJ") {
		t.Errorf("it repeats a token: %v", err)
	}
	if _, err := ParseInspect([]string{"--help"}, env{}.lookup, tokenTexts); !errors.Is(err, ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

func TestMintUsage(t *testing.T) {
	var out bytes.Buffer
	if err := MintUsage(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--session ID", "--scope SCOPE", "SESSIONHUB_TTL, default 24h", "SESSIONHUB_TOKEN_SECRET or SESSIONHUB_TOKEN_SECRET_FILE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "--config") {
		t.Error("it names a flag that it does not have")
	}
}
