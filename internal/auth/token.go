package auth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Errors of Verify.
var (
	ErrTokenExpired = errors.New("the token has expired")
	ErrTokenInvalid = errors.New("the token is not valid")

	errSignature = errors.New("its signature is not one of this hub")
)

const (
	// MinSecretBytes is the least for HS256 (RFC 7518, section 3.2).
	MinSecretBytes = 32
	// MaxTokenBytes bounds a token before anything looks at it. A user's name
	// of 1 KiB fits.
	MaxTokenBytes = 4096
	// maxTokenID bounds the id that a revocation keeps in the session's state.
	maxTokenID = 128
	// notBeforeLeeway is how far the clock that set a token's nbf may be ahead of
	// this one (RFC 7519, section 4.1.5). There is none at a token's end: what is
	// over is over on every node.
	notBeforeLeeway = 5 * time.Second
)

// Claims is what a token says: its bearer is User, as far as Scope goes, until
// ExpiresAt. A session token is for one session, a user token for all sessions of its
// user. Times are in whole seconds.
type Claims struct {
	User      string
	Session   string // empty: a user token
	Scope     Scope
	IssuedAt  time.Time
	ExpiresAt time.Time
	ID        string // names the token in revocations
	// Generation of the session's tokens, or of the user's: those of an earlier one were
	// revoked together.
	Generation uint64
	// Key is the name of the API key that the token came from, directly or over
	// other tokens. Empty: it came from no key (local mode, the token command), or
	// from a version that did not say.
	Key string
	// Renewable says that the token may make one that ends later than itself: it
	// has the full scope and was made with the full life.
	Renewable bool
	// Cookie says that this is the value of a cookie, which is no bearer token:
	// it opens streams only.
	Cookie bool
	// SignIn says that this is the value of a sign-in's cookie, which is no bearer token
	// either. ID is then the sign-in's.
	SignIn bool
	// From names what the token ends with in the user's account, beside itself: see
	// session.Grant. Empty: nothing.
	From string
}

// Signer mints and verifies tokens: JWTs signed with HS256 (RFC 7519,
// RFC 7518). It is immutable and may be used concurrently.
type Signer struct {
	secrets [][]byte // the first signs, all verify
	keys    jwt.VerificationKeySet
	ttl     time.Duration
	parser  *jwt.Parser
}

// wireClaims is the token's payload.
type wireClaims struct {
	jwt.RegisteredClaims        // sub, exp, iat, jti; nbf is obeyed
	Session              string `json:"sid,omitempty"`
	Scope                string `json:"scope"`
	Generation           uint64 `json:"gen,omitempty"`
	Use                  string `json:"use,omitempty"` // useCookie, useSignIn, or nothing
	Key                  string `json:"key,omitempty"`
	From                 string `json:"from,omitempty"`
	// Renew is Claims.Renewable. Without it (an earlier version, the token command,
	// another program) the token's own life tells.
	Renew *bool `json:"renew,omitempty"`
}

const (
	useCookie = "cookie"
	useSignIn = "sign-in"
)

// maxFrom bounds Claims.From: the ids of a sign-in and of a token.
const maxFrom = 2 * (maxTokenID + 32)

// NewSigner takes the secrets (the first one signs) and the life of a token.
func NewSigner(secrets [][]byte, ttl time.Duration) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no token secret")
	}
	if ttl <= 0 {
		return nil, fmt.Errorf("the life of a token is %v: want more than nothing", ttl)
	}
	s := &Signer{
		ttl: ttl,
		// The claims are checked here and not by the parser: the caller says
		// what time it is, and "expired" must be told apart from the rest.
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithoutClaimsValidation(),
			jwt.WithStrictDecoding()),
	}
	for i, secret := range secrets {
		if len(secret) < MinSecretBytes {
			return nil, fmt.Errorf("token secret %d has %d bytes: want at least %d", i+1, len(secret), MinSecretBytes)
		}
		own := bytes.Clone(secret)
		s.secrets = append(s.secrets, own)
		s.keys.Keys = append(s.keys.Keys, own)
	}
	return s, nil
}

