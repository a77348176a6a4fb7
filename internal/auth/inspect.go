package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Signature says what is known of a token's signature.
type Signature string

const (
	SignatureVerified Signature = "verified"
	SignatureWrong    Signature = "wrong"        // made with none of the secrets
	SignatureUnknown  Signature = "not verified" // there was no secret to verify it with
)

// Inspection is what can be told of a token, also of one that no hub would take.
type Inspection struct {
	Claims    json.RawMessage // the payload as it stands in the token
	Signature Signature
	SignedBy  int       // which of the secrets made it, from 1; 0: none that we have
	IssuedAt  time.Time // zero if it does not say
	ExpiresAt time.Time // zero if it does not say
	Expired   bool
	// Problem is why a hub with these secrets would refuse the token; without
	// secrets, why any hub would. It holds nothing of the token.
	Problem error
}

// Inspect reads a token and judges it as Verify does, but tells what it says
// even if it is not to be trusted. secrets may be empty. It is an error, without
// anything of the text in it, if the text is no JWT.
func Inspect(token string, secrets [][]byte, now time.Time) (Inspection, error) {
	if len(token) > MaxTokenBytes {
		return Inspection{}, fmt.Errorf("%w: it has more than %d bytes", ErrTokenInvalid, MaxTokenBytes)
	}
	noJWT := fmt.Errorf("%w: it is no JWT", ErrTokenInvalid)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Inspection{}, noJWT
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return Inspection{}, noJWT
	}
	var w wireClaims
	t, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(token, &w)
	if err != nil || !json.Valid(payload) {
		return Inspection{}, noJWT
	}
	in := Inspection{Claims: payload, Signature: SignatureUnknown}
	if w.IssuedAt != nil && sane(w.IssuedAt.Time) {
		in.IssuedAt = w.IssuedAt.Time
	}
	if w.ExpiresAt != nil && sane(w.ExpiresAt.Time) {
		in.ExpiresAt = w.ExpiresAt.Time
		in.Expired = !now.Before(in.ExpiresAt)
	}
	if len(secrets) == 0 {
		_, in.Problem = w.judge(t.Header, now)
		if t.Method != jwt.SigningMethodHS256 {
			in.Problem = fmt.Errorf("%w: it is no JWT with HS256", ErrTokenInvalid)
		}
		return in, nil
	}
	in.Signature = SignatureWrong
	for i, secret := range secrets {
		one, err := NewSigner([][]byte{secret}, time.Hour)
		if err != nil {
			return Inspection{}, err
		}
		if _, in.Problem = one.Verify(token, now); !errors.Is(in.Problem, errSignature) {
			if t.Method == jwt.SigningMethodHS256 { // else Verify looked at no signature
				in.Signature, in.SignedBy = SignatureVerified, i+1
			}
			return in, nil
		}
	}
	return in, nil
}
