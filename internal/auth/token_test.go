package auth

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var (
	secretA = bytes.Repeat([]byte("a"), MinSecretBytes)
	secretB = bytes.Repeat([]byte("b"), MinSecretBytes)
)

func newSigner(t testing.TB, secrets ...[]byte) *Signer {
	t.Helper()
	s, err := NewSigner(secrets, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenSaysWhatWasMinted(t *testing.T) {
	s := newSigner(t, secretA)
	token, minted := s.Mint(Order{Session: "s1", User: "ana <ä>", Scope: ScopeRead | ScopeApprove, TTL: time.Hour})
	got, err := s.Verify(token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got != minted {
		t.Errorf("verified %+v, minted %+v", got, minted)
	}
	if got.Session != "s1" || got.User != "ana <ä>" || got.Scope.String() != "read approve" || got.ID == "" {
		t.Errorf("claims are %+v", got)
	}
	if other, _ := s.Mint(Order{Session: "s1", User: "ana <ä>", Scope: ScopeAll, TTL: time.Hour}); other == token {
		t.Error("two tokens are the same")
	}
}

// TestTokenOnTheWire: other programs mint and read these by the contract's
// claim names.
func TestTokenOnTheWire(t *testing.T) {
	s := newSigner(t, secretA)
	token, c := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll, TTL: time.Hour, Key: "ci"})
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return secretA, nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"sub": "ana", "sid": "s1", "scope": "read write approve", "jti": c.ID,
		"iat": float64(c.IssuedAt.Unix()), "exp": float64(c.ExpiresAt.Unix()), "key": "ci", "renew": false,
	}
	if len(claims) != len(want) {
		t.Errorf("claims are %v, want %v", claims, want)
	}
	for k, v := range want {
		if claims[k] != v {
			t.Errorf("%s is %v, want %v", k, claims[k], v)
		}
	}
}

func TestTokenEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, secretA)
		time.Sleep(300 * time.Millisecond) // off the whole second
		start := time.Now()
		token, c := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll, TTL: 2 * time.Second})
		if life := c.ExpiresAt.Sub(start); life < 2*time.Second || life >= 3*time.Second {
			t.Errorf("a token for 2s lives %v", life)
		}
		if _, err := s.Verify(token, c.ExpiresAt.Add(-time.Millisecond)); err != nil {
			t.Errorf("just before its end: %v", err)
		}
		for _, late := range []time.Duration{0, time.Second, 1000 * time.Hour} {
			if _, err := s.Verify(token, c.ExpiresAt.Add(late)); !errors.Is(err, ErrTokenExpired) {
				t.Errorf("%v after its end: %v, want ErrTokenExpired", late, err)
			}
		}
	})
}

func TestTokenLifeIsClamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, secretA)
		for ttl, want := range map[time.Duration]time.Duration{
			0: 24 * time.Hour, -time.Hour: 24 * time.Hour, 48 * time.Hour: 24 * time.Hour,
			time.Hour: time.Hour, time.Nanosecond: time.Second,
		} {
			if _, c := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll, TTL: ttl}); c.ExpiresAt.Sub(c.IssuedAt) != want {
				t.Errorf("ttl %v lives %v, want %v", ttl, c.ExpiresAt.Sub(c.IssuedAt), want)
			}
		}
	})
}

// However often a token makes the next one, none ends after the first.
func TestTokenDoesNotOutliveWhatItCameFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, secretA)
		time.Sleep(300 * time.Millisecond) // rounding has something to round
		_, first := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeRead, TTL: time.Minute})
		latest := first
		for range 3 {
			time.Sleep(10 * time.Millisecond)
			_, latest = s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeRead, Maker: &latest})
			if !latest.ExpiresAt.Equal(first.ExpiresAt) {
				t.Errorf("ends at %v, the first one at %v", latest.ExpiresAt, first.ExpiresAt)
			}
		}
		if _, c := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeRead, TTL: time.Second, Maker: &first}); c.ExpiresAt.After(c.IssuedAt.Add(2 * time.Second)) {
			t.Errorf("a token for 1s ends at %v, made at %v", c.ExpiresAt, c.IssuedAt)
		}
	})
}

