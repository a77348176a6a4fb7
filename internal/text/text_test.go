package text

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The table that web/dashboard/test/text.test.ts reads, too.
func TestCases(t *testing.T) {
	raw, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []map[string]string
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	decide := map[string]func(string) string{"prose": Prose, "output": Output, "line": Line, "exact": Exact, "exactLine": ExactLine}
	for _, c := range cases {
		for how, f := range decide {
			if want, ok := c[how]; ok && f(c["in"]) != want {
				t.Errorf("%s, %s:\n got %q\nwant %q", c["name"], how, f(c["in"]), want)
			}
		}
	}
}

func TestWhatIsNotUTF8(t *testing.T) {
	for how, f := range map[string]func(string) string{"prose": Prose, "output": Output, "line": Line, "exact": Exact, "codes": Codes} {
		got := f("a\xff\xfe b\xc2")
		if how == "codes" {
			if got != `a\u{fffd} b\u{fffd}` {
				t.Errorf("codes: %q", got)
			}
		} else if got != "a\uFFFD b\uFFFD" {
			t.Errorf("%s: %q", how, got)
		}
	}
}

// A text that comes in pieces is shown as if it had come at once, wherever it
// was cut.
func TestStreamIsProseInPieces(t *testing.T) {
	text := "a\x1b[1;31mred\x1b[0m\r\nb\rc\x1b]8;;http://x\x1b\\link\x1b]8;;\a d data:image/png;base64," + strings.Repeat("AAAA", 50) +
		") data: dat\u009b31m\U0001f469\u200d\U0001f680\u2764\ufe0f\ufe0f \x1b(B\x1b[3"
	want := Prose(text)
	for size := 1; size < 40; size++ {
		var s Stream
		var got strings.Builder
		for i := 0; i < len(text); {
			end := min(len(text), i+size)
			for end < len(text) && !utf8.RuneStart(text[end]) {
				end++
			}
			got.WriteString(s.Write(text[i:end]))
			i = end
		}
		got.WriteString(s.End())
		if got.String() != want {
			t.Fatalf("in pieces of %d:\n got %q\nwant %q", size, got.String(), want)
		}
	}
}

// What has no end is not held back for ever, and costs no more than its length.
func TestStreamHoldsLittle(t *testing.T) {
	for _, begin := range []string{"\x1b]52;c;", "\x1b[", "data:image/png;", "\r", "\x1bP"} {
		var s Stream
		said := s.Write(begin)
		for range maxSequence + 1000 {
			said += s.Write("1")
			if len(s.held) > maxSequence {
				t.Fatalf("%q: it holds %d bytes", begin, len(s.held))
			}
		}
		if said == "" {
			t.Errorf("%q: nothing was shown", begin)
		}
	}
}

func TestJSONMeansTheSame(t *testing.T) {
	text := "\x1b[31m \u009b2J \u202e \U000e0041 漢字 \u200d\ufe0f"
	raw, err := json.MarshalIndent(map[string]string{"text": text}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got := JSON(raw)
	var back map[string]string
	if err := json.Unmarshal(got, &back); err != nil || back["text"] != text {
		t.Errorf("%s: %q, %v", got, back, err)
	}
	if strings.ContainsFunc(string(got), func(r rune) bool { return control(r) || invisible(r) }) || !strings.Contains(string(got), "漢字") {
		t.Errorf("got %q", got)
	}
}

// unexact reads an exact line back.
func unexact(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		switch {
		case !p.Mark:
			b.WriteString(p.Text)
		case strings.HasPrefix(p.Text, "U+"):
			n, err := strconv.ParseUint(p.Text[2:], 16, 32)
			if r := rune(n); err == nil && !alike(b.String(), r) {
				b.WriteRune(r)
			}
		case p.Text == "\u2421":
			b.WriteByte(0x7f)
		default:
			r, _ := utf8.DecodeRuneInString(p.Text)
			b.WriteRune(r - 0x2400)
		}
	}
	return b.String()
}

// alike reports that a mark names the character before it, which is shown.
func alike(before string, r rune) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	return last == r && (in(r, alikeSpans) || in(r, otherSpans))
}

func FuzzShownTextIsHarmless(f *testing.F) {
	for _, s := range []string{"\x1b]0;x\a", "\u202e\u2066", "\r\r\n", "data:a/b;base64,", "\xff\xc2\x9b", "⟨U+202E⟩␛", "gо\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for how, shown := range map[string]string{
			"prose": Prose(s), "output": Output(s), "line": Line(s), "exact": Exact(s), "exact line": ExactLine(s), "JSON": string(JSON([]byte(valid(s)))),
		} {
			for _, r := range shown {
				if control(r) || reorders(r) || strings.HasPrefix(how, "exact") && (invisible(r) || in(r, spaceSpans)) || strings.HasSuffix(how, "line") && r == '\n' {
					t.Fatalf("%s of %q is %q", how, s, shown)
				}
			}
		}
		// No two texts look the same where somebody decides.
		if got := unexact(Parts(s, true)); got != valid(s) {
			t.Fatalf("%q reads %q, and back %q", s, ExactLine(s), got)
		}
		var st Stream
		var pieces strings.Builder
		for _, r := range valid(s) {
			pieces.WriteString(st.Write(string(r)))
		}
		pieces.WriteString(st.End())
		if pieces.String() != Prose(s) {
			t.Fatalf("%q in pieces is %q, at once %q", s, pieces.String(), Prose(s))
		}
		for n := range min(len(s), 300) {
			if at := Cut(s, n); utf8.ValidString(s) && (!utf8.ValidString(s[:at]) || n > 0 && at == 0) {
				t.Fatalf("%q is cut for %d at %d", s, n, at)
			}
		}
	})
}

func TestCutTearsNothing(t *testing.T) {
	for _, whole := range []string{"e\u0301", "\U0001f469\u200d\U0001f680", "\u2764\ufe0f", "\r\n", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u1112\u1161\u11ab", "漢", "क्"} {
		text := "ab" + whole + "cd"
		for n := 3; n < len(text)-2; n++ {
			if at := Cut(text, n); at != 2 {
				t.Errorf("%q is cut for %d at %d", text, n, at)
			}
			if at := CutAfter(text, n); at != len(text)-2 {
				t.Errorf("%q is cut after %d at %d", text, n, at)
			}
		}
		if at := Cut(whole+whole, len(whole)); at != len(whole) {
			t.Errorf("two of %q are cut at %d", whole, at)
		}
	}
	flags := strings.Repeat("\U0001f1e9\U0001f1ea", 3)
	if at := Cut(flags, 12); at != 8 {
		t.Errorf("flags are cut at %d", at)
	}
	// What was made to be one character for ever is cut all the same.
	if at := Cut("z"+strings.Repeat("\u0301", 1000), 1000); at < 990 {
		t.Errorf("a flood of marks is cut at %d", at)
	}
	if got := Clip("ab\U0001f469\u200d\U0001f680cd", 8); got != "ab…" {
		t.Errorf("clipped to %q", got)
	}
}

func TestRightToLeft(t *testing.T) {
	if RightToLeft("plain ünï 漢字 \U0001f600") || !RightToLeft("a ש") || !RightToLeft("م") {
		t.Error("letters are taken for others")
	}
	if got := Codes("a ש\u202e"); got != `a \u{5e9}\u{202e}` {
		t.Errorf("got %q", got)
	}
}
