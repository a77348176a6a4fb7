package transcript

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sessionhub/protocol"
)

// quoted is a text as a block quote, that comes in pieces of at most so many bytes, or of
// one character.
func quoted(s string, size int) string {
	var out bytes.Buffer
	q := quote{out: &out}
	var piece []byte
	for _, r := range s {
		if len(piece) > 0 && len(piece)+utf8.RuneLen(r) > size {
			q.write(string(piece))
			piece = piece[:0]
		}
		piece = utf8.AppendRune(piece, r)
	}
	q.write(string(piece))
	q.end()
	return out.String()
}

// What is escaped in a quote, and what is surely code and stays.
func TestQuote(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                           {"", ""},
		"lines":                             {"a\n\nb", "> a\n>\n> b\n"},
		"a tag":                             {"a <b>x</b>", `> a \<b>x\</b>` + "\n"},
		"what is no tag":                    {"1 < 2 <3 <- <", `> 1 < 2 <3 <- \<` + "\n"},
		"a comment, which has no end":       {"<!-- x\n\ny", "> \\<!-- x\n>\n> y\n"},
		"a tag that is escaped":             {`\<b> \\<b>`, `> \<b> \\\<b>` + "\n"},
		"a picture":                         {`![a](b) !\[c] \![d]`, `> !\[a](b) !\[c] \!\[d]` + "\n"},
		"a link":                            {"[a](b) <https://a.b/c> <mailto:a@b.c>", "> [a](b) <https://a.b/c> <mailto:a@b.c>\n"},
		"no link":                           {"<a:b> <https://a b> <https://a`b>", "> \\<a:b> \\<https://a b> \\<https://a`b>\n"},
		"a code span":                       {"`<b>` and ``a`<b>``", "> `<b>` and ``a`<b>``\n"},
		"a code span of two lines":          {"`a\n` <b> `\n\n`<b>`", "> `a\n> ` \\<b> `\n>\n> `<b>`\n"},
		"an escaped backtick":               {"\\`<b>`", "> \\`\\<b>`\n"},
		"cells end code":                    {"| ` | <b> ` |", "> | ` | \\<b> ` |\n"},
		"a fence":                           {"```html\n<b>\n\t<i>\n```\n<b>", "> ```html\n> <b>\n> \t<i>\n> ```\n> \\<b>\n"},
		"a fence without an end":            {"~~~\n```\n<b>", "> ~~~\n> ```\n> <b>\n"},
		"a shorter fence ends none":         {"````\n```\n<b>\n````\n<b>", "> ````\n> ```\n> <b>\n> ````\n> \\<b>\n"},
		"backticks behind a fence are none": {"``` a`b\n<b>", "> ``` a`b\n> \\<b>\n"},
		"a fence behind a tab":              {"```\n\t```\n<b>", "> ```\n>     ```\n> <b>\n"},
		"a fence in a list":                 {"1. a\n   ```\n   <b>\n   ```\n2. <b>", "> 1. a\n>    ```\n>    <b>\n>    ```\n> 2. \\<b>\n"},
		"a list ends its fence":             {"- ```\n  <b>\n<b>", "> - ```\n>   <b>\n> \\<b>\n"},
		"a fence in a list in a list":       {"- a\n  - b\n\n    ```\n    <b>\n    ```\n\n<b>", "> - a\n>   - b\n>\n>     ```\n>     <b>\n>     ```\n>\n> \\<b>\n"},
		"code by its indentation":           {"    ```\n<b>", ">     ```\n> \\<b>\n"},
		"a number in a paragraph":           {"a\n2. b\n   ```\n<b>", "> a\n> 2. b\n>    ```\n> \\<b>\n"},
		"a lazy line":                       {"- a\nb\n  ```\n<b>", "> - a\n> b\n>   ```\n> \\<b>\n"},
		"behind a lazy line":                {"- a\nb\n\n```\n<b>\n```", "> - a\n> b\n>\n> ```\n> <b>\n> ```\n"},
		"a fence in a quote":                {"> ```\n<b>", "> > ```\n> \\<b>\n"},
		"a line is no item":                 {"a\n- - -\n  ```\n<b>", "> a\n> - - -\n>   ```\n> <b>\n"},
		// Renderers differ about these.
		"an item without content":   {"- -\n\n  ```\n```\n<b>", "> - -\n>\n>   ```\n> ```\n> \\<b>\n"},
		"a table or a fence":        {"```|a|\n|-|\n<b>", "> ```|a|\n> |-|\n> \\<b>\n"},
		"a break behind a mark":     {"\\  \n<b>", "> \\ \n> \\<b>\n"},
		"colours and a direction":   {"\x1b[31mred\x1b[0m \u202e", "> red ⟨U+202E⟩\n"},
		"an end of line of another": {"a\r\nb\u2028c", "> a\n> b\n> c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 1} {
				if got := quoted(c.in, size); got != c.want {
					t.Errorf("%q in pieces of %d bytes is\n%s\nwant\n%s", c.in, size, got, c.want)
				}
			}
		})
	}
}