// ParseSecrets reads secrets separated by commas, each with at least
// MinSecretBytes bytes. Space around them does not count. All that are bad are
// named, by their place and never by their text.
func ParseSecrets(text string) ([][]byte, error) {
	var secrets [][]byte
	var errs []error
	for i, part := range strings.Split(text, ",") {
		secret := []byte(strings.TrimSpace(part))
		if len(secret) < MinSecretBytes {
			errs = append(errs, fmt.Errorf("token secret %d has %d bytes: want at least %d", i+1, len(secret), MinSecretBytes))
			continue
		}
		secrets = append(secrets, secret)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return secrets, nil
}

// RandomSecret makes a secret for a process that was given none: its tokens
// end with it.
func RandomSecret() []byte {
	secret := make([]byte, MinSecretBytes)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return secret
}

// TTL is the life of a token when the caller of Mint names none.
func (s *Signer) TTL() time.Duration { return s.ttl }

// Order says what token is wanted. Session, User and Scope must not be empty, or
// nobody will take the token.
type Order struct {
	Session    string // empty: a user token
	User       string
	Scope      Scope
	Generation uint64        // of the session's tokens, or of the user's
	TTL        time.Duration // not positive, or longer than the signer's own: the signer's own
	Key        string        // name of the API key that orders it, if one does
	// Maker is the token that orders it, if one does. The new token names the same
	// key. It ends no later than a maker that is not renewable.
	Maker *Claims
	From  string // see Claims
	// Outside says that no hub orders the token. What the hub's full life is cannot
	// be known then, so the hub that gets the token judges whether it is renewable.
	Outside bool
}

// Mint makes a token. Its end is rounded up to a second, but not beyond that of
// a maker that is not renewable.
func (s *Signer) Mint(o Order) (string, Claims) {
	ttl := o.TTL
	if ttl <= 0 || ttl > s.ttl {
		ttl = s.ttl
	}
	now := time.Now()
	end := now.Add(ttl)
	if whole := end.Truncate(time.Second); whole.Before(end) {
		end = whole.Add(time.Second)
	}
	key, renewable := o.Key, o.Scope.Contains(fullScope(o.Session)) && ttl == s.ttl
	if m := o.Maker; m != nil {
		key = m.Key
		if !m.Renewable {
			renewable = false
			if m.ExpiresAt.Before(end) {
				end = m.ExpiresAt
			}
		}
	}
	c := Claims{
		User: o.User, Session: o.Session, Scope: o.Scope,
		IssuedAt:  time.Unix(now.Unix(), 0),
		ExpiresAt: time.Unix(end.Unix(), 0),
		ID:        rand.Text(),

		Generation: o.Generation, Key: key, Renewable: renewable, From: o.From,
	}
	if o.Outside {
		return s.sign(c, nil), c
	}
	return s.sign(c, &c.Renewable), c
}

// fullScope is the full scope of a token for a session, or for a user.
func fullScope(session string) Scope {
	if session == "" {
		return ScopeUser
	}
	return ScopeAll
}

// MintSignIn makes the value of a sign-in's cookie. The claims have the sign-in's user, id,
// scope, key and times.
func (s *Signer) MintSignIn(c Claims) string {
	c.Session, c.SignIn, c.Cookie = "", true, false
	c.IssuedAt, c.ExpiresAt = time.Unix(c.IssuedAt.Unix(), 0), time.Unix(c.ExpiresAt.Unix(), 0)
	return s.sign(c, nil)
}

// MintCookie makes the value of a cookie that reads the token's session. It has
// the token's id, generation, key and end, and so dies with it.
func (s *Signer) MintCookie(token Claims) string {
	token.Scope, token.Cookie, token.Renewable = ScopeRead, true, false
	return s.sign(token, nil)
}

func (s *Signer) sign(c Claims, renew *bool) string {
	w := wireClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   c.User,
			IssuedAt:  jwt.NewNumericDate(c.IssuedAt),
			ExpiresAt: jwt.NewNumericDate(c.ExpiresAt),
			ID:        c.ID,
		},
		Session:    c.Session,
		Scope:      c.Scope.String(),
		Generation: c.Generation,
		Key:        c.Key,
		From:       c.From,
		Renew:      renew,
	}
	switch {
	case c.Cookie:
		w.Use = useCookie
	case c.SignIn:
		w.Use = useSignIn
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, w).SignedString(s.secrets[0])
	if err != nil { // strings, numbers and a key of bytes: cannot fail
		panic("auth: sign token: " + err.Error())
	}
	return token
}

