package config

import (
	"math"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "007": 7, "1048576": 1 << 20, "64KiB": 64 << 10, "1MiB": 1 << 20, "16 MiB": 16 << 20, "2GiB": 2 << 30,
		"9223372036854775807": math.MaxInt64, "8589934591GiB": 8589934591 << 30,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "KiB", "-1", "+1", "1.5MiB", "1MB", "1M", "1mib", "1Mib", "1  MiB", " 1", "1 ", "1e3", "0x10", "1_000",
		"9223372036854775808", "8589934592GiB", "MiB1", "1MiBKiB", "1KiBMiB", "１",
	} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"1MiB", "64 KiB", "8589934592GiB", "-1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseBytes(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("%q gave %d", text, n)
		}
		if again, err := ParseBytes(FormatBytes(n)); err != nil || again != n {
			t.Fatalf("%q gave %d, written as %q, which reads as %d, %v", text, n, FormatBytes(n), again, err)
		}
	})
}
