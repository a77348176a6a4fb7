package config

import (
	"io"
	"slices"
	"strings"
	"time"
)

// Mint is what `sessionhub token mint` obeys.
type Mint struct {
	Session     string // empty: a user token
	AllSessions bool   // a user token is meant: it has no session
	User        string
	Scope       string // words separated by spaces
	TTL         time.Duration
	Generation  int // of the session's tokens, or of the user's

	// From the environment alone.
	TokenSecret Secret
}

// TokenChecks judge texts whose form is not this package's.
type TokenChecks struct {
	Scope   func(text string) error
	Secrets func(text string) error // of several secrets, separated by commas
}

// DefaultMint is what holds where nothing is set. There is no default for User and
// TokenSecret.
func DefaultMint() Mint { return Mint{Scope: "read write approve", TTL: Default().TokenTTL} }

const groupToken = "The token"

// maxTokenName is most bytes of a name in a token, as the hub has it.
const maxTokenName = 256

func (m *Mint) settings(check TokenChecks) []setting {
	scope := required(&m.Scope, "words out of read, write, approve, create and files").(*simple)
	set := scope.parse
	scope.holder = "SCOPE"
	scope.parse = func(t string) error {
		if err := check.Scope(t); err != nil {
			return err
		}
		return set(t)
	}
	return []setting{
		{"session", groupToken, "the session's id", tokenName(&m.Session, "ID")},
		{"all-sessions", groupToken, "a user token, for all sessions of the user, in the place of --session", onOff(&m.AllSessions)},
		{"user", groupToken, "whom the session belongs to (its userId): the hub takes no other", tokenName(&m.User, "NAME")},
		{"scope", groupToken, "what it allows: words out of read, write, approve and files; create with --all-sessions alone", scope},
		{"ttl", groupToken, "its life", duration(&m.TTL, time.Second, 10*year)},
		{"generation", groupToken, "of the session's or the user's tokens: how often all of them were revoked (gen in a token that works)", number(&m.Generation, 0, 1_000_000_000)},
	}
}

// tokenSecret is the one secret that minting and inspecting know.
func tokenSecret(s *Secret, check func(string) error) []secretSetting {
	return []secretSetting{
		{name: "token-secret", help: "that of the hub; several with commas: the first signs, all verify", secret: s, check: check},
	}
}

// ParseMint reads the settings of `sessionhub token mint` as Parse does those of
// serve.
func ParseMint(args []string, environ func(string) (string, bool), check TokenChecks) (Mint, error) {
	m := DefaultMint()
	p := parser{rows: m.settings(check), secrets: tokenSecret(&m.TokenSecret, check.Secrets), environ: environ}
	if err := p.parse(args); err != nil {
		return m, err
	}
	if m.Session == "" && !m.AllSessions && p.right("session") {
		p.problem("--session", "is not set: want the id of the session that the token opens, or --all-sessions")
	}
	if m.Session != "" && m.AllSessions {
		p.problem("--all-sessions", "--session is set too: want one of them")
	}
	if m.User == "" && p.right("user") {
		p.problem("--user", "is not set: want whom the session belongs to")
	}
	if m.Session != "" && p.right("scope") && slices.Contains(strings.Fields(m.Scope), "create") {
		p.problem("--scope", "create is not of one session: want --all-sessions in the place of --session")
	}
	if !m.TokenSecret.IsSet() && p.right("token-secret") {
		p.problem("SESSIONHUB_TOKEN_SECRET", "is not set, nor is SESSIONHUB_TOKEN_SECRET_FILE: want the secret of the hub that is to take the token")
	}
	return m, p.err()
}

// Inspect is what `sessionhub token inspect` obeys.
type Inspect struct {
	Token Secret // "-": it stands on stdin

	// From the environment alone.
	TokenSecret Secret
}

// ParseInspect reads the one argument and the settings of `sessionhub token
// inspect`. The token is in no message, since whoever holds it can use it.
func ParseInspect(args []string, environ func(string) (string, bool), check TokenChecks) (Inspect, error) {
	var in Inspect
	p := parser{secrets: tokenSecret(&in.TokenSecret, check.Secrets), environ: environ}
	var rest []string
	for _, arg := range args {
		switch {
		case arg != "-" && len(arg) > 0 && arg[0] == '-':
			rest = append(rest, arg)
		case in.Token.IsSet():
			p.problem("command line", "there is more than one token")
		default:
			in.Token = NewSecret(arg)
		}
	}
	if err := p.parse(rest); err != nil {
		return in, err
	}
	if !in.Token.IsSet() {
		p.problem("command line", "there is no token: want one, or - for one on stdin")
	}
	return in, p.err()
}

// MintUsage prints every setting of `sessionhub token mint` with its default.
func MintUsage(w io.Writer) error {
	m := DefaultMint()
	return usage(w, m.settings(TokenChecks{}), tokenSecret(&m.TokenSecret, nil))
}

// tokenName is a name in a token.
func tokenName(p *string, holder string) value {
	return checked(p, "1 to 256 bytes that can be printed", holder, func(t string) string {
		if t == "" || len(t) > maxTokenName || !isPrintable(t) {
			return "is no name"
		}
		return ""
	})
}
