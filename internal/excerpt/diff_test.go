package excerpt

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// apply is `patch`: it makes the new text of the old one and the hunks.
func apply(t testing.TB, oldText string, hunks []protocol.Hunk) string {
	t.Helper()
	var out strings.Builder
	rest, at := oldText, 0 // at: lines of the old text that were passed
	pass := func(to int) {
		for at < to {
			line := firstLines(rest, 1)
			if len(line) == 0 {
				t.Fatalf("the old text has %d lines, a hunk begins at %d", at, to)
			}
			out.WriteString(line[0])
			rest, at = rest[len(line[0]):], at+1
		}
	}
	newLine := 0
	for _, h := range hunks {
		begin := h.OldStart - 1
		if h.OldLines == 0 {
			begin = h.OldStart
		}
		newBegin := h.NewStart - 1
		if h.NewLines == 0 {
			newBegin = h.NewStart
		}
		before := at
		pass(begin)
		if newLine += at - before; newLine != newBegin {
			t.Fatalf("the hunk %d,%d is at line %d of the new text, not at %d", h.OldStart, h.OldLines, newLine, newBegin)
		}
		olds, news := 0, 0
		for i, line := range h.Lines {
			if line == noNewline {
				continue
			}
			text := line[1:] + "\n"
			if i+1 < len(h.Lines) && h.Lines[i+1] == noNewline {
				text = line[1:]
			}
			if line[0] != added {
				if !strings.HasPrefix(rest, text) || (text == line[1:] && rest != text) {
					t.Fatalf("line %d of the old text is not %q", at+1, text)
				}
				rest, at, olds = rest[len(text):], at+1, olds+1
			}
			if line[0] != deleted {
				out.WriteString(text)
				newLine, news = newLine+1, news+1
			}
		}
		if olds != h.OldLines || news != h.NewLines {
			t.Fatalf("a hunk says %d and %d lines and has %d and %d", h.OldLines, h.NewLines, olds, news)
		}
	}
	out.WriteString(rest)
	return out.String()
}

func check(t testing.TB, oldText, newText string, work int) []protocol.Hunk {
	t.Helper()
	all := runs(oldText, newText, &work)
	hunks, cut := hunksOf(all, 1<<40)
	if cut {
		t.Fatal("a change is missing")
	}
	for _, h := range hunks {
		if h.OldLines+h.NewLines == 0 || len(h.Lines) == 0 {
			t.Fatalf("an empty hunk: %+v", h)
		}
	}
	if got := apply(t, oldText, hunks); got != newText {
		t.Fatalf("the hunks make %q of %q, not %q", got, oldText, newText)
	}
	return hunks
}

func TestHunks(t *testing.T) {
	lines := func(n int) string {
		var b strings.Builder
		for i := 1; i <= n; i++ {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		return b.String()
	}
	twenty := lines(20)
	for _, c := range []struct {
		name, old, new string
		want           string
	}{
		{"equal", twenty, twenty, ""},
		{"both empty", "", "", ""},
		{"a new file", "", "a\nb\n", "@@ -0,0 +1,2 @@|+a|+b"},
		{"an emptied file", "a\nb\n", "", "@@ -1,2 +0,0 @@|-a|-b"},
		{"one line", twenty, strings.Replace(twenty, "line 10\n", "LINE 10\n", 1), "@@ -7,7 +7,7 @@| line 7| line 8| line 9|-line 10|+LINE 10| line 11| line 12| line 13"},
		{"the first", twenty, "new\n" + twenty, "@@ -1,3 +1,4 @@|+new| line 1| line 2| line 3"},
		{"the last", twenty, twenty + "end\n", "@@ -18,3 +18,4 @@| line 18| line 19| line 20|+end"},
		{"no line feed", "a\nb\n", "a\nb", `@@ -1,2 +1,2 @@| a|-b|+b|\ No newline at end of file`},
		{"no line feed on both", "a\nb", "A\nb", `@@ -1,2 +1,2 @@|-a|+A| b|\ No newline at end of file`},
		{"only the line's end", "a\r\n", "a\n", "@@ -1,1 +1,1 @@|-a\r|+a"},
		{"two places", twenty, strings.NewReplacer("line 3\n", "", "line 18\n", "x\n").Replace(twenty),
			"@@ -1,6 +1,5 @@| line 1| line 2|-line 3| line 4| line 5| line 6|@@ -15,6 +14,6 @@| line 15| line 16| line 17|-line 18|+x| line 19| line 20"},
		{"inserted and kept", "a\nb\nc\n", "a\nx\nb\ny\nc\n", "@@ -1,3 +1,5 @@| a|+x| b|+y| c"},
	} {
		var got []string
		for _, h := range check(t, c.old, c.new, maxDiffWork) {
			got = append(got, fmt.Sprintf("@@ -%d,%d +%d,%d @@", h.OldStart, h.OldLines, h.NewStart, h.NewLines))
			got = append(got, h.Lines...)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, s, c.want)
		}
	}
}