// A token of 60 s with the full scope once made itself one of 24 h. What was
// narrowed, in scope or in time, makes nothing that ends later than itself, over
// any chain; what has the full scope and life renews itself.
func TestNarrowedTokenMakesNoneThatEndsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, secretA)
		time.Sleep(300 * time.Millisecond) // rounding has something to round
		made := func(o Order) Claims {
			t.Helper()
			o.Session, o.User, o.Scope = "s1", "ana", cmp.Or(o.Scope, ScopeAll)
			token, minted := s.Mint(o)
			got, err := s.Verify(token, time.Now())
			if err != nil || got != minted && !o.Outside {
				t.Fatalf("minted %+v, verified %+v, %v", minted, got, err)
			}
			return got
		}
		for name, o := range map[string]Order{
			"time":                  {TTL: time.Minute},
			"time, by a key":        {TTL: time.Minute, Key: "ci"},
			"a second":              {TTL: 24*time.Hour - time.Second},
			"scope":                 {Scope: ScopeRead | ScopeWrite},
			"time, the command":     {TTL: time.Hour, Outside: true},
			"both":                  {Scope: ScopeRead, TTL: time.Minute},
			"scope, of a long life": {Scope: ScopeRead, Outside: true},
		} {
			first := made(o)
			last := first
			for range 3 {
				time.Sleep(10 * time.Millisecond)
				for _, ttl := range []time.Duration{0, time.Hour, 48 * time.Hour} {
					next := made(Order{Maker: &last, TTL: ttl, Scope: first.Scope})
					if next.ExpiresAt.After(first.ExpiresAt) || next.Renewable || next.Key != o.Key {
						t.Errorf("%s: %+v makes %+v", name, first, next)
					}
					last = next
				}
			}
		}
		full := made(Order{Key: "ci"})
		for range 3 {
			time.Sleep(time.Hour)
			next := made(Order{Maker: &full})
			if !next.ExpiresAt.After(full.ExpiresAt) || !next.Renewable || next.Key != "ci" {
				t.Fatalf("%+v makes %+v", full, next)
			}
			full = next
		}
		if c := made(Order{TTL: 24 * time.Hour, Outside: true}); !c.Renewable {
			t.Error("a token of another program with the full life does not renew itself")
		}

		// --token-ttl is changed while tokens are out: what a token was made as it stays.
		longer, _ := NewSigner([][]byte{secretA}, 48*time.Hour)
		shorter, _ := NewSigner([][]byte{secretA}, time.Second)
		fullToken, _ := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
		narrow, _ := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll, TTL: time.Minute})
		for _, other := range []*Signer{longer, shorter} {
			if c, err := other.Verify(fullToken, time.Now()); err != nil || !c.Renewable {
				t.Errorf("the full one: %+v, %v", c, err)
			}
			if c, err := other.Verify(narrow, time.Now()); err != nil || c.Renewable {
				t.Errorf("the narrowed one: %+v, %v", c, err)
			}
		}
	})
}

