package auth

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestInspect(t *testing.T) {
	now := time.Unix(1800000000, 0)
	const good = `{"sub":"ana","sid":"s1","scope":"read","exp":1800000060,"iat":1799999000,"jti":"j"}`
	over := strings.Replace(good, "1800000060", "1800000000", 1)
	hs256 := `{"alg":"HS256"}`
	for _, c := range []struct {
		name      string
		token     string
		secrets   [][]byte
		signature Signature
		by        int
		expired   bool
		problem   error
	}{
		{"first secret", signed(hs256, good, secretA), [][]byte{secretA, secretB}, SignatureVerified, 1, false, nil},
		{"second secret", signed(hs256, good, secretB), [][]byte{secretA, secretB}, SignatureVerified, 2, false, nil},
		{"foreign secret", signed(hs256, good, secretB), [][]byte{secretA}, SignatureWrong, 0, false, ErrTokenInvalid},
		{"no secret", signed(hs256, good, secretB), nil, SignatureUnknown, 0, false, nil},
		{"expired", signed(hs256, over, secretA), [][]byte{secretA}, SignatureVerified, 1, true, ErrTokenExpired},
		{"expired, no secret", signed(hs256, over, secretA), nil, SignatureUnknown, 0, true, ErrTokenExpired},
		{"expired, foreign secret", signed(hs256, over, secretB), [][]byte{secretA}, SignatureWrong, 0, true, ErrTokenInvalid},
		{"critical header", signed(`{"alg":"HS256","crit":["x"]}`, good, secretA), nil, SignatureUnknown, 0, false, ErrTokenInvalid},
		{"claims missing", signed(hs256, `{"sub":"ana"}`, secretA), [][]byte{secretA}, SignatureVerified, 1, false, ErrTokenInvalid},
		{"another algorithm", signed(`{"alg":"HS512"}`, good, secretA), [][]byte{secretA}, SignatureWrong, 0, false, ErrTokenInvalid},
		{"another algorithm, no secret", signed(`{"alg":"HS512"}`, good, secretA), nil, SignatureUnknown, 0, false, ErrTokenInvalid},
		{"no algorithm", signed(`{"alg":"none"}`, good, secretA), [][]byte{secretA}, SignatureWrong, 0, false, ErrTokenInvalid},
	} {
		got, err := Inspect(c.token, c.secrets, now)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Signature != c.signature || got.SignedBy != c.by || got.Expired != c.expired ||
			!errors.Is(got.Problem, c.problem) || (got.Problem == nil) != (c.problem == nil) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if !json.Valid(got.Claims) || !strings.Contains(string(got.Claims), `"sub":"ana"`) {
			t.Errorf("%s: claims %s", c.name, got.Claims)
		}
	}
}

func TestInspectRefusesWhatIsNoJWT(t *testing.T) {
	for _, text := range []string{"", "-", "hunter2", "a.b", "a.b.c", "a.b.c.d", "e30.e30", "e30.W10.", "e30.bnVsbA.x", strings.Repeat("a", MaxTokenBytes+1)} {
		got, err := Inspect(text, nil, time.Now())
		if !errors.Is(err, ErrTokenInvalid) {
			t.Errorf("%.20q: %+v, %v", text, got, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("it repeats the text: %v", err)
		}
	}
}

// Inspect and Verify must never differ on whether a token is good.
func FuzzInspect(f *testing.F) {
	s := newSigner(f, secretA, secretB)
	token, _ := s.Mint(Order{Session: "s1", User: "ana", Scope: ScopeAll})
	f.Add(token, false)
	f.Add("e30.e30.", false)
	f.Add(`{"sub":"ana","sid":"s1","scope":"read","exp":2000000000,"iat":1700000000,"jti":"j"}`, true)
	f.Add(`{"exp":1e999,"iat":-0.5}`, true)
	now := time.Unix(1800000000, 0)
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		if sign {
			text = signed(`{"alg":"HS256"}`, text, secretB)
		}
		_, want := s.Verify(text, now)
		got, err := Inspect(text, [][]byte{secretA, secretB}, now)
		if err == nil {
			err = got.Problem
		}
		if (err == nil) != (want == nil) || errors.Is(err, ErrTokenExpired) != errors.Is(want, ErrTokenExpired) {
			t.Fatalf("Inspect says %v, Verify %v", err, want)
		}
	})
}
