package auth

import (
	"testing"
	"time"
)

func TestUserTokens(t *testing.T) {
	s := newSigner(t, secretA)
	verify := func(token string) Claims {
		t.Helper()
		c, err := s.Verify(token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	token, made := s.Mint(Order{User: "ana", Scope: ScopeUser, Generation: 3, Key: "k", From: "sign-in:x"})
	if c := verify(token); c != made || c.Session != "" || !c.Renewable || c.Generation != 3 || c.From != "sign-in:x" {
		t.Errorf("%+v, made as %+v", c, made)
	}
	// The full scope of a session is a narrowed one of a user.
	narrow, _ := s.Mint(Order{User: "ana", Scope: ScopeAll})
	maker := verify(narrow)
	if maker.Renewable {
		t.Error("a user token without create renews itself")
	}
	// What a narrowed token makes for a session ends with it.
	maker.ExpiresAt = maker.ExpiresAt.Add(-time.Hour)
	if _, c := s.Mint(Order{User: "ana", Session: "s1", Scope: ScopeAll, Maker: &maker}); c.Renewable || c.ExpiresAt.After(maker.ExpiresAt) {
		t.Errorf("%+v outlives its maker, which ends %v", c, maker.ExpiresAt)
	}
	value := s.MintSignIn(Claims{User: "ana", ID: "i1", Scope: ScopeKey, Key: "k", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(30 * 24 * time.Hour)})
	if c := verify(value); !c.SignIn || c.Cookie || c.Renewable || c.ID != "i1" || c.Session != "" {
		t.Errorf("%+v", c)
	}
}
