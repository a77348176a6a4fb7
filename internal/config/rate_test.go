package config

import "testing"

func TestRates(t *testing.T) {
	for text, want := range map[string]Rate{
		"5/s:20": {5, 20}, "0.5/s:1": {0.5, 1}, " 1000/s:10 ": {1000, 10},
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "5/s", "5/s:", "/s:1", "0/s:1", "-1/s:1", "inf/s:1", "0x1/s:1", "1e3/s:1", "5/m:20", "5/s:0", "5/s:x", "99999999/s:1"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// A rate that was read is written so that it is read as the same.
func FuzzRate(f *testing.F) {
	f.Add("5/s:20")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%q is %v, which is written %q and read as %v, %v", text, r, r.String(), again, err)
		}
	})
}