// A text that was changed a little gives a little diff, wherever that is.
func TestHunksAreSmall(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		var old, edited []string
		edits := 0
		for i := range 2000 {
			line := fmt.Sprintf("%d\n", r.IntN(300)) // many are equal
			old = append(old, line)
			switch {
			case r.IntN(200) == 0:
				edits++
			case r.IntN(200) == 0:
				edits += 2
				edited = append(edited, fmt.Sprintf("new %d\n", i))
			default:
				edited = append(edited, line)
			}
		}
		got := 0
		for _, h := range check(t, strings.Join(old, ""), strings.Join(edited, ""), maxDiffWork) {
			for _, line := range h.Lines {
				if line[0] == added || line[0] == deleted {
					got++
				}
			}
		}
		if got > edits {
			t.Errorf("seed %d: %d lines differ, at most %d were changed", seed, got, edits)
		}
	}
}

// However much the work may be, what comes out is right; without any, it is one
// replacement.
func FuzzHunks(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd", 100)
	f.Add("", "x", 0)
	f.Add("a\na\na\nb\na\n", "a\nb\nb\na\na\na", 7)
	f.Add("a\r\nb\x00\n\n\n", "a\nb\n\n", 1<<20)
	f.Fuzz(func(t *testing.T, a, b string, work int) {
		work = min(max(work, 0), 1<<20)
		check(t, a, b, work)
		check(t, strings.ReplaceAll(a, "a", "\n"), strings.ReplaceAll(b, "a", "\n"), work)
		// In little room it says what is missing, and stays a diff by its numbers.
		all := runs(a, b, &work)
		hunks, cut := hunksOf(all, 400)
		if !cut && apply(t, a, hunks) != b {
			t.Errorf("a change is missing and nothing says so: %q to %q: %+v", a, b, hunks)
		}
		for _, h := range hunks {
			if n := h.OldLines + h.NewLines; n < len(h.Lines)-2 || n == 0 {
				t.Errorf("a hunk of %d lines: %+v", n, h)
			}
		}
	})
}

func BenchmarkHunksOfUnlikeTexts(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	text := func() string {
		var s strings.Builder
		for s.Len() < 4<<20 {
			fmt.Fprintf(&s, "%d\n", r.IntN(1000))
		}
		return s.String()
	}
	many := func() string { // few enough lines to be compared
		var s strings.Builder
		for range maxDiffLines/2 - 1 {
			fmt.Fprintf(&s, "%d\n", r.IntN(1000))
		}
		return s.String()
	}
	for name, c := range map[string][2]string{
		"random":      {text(), text()},
		"compared":    {many(), many()},
		"empty lines": {"a" + strings.Repeat("\n", 4<<20) + "b", "b" + strings.Repeat("\n", 4<<20) + "a"},
		"one line":    {strings.Repeat("x", 4<<20), strings.Repeat("x", 4<<20) + "y"},
		"periodic":    {strings.Repeat("a\nb\n", maxDiffLines/8), strings.Repeat("b\nc\na\n", maxDiffLines/8)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				work := maxDiffWork
				hunksOf(runs(c[0], c[1], &work), 500<<10)
			}
		})
	}
}
