package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sessionhub/internal/auth"
	"sessionhub/internal/config"
)

// tokenChecks are the rules of the server for what a token is made of.
var tokenChecks = config.TokenChecks{
	Scope:   func(text string) error { _, err := auth.ParseScope(text); return err },
	Secrets: func(text string) error { _, err := auth.ParseSecrets(text); return err },
}

func token(_ context.Context, args []string) int {
	var err error
	switch {
	case len(args) == 0:
		fmt.Fprintln(os.Stderr, "sessionhub token: want mint or inspect; `sessionhub help token` tells more")
		return exitUsage
	case isHelp(args[0]):
		return help(os.Stdout, "token")
	case args[0] == "mint":
		err = mint(args[1:], os.Stdout)
	case args[0] == "inspect":
		err = inspect(args[1:], os.Stdin, os.Stdout)
	default:
		fmt.Fprintf(os.Stderr, "sessionhub token: there is no %q: want mint or inspect\n", args[0])
		return exitUsage
	}
	var bad *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, config.ErrHelp):
		return help(os.Stdout, "token")
	}
	fmt.Fprintf(os.Stderr, "sessionhub token %s: %v\n", args[0], err)
	if errors.As(err, &bad) {
		return exitUsage
	}
	return exitFailed
}

// mint prints a token, and nothing else: it goes into a variable or a file.
func mint(args []string, out io.Writer) error {
	m, err := config.ParseMint(args, os.LookupEnv, tokenChecks)
	if err != nil {
		return err
	}
	secrets, err := auth.ParseSecrets(m.TokenSecret.Reveal())
	if err != nil {
		return err
	}
	scope, err := auth.ParseScope(m.Scope)
	if err != nil {
		return err
	}
	signer, err := auth.NewSigner(secrets, m.TTL)
	if err != nil {
		return err
	}
	token, _ := signer.Mint(auth.Order{
		Session: m.Session, User: m.User, Scope: scope, Generation: uint64(m.Generation), TTL: m.TTL, Outside: true,
	})
	_, err = fmt.Fprintln(out, token)
	return err
}

// inspection is what inspect prints.
type inspection struct {
	Claims    json.RawMessage `json:"claims"`
	Signature auth.Signature  `json:"signature"`
	SignedBy  int             `json:"signedBy,omitempty"` // which secret, from 1
	IssuedAt  time.Time       `json:"issuedAt,omitzero"`
	ExpiresAt time.Time       `json:"expiresAt,omitzero"`
	Expired   bool            `json:"expired"`
	Problem   string          `json:"problem,omitempty"` // why a hub would refuse it
}

// inspect prints what a token says. That a hub would refuse it is an error, too,
// so that a script can ask.
func inspect(args []string, in io.Reader, out io.Writer) error {
	o, err := config.ParseInspect(args, os.LookupEnv, tokenChecks)
	if err != nil {
		return err
	}
	var secrets [][]byte
	if o.TokenSecret.IsSet() {
		if secrets, err = auth.ParseSecrets(o.TokenSecret.Reveal()); err != nil {
			return err
		}
	}
	text := o.Token.Reveal()
	if text == "-" {
		// Enough for a token with white space around it; one that is longer is
		// no token.
		raw, err := io.ReadAll(io.LimitReader(in, 2*auth.MaxTokenBytes))
		if err != nil {
			return fmt.Errorf("read the token from stdin: %w", err)
		}
		text = string(raw)
	}
	got, err := auth.Inspect(strings.TrimSpace(text), secrets, time.Now())
	if err != nil {
		return err
	}
	show := inspection{
		Claims: got.Claims, Signature: got.Signature, SignedBy: got.SignedBy,
		IssuedAt: got.IssuedAt.UTC(), ExpiresAt: got.ExpiresAt.UTC(), Expired: got.Expired,
	}
	if got.Problem != nil {
		show.Problem = got.Problem.Error()
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(show); err != nil {
		return err
	}
	return got.Problem
}

func tokenUsage(w io.Writer) error {
	_, err := fmt.Fprint(w, `mint prints a token that a hub with the same secret takes. inspect prints what a token
says as JSON, whether its signature verifies with the configured secrets, and why a
hub would refuse it; with - it reads the token from stdin, where others on this
machine do not see it. It exits with 0 for a token that would be taken as far as can
be told here (whether it was revoked only the hub knows), 1 for any other, 2 for bad
usage.

`)
	if err != nil {
		return err
	}
	return config.MintUsage(w)
}
