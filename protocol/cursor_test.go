package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestParseCursor(t *testing.T) {
	for s, want := range map[string]Cursor{
		"":                              {},
		"0":                             {},
		"42":                            {Seq: 42},
		"9007199254740991":              {Seq: MaxSeq},
		"latest":                        {Latest: true},
		"e1-0":                          {Epoch: "e1"},
		"e1-42":                         {Epoch: "e1", Seq: 42},
		"A_z9-7":                        {Epoch: "A_z9", Seq: 7},
		"7-7":                           {Epoch: "7", Seq: 7},
		"latest-1":                      {Epoch: "latest", Seq: 1},
		strings.Repeat("e", 64) + "-42": {Epoch: strings.Repeat("e", 64), Seq: 42},
	} {
		got, err := ParseCursor(s)
		if err != nil || got != want {
			t.Errorf("ParseCursor(%q) = %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestParseCursorRefusesGarbage(t *testing.T) {
	for _, s := range []string{
		" ", "x", "-", "-1", "+1", "1 ", " 1", "01", "00", "1.0", "1e3", "0x1", "1_000", "e1-", "e1-x", "e1--1", "e1-01", "e1-+1", "a-b-1", "-a-1",
		"e 1-1", "é-1", "e\n-1", "e\x00-1", "Latest", "latest ", "9007199254740992", "18446744073709551616", "e1-9007199254740992",
		strings.Repeat("e", 65) + "-1", strings.Repeat("1", 1000), "١", "e1-١", "null", "undefined", "NaN",
	} {
		if got, err := ParseCursor(s); !errors.Is(err, ErrCursor) || got != (Cursor{}) {
			t.Errorf("ParseCursor(%q) = %+v, %v; want ErrCursor", s, got, err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "0", "latest", "e1-42", "01", "a-b-1", "9007199254740992"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		// Each place has one spelling; only the beginning has two.
		if got := c.String(); got != s && s != "" {
			t.Errorf("ParseCursor(%q).String() = %q", s, got)
		}
		if again, err := ParseCursor(c.String()); err != nil || again != c {
			t.Errorf("ParseCursor(%q) = %+v, %v; want %+v", c.String(), again, err, c)
		}
		if strings.ContainsAny(c.String(), "\r\n\x00") {
			t.Errorf("%q cannot stand in an SSE id", c.String())
		}
	})
}