// A token's nbf that was set by a clock one second ahead was refused. A few seconds
// count for nothing there; at its end a token has none.
func TestNotBeforeHasLeeway(t *testing.T) {
	s := newSigner(t, secretA)
	now := time.Unix(1800000000, 0)
	for nbf, ok := range map[string]bool{
		"1799999999": true, "1800000000": true, "1800000001": true, "1800000005": true, "1800000006": false, "1800003600": false,
	} {
		for _, iat := range []string{"1799999990", nbf} {
			claims := `{"sub":"ana","sid":"s1","scope":"read","exp":2000000000,"iat":` + iat + `,"jti":"j","nbf":` + nbf + `}`
			if _, err := s.Verify(signed(`{"alg":"HS256"}`, claims, secretA), now); (err == nil) != ok {
				t.Errorf("nbf %s, iat %s: %v", nbf, iat, err)
			}
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	before, after, gone := newSigner(t, secretA), newSigner(t, secretB, secretA), newSigner(t, secretB)
	old, _ := before.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
	fresh, _ := after.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
	if _, err := after.Verify(old, time.Now()); err != nil {
		t.Errorf("the second secret does not verify: %v", err)
	}
	if _, err := gone.Verify(fresh, time.Now()); err != nil {
		t.Errorf("the first secret does not sign: %v", err)
	}
	if _, err := before.Verify(fresh, time.Now()); !errors.Is(err, ErrTokenInvalid) {
		t.Errorf("the old secret verifies what the new one signed: %v", err)
	}
	if _, err := gone.Verify(old, time.Now()); !errors.Is(err, ErrTokenInvalid) {
		t.Errorf("a token of a removed secret: %v, want ErrTokenInvalid", err)
	}
}

// signed makes a token with any header and payload and a good HS256 signature.
func signed(header, payload string, secret []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

func TestVerifyRefuses(t *testing.T) {
	const (
		hs   = `{"alg":"HS256","typ":"JWT"}`
		good = `{"sub":"ana","sid":"s1","scope":"read","exp":2000000000,"iat":1700000000,"jti":"j"}`
	)
	now := time.Unix(1800000000, 0)
	s := newSigner(t, secretA)
	if _, err := s.Verify(signed(hs, good, secretA), now); err != nil {
		t.Fatalf("the token that the others differ from: %v", err)
	}
	with := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %s to replace", old)
		}
		return signed(hs, strings.Replace(good, old, new, 1), secretA)
	}
	ok := signed(hs, good, secretA)
	parts := strings.Split(ok, ".")
	claims := jwt.MapClaims{"sub": "ana", "sid": "s1", "scope": "read", "exp": 2000000000, "iat": 1700000000, "jti": "j"}
	by := func(m jwt.SigningMethod, key any) string {
		t.Helper()
		token, err := jwt.NewWithClaims(m, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty":                     "",
		"garbage":                   "garbage",
		"two parts":                 parts[0] + "." + parts[1],
		"four parts":                ok + ".x",
		"no signature":              parts[0] + "." + parts[1] + ".",
		"signature of other claims": parts[0] + "." + strings.Split(with("ana", "bob"), ".")[1] + "." + parts[2],
		"another secret":            signed(hs, good, secretB),
		"alg none":                  by(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"alg none, HS256 signature": signed(`{"alg":"none"}`, good, secretA),
		"alg missing":               signed(`{}`, good, secretA),
		"alg unknown":               signed(`{"alg":"HS257"}`, good, secretA),
		"alg HS384":                 by(jwt.SigningMethodHS384, secretA),
		"alg HS512":                 by(jwt.SigningMethodHS512, secretA),
		"alg RS256":                 by(jwt.SigningMethodRS256, rsaKey),
		"alg EdDSA":                 by(jwt.SigningMethodEdDSA, edKey),
		"critical header":           signed(`{"alg":"HS256","crit":["b64"],"b64":false}`, good, secretA),
		"no JSON":                   signed(hs, "x", secretA),
		"null":                      signed(hs, "null", secretA),
		"no sub":                    with(`"sub":"ana",`, ``),
		"empty sub":                 with(`"ana"`, `""`),
		"sub a number":              with(`"ana"`, `1`),
		"cookie without sid":        with(`"sid":"s1"`, `"use":"cookie"`),
		"sign-in with sid":          with(`"jti"`, `"use":"sign-in","jti"`),
		"unknown use":               with(`"jti"`, `"use":"other","jti"`),
		"create for a session":      with(`"read"`, `"read create"`),
		"from too long":             with(`"jti"`, `"from":"`+strings.Repeat("f", maxFrom+1)+`","jti"`),
		"no scope":                  with(`"scope":"read",`, ``),
		"empty scope":               with(`"read"`, `""`),
		"unknown scope":             with(`"read"`, `"read admin"`),
		"no exp":                    with(`"exp":2000000000,`, ``),
		"exp a string":              with(`2000000000`, `"soon"`),
		"exp beyond time":           with(`2000000000`, `1e300`),
		"exp negative":              with(`2000000000`, `-5`),
		"no iat":                    with(`"iat":1700000000,`, ``),
		"no jti":                    with(`,"jti":"j"`, ``),
		"jti too long":              with(`"j"`, `"`+strings.Repeat("j", maxTokenID+1)+`"`),
		"not yet":                   with(`"jti"`, `"nbf":1900000000,"jti"`),
		"too long":                  with(`"ana"`, `"`+strings.Repeat("a", MaxTokenBytes)+`"`),
		"not valid and expired":     signed(hs, `{"sub":"ana","exp":1}`, secretA),
		"expired, another secret":   signed(hs, strings.Replace(good, "2000000000", "1700000001", 1), secretB),
	} {
		c, err := s.Verify(token, now)
		if !errors.Is(err, ErrTokenInvalid) || errors.Is(err, ErrTokenExpired) || c != (Claims{}) {
			t.Errorf("%s: %+v, %v; want ErrTokenInvalid", name, c, err)
		}
	}
}

// TestLongUserFitsAToken: the bound on a token leaves room for what may be a
// user's name.
func TestLongUserFitsAToken(t *testing.T) {
	s := newSigner(t, secretA)
	token, _ := s.Mint(Order{Session: strings.Repeat("s", 64), User: strings.Repeat("漢", 341), Scope: ScopeAll})
	if _, err := s.Verify(token, time.Now()); err != nil {
		t.Errorf("a token of %d bytes: %v", len(token), err)
	}
	// JSON writes < as six characters; the hub takes a user of 256 bytes.
	token, _ = s.Mint(Order{Session: strings.Repeat("s", 64), User: strings.Repeat("<", 256), Scope: ScopeAll, Key: strings.Repeat("<", maxKeyName)})
	if _, err := s.Verify(token, time.Now()); err != nil {
		t.Errorf("with the longest name of a key a token of %d bytes: %v", len(token), err)
	}
}

func TestSecrets(t *testing.T) {
	a, b := string(secretA), string(secretB)
	for _, c := range []struct {
		text string
		n    int
		errs []string
	}{
		{a, 1, nil},
		{a + "," + b, 2, nil},
		{" " + a + " ,\n" + b + "\n", 2, nil},
		{a[1:], 0, []string{"secret 1 has 31 bytes"}},
		{"x," + a + ",", 0, []string{"secret 1 has 1 bytes", "secret 3 has 0 bytes"}},
		{"", 0, []string{"secret 1 has 0 bytes"}},
	} {
		got, err := ParseSecrets(c.text)
		if len(got) != c.n || (err != nil) != (c.errs != nil) {
			t.Errorf("ParseSecrets(%q): %d secrets, %v", c.text, len(got), err)
		}
		for _, want := range c.errs {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ParseSecrets(%q): %v, want it to say %q", c.text, err, want)
			}
		}
	}
	if r := RandomSecret(); len(r) < MinSecretBytes || bytes.Equal(r, RandomSecret()) {
		t.Errorf("random secret of %d bytes, or not random", len(r))
	}
}

func TestNewSignerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		secrets [][]byte
		ttl     time.Duration
	}{
		"no secret":     {nil, time.Hour},
		"short secret":  {[][]byte{secretA, secretB[1:]}, time.Hour},
		"life of zero":  {[][]byte{secretA}, 0},
		"negative life": {[][]byte{secretA}, -1},
	} {
		if s, err := NewSigner(c.secrets, c.ttl); err == nil || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := newSigner(f, secretA, secretB)
	token, _ := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
	f.Add(token, false)
	f.Add("a.b.c", false)
	f.Add(`{"sub":"ana","sid":"s1","scope":"read","exp":2000000000,"iat":1700000000,"jti":"j"}`, true)
	f.Add(`{"exp":1e999,"iat":-0.5}`, true)
	f.Add(`null`, true)
	now := time.Unix(1800000000, 0)
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		if sign { // so that the claims are reached too
			text = signed(`{"alg":"HS256"}`, text, secretB)
		}
		c, err := s.Verify(text, now)
		switch {
		case err == nil:
			if c.User == "" || c.Session == "" || c.Scope == 0 || c.ID == "" || !c.ExpiresAt.After(now) {
				t.Fatalf("accepted %+v", c)
			}
		case !errors.Is(err, ErrTokenInvalid) && !errors.Is(err, ErrTokenExpired):
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(b, secretA)
	token, _ := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
	now := time.Now()
	for b.Loop() {
		if _, err := s.Verify(token, now); err != nil {
			b.Fatal(err)
		}
	}
}