// A line without an end is not held, and the rest of its text is not taken for code.
func TestQuoteOfALongLine(t *testing.T) {
	long := strings.Repeat("é<b>", 3*maxLine/5)
	out := quoted(long+"\n```\n<i>", 1000)
	if want := "> " + strings.ReplaceAll(long, "<", `\<`) + "\n> ```\n> \\<i>\n"; out != want {
		t.Errorf("got %d bytes, want %d", len(out), len(want))
	}
	var b bytes.Buffer
	q := quote{out: &b}
	q.write(long)
	if len(q.line) > maxLine {
		t.Errorf("%d bytes are held", len(q.line))
	}
}

// skeleton is what is the hub's of a transcript: what is in no quote and in no fence.
func skeleton(t *testing.T, md string) string {
	t.Helper()
	var out strings.Builder
	fence := ""
	for line := range strings.Lines(md) {
		line = strings.TrimSuffix(line, "\n")
		switch run := line[:ticks(line)]; {
		case fence != "" && line == fence:
			fence = ""
		case fence != "":
			// As CommonMark has it, longer runs end it too, and those that are indented.
			if rest := strings.TrimLeft(line, " "); len(line)-len(rest) < 4 && ticks(rest) >= len(fence) && strings.Trim(rest, "` \t") == "" {
				t.Fatalf("a fence of %d is ended by %q", len(fence), line)
			}
		case len(run) >= 3:
			fence = run
			out.WriteString("fence\n")
		case strings.HasPrefix(line, ">"):
			if !strings.HasSuffix(out.String(), "quote\n") {
				out.WriteString("quote\n")
			}
		default:
			out.WriteString(line + "\n")
		}
	}
	if fence != "" {
		t.Fatal("a fence has no end")
	}
	return out.String()
}

// spoken is a log in which a stranger says a text in every place where one can.
func spoken(text string) []protocol.Entry {
	text = "." + text // so that something is there
	raw := string(protocol.Marshal(text))
	var s script
	s.message("m1", "anna", raw)
	s.output("m1", "thought", text)
	s.output("m1", "text", text)
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t","title":"a","status":"completed","input":{"x":`+raw+`},"output":`+raw+
		`,"content":[{"type":"content","content":{"type":"text","text":`+raw+`}},{"type":"diff","path":"p","oldText":"","newText":`+raw+`}]}`)
	s.ask("m1", "i1", "a", `{"x":`+raw+`}`)
	s.complete("m1", protocol.StopEndTurn)
	return s.entries
}

// Whatever a stranger says, what stands outside of quotes and fences is the hub's.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"", "a", "```", "````\n```\n", "> a", "# b\n---\n", "\n\n", "<!--", "\x1b]0;x", "a\r\nb\rc\u2028d", "- a\n\n      b", "~~~", "\t`", "\u202e\U000e0041", "\x1b#0"} {
		f.Add(s)
	}
	want := ""
	f.Fuzz(func(t *testing.T, said string) {
		if want == "" {
			want = skeleton(t, transcribe(Markdown, spoken("x")))
		}
		md := transcribe(Markdown, spoken(said))
		if got := skeleton(t, md); got != want {
			t.Errorf("%q makes\n%s\nof\n%s", said, got, want)
		}
		for _, r := range md {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
				t.Errorf("%q brings %U out", said, r)
			}
		}
		again := quoted(said, 1)
		if whole := quoted(said, 1<<20); again != whole {
			t.Errorf("%q depends on its pieces:\n%s\n%s", said, again, whole)
		}
	})
}

// A title, a name, an option: on one line, and without a meaning.
func TestInline(t *testing.T) {
	for in, want := range map[string]string{
		"a_b _c_":       `a_b \_c\_`,
		"# *a* [b](c)":  `\# \*a\* \[b\](c)`,
		"a\nb\t c":      "a b c",
		"<b>&amp; `x`|": "\\<b>\\&amp; \\`x\\`\\|",
	} {
		if got := inline(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"a": "`a`", "`": "`` ` ``", "a``b": "```a``b```", "": "(none)", "a\nb": "`a b`"} {
		if got := code(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