// Verify reads a token: ErrTokenExpired if only its time is over,
// ErrTokenInvalid (wrapped with the reason, which holds nothing of the token)
// for all else. Revocation is not looked at.
func (s *Signer) Verify(token string, now time.Time) (Claims, error) {
	if len(token) > MaxTokenBytes {
		return Claims{}, fmt.Errorf("%w: it has more than %d bytes", ErrTokenInvalid, MaxTokenBytes)
	}
	var w wireClaims
	t, err := s.parser.ParseWithClaims(token, &w, func(*jwt.Token) (any, error) { return s.keys, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return Claims{}, fmt.Errorf("%w: %w", ErrTokenInvalid, errSignature)
	case err != nil: // the library's text can quote the token
		return Claims{}, fmt.Errorf("%w: it is no JWT with HS256", ErrTokenInvalid)
	}
	c, err := w.judge(t.Header, now)
	if err != nil {
		return Claims{}, err
	}
	c.Renewable = c.Scope.Contains(fullScope(c.Session)) && !c.Cookie && !c.SignIn && w.fullLife(s.ttl)
	return c, nil
}

// fullLife reports whether the token was made with the full life. One that does
// not say so is measured by the present ttl.
func (w *wireClaims) fullLife(ttl time.Duration) bool {
	if w.Renew != nil {
		return *w.Renew
	}
	return w.ExpiresAt.Sub(w.IssuedAt.Time) >= ttl
}

// judge says whether a token with these contents may be taken, its signature
// aside.
func (w *wireClaims) judge(header map[string]any, now time.Time) (Claims, error) {
	// A header marked critical changes what a token means; we know none, so it
	// must be refused (RFC 7515, section 4.1.11). The library passes over it.
	if _, critical := header["crit"]; critical {
		return Claims{}, fmt.Errorf("%w: it has a critical header", ErrTokenInvalid)
	}
	c, err := w.claims()
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrTokenInvalid, err)
	}
	if w.NotBefore != nil && now.Add(notBeforeLeeway).Before(w.NotBefore.Time) {
		return Claims{}, fmt.Errorf("%w: its time has not come", ErrTokenInvalid)
	}
	if !now.Before(c.ExpiresAt) {
		return Claims{}, ErrTokenExpired
	}
	return c, nil
}

// claims checks that all that is needed is there.
func (w *wireClaims) claims() (Claims, error) {
	switch {
	case w.Subject == "":
		return Claims{}, errors.New("it has no sub")
	case w.Session == "" && w.Use == useCookie:
		return Claims{}, errors.New("it has no sid")
	case w.Session != "" && w.Use == useSignIn:
		return Claims{}, errors.New("it is a sign-in, and has a sid")
	case len(w.From) > maxFrom:
		return Claims{}, fmt.Errorf("its from has %d bytes: want at most %d", len(w.From), maxFrom)
	case w.ID == "" || len(w.ID) > maxTokenID:
		return Claims{}, fmt.Errorf("its jti has %d bytes: want 1 to %d", len(w.ID), maxTokenID)
	case w.ExpiresAt == nil || !sane(w.ExpiresAt.Time):
		return Claims{}, errors.New("it has no exp that is a time")
	case w.Use != "" && w.Use != useCookie && w.Use != useSignIn:
		return Claims{}, errors.New("its use is unknown here")
	case w.IssuedAt == nil || !sane(w.IssuedAt.Time):
		return Claims{}, errors.New("it has no iat that is a time")
	}
	scope, err := ParseScope(w.Scope)
	if err != nil {
		return Claims{}, err
	}
	if w.Session != "" && scope.Contains(ScopeCreate) {
		return Claims{}, errors.New("it has a sid, and the scope create")
	}
	return Claims{
		User: w.Subject, Session: w.Session, Scope: scope,
		IssuedAt: w.IssuedAt.Time, ExpiresAt: w.ExpiresAt.Time, ID: w.ID,
		Generation: w.Generation, Cookie: w.Use == useCookie, SignIn: w.Use == useSignIn, Key: w.Key, From: w.From,
	}, nil
}

// sane keeps out numbers that overflow a time (an exp of 1e300): where they
// land differs between machines.
func sane(t time.Time) bool { return t.Unix() > 0 && t.Year() < 10000 }
