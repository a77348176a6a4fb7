package auth

import "testing"

func TestScope(t *testing.T) {
	for _, c := range []struct {
		text, want string // want "": an error
	}{
		{"read", "read"},
		{"approve write read", "read write approve"},
		{"write  write", "write"},
		{" read approve ", "read approve"},
		{"files create read", "read create files"},
		{"", ""},
		{" ", ""},
		{"admin", ""},
		{"read admin", ""},
		{"Read", ""},
		{"read,write", ""},
	} {
		s, err := ParseScope(c.text)
		if (err != nil) != (c.want == "") || s.String() != c.want {
			t.Errorf("ParseScope(%q) = %q, %v; want %q", c.text, s, err, c.want)
		}
	}
	if ScopeAll.String() != "read write approve" || Scope(0).String() != "" {
		t.Errorf("all is %q, none is %q", ScopeAll, Scope(0))
	}
}

func TestScopeContains(t *testing.T) {
	for _, c := range []struct {
		have, want Scope
		ok         bool
	}{
		{ScopeAll, ScopeRead, true},
		{ScopeRead, ScopeRead, true},
		{ScopeRead | ScopeWrite, ScopeRead | ScopeWrite, true},
		{ScopeRead, ScopeRead | ScopeWrite, false},
		{ScopeWrite, ScopeRead, false},
		{0, ScopeApprove, false},
		{0, 0, true},
	} {
		if got := c.have.Contains(c.want); got != c.ok {
			t.Errorf("%q contains %q: %v, want %v", c.have, c.want, got, c.ok)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("read write approve")
	f.Add("  read\tadmin")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScope(text)
		if err != nil {
			return
		}
		again, err := ParseScope(s.String())
		if err != nil || again != s || s == 0 || !ScopeKey.Contains(s) {
			t.Fatalf("%q gave %q (%d), which reads as %q, %v", text, s, s, again, err)
		}
	})
}
