package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// typeKeys decodes what a terminal sends, all at once or byte by byte.
func typeKeys(in string, oneByOne bool) []key {
	var keys []key
	var buf []byte
	take := func(final bool) {
		for len(buf) > 0 {
			k, n := decodeKey(buf, final)
			if n == 0 {
				return
			}
			buf = buf[n:]
			keys = append(keys, k)
		}
	}
	for i := range len(in) {
		buf = append(buf, in[i])
		if oneByOne {
			take(false)
		}
	}
	take(false)
	take(true)
	return keys
}

func TestKeys(t *testing.T) {
	for in, want := range map[string][]key{
		"aß漢":                   {{kind: keyRune, r: 'a'}, {kind: keyRune, r: 'ß'}, {kind: keyRune, r: '漢'}},
		"\r\n\x7f\x03\x04":      {{kind: keyEnter}, {kind: keyNewline}, {kind: keyBackspace}, {kind: keyInterrupt}, {kind: keyEOF}},
		"\x1b[A\x1b[1;5D\x1bOH": {{kind: keyUp}, {kind: keyWordLeft}, {kind: keyHome}},
		"\x1b[3~\x1b[99~x":      {{kind: keyDelete}, {}, {kind: keyRune, r: 'x'}},
		"\x1b\r\x1bf":           {{kind: keyNewline}, {kind: keyWordRight}},
		"\x1b":                  {{}},
		"\xff\xc3a":             {{}, {}, {kind: keyRune, r: 'a'}},
		"\u009bx":               {{}, {kind: keyRune, r: 'x'}},
		// Within a paste no key does anything, and nothing in it acts.
		"\x1b[200~y\r\nrm\x03\x1b[31m\x1b[201~n": {{kind: keyPaste, text: "y\nrm␃␛[31m"}, {kind: keyRune, r: 'n'}},
	} {
		for _, oneByOne := range []bool{false, true} {
			got := typeKeys(in, oneByOne)
			if len(got) != len(want) {
				t.Errorf("%q: got %+v", in, got)
				continue
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("%q: key %d is %+v, want %+v", in, i, got[i], want[i])
				}
			}
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("\x1b[200~a\x1b[201~\x1b[1;5C\x1bO")
	f.Fuzz(func(t *testing.T, in string) {
		e := newEditor(&history{})
		for _, k := range typeKeys(in, false) {
			e.press(k)
			if e.pos < 0 || e.pos > len(e.text) {
				t.Fatalf("the cursor is at %d of %d", e.pos, len(e.text))
			}
			if strings.ContainsFunc(strings.ReplaceAll(string(e.text), "\n", ""), func(r rune) bool { return r != '\t' && acts(r) }) {
				t.Fatalf("the line holds %q", string(e.text))
			}
		}
		e.rows(painter{}, 20)
	})
}

func TestEditor(t *testing.T) {
	const left, right, home, end = "\x1b[D", "\x1b[C", "\x01", "\x05"
	for in, want := range map[string]string{
		"helo" + left + "l":                   "hel|o"[:3] + "l|o",
		"abc" + home + "x" + right + right:    "xab|c",
		"one two" + "\x17":                    "one |",
		"one two" + home + "\x0b":             "|",
		"one two" + "\x1bb" + "\x15":          "|two",
		"a\nbc" + home + "x":                  "a\nx|bc",
		"a\nbc\x15\x7f\x7f":                   "|",
		"漢字" + left + "\x7f":                  "|字",
		"ab" + home + "\x1b[3~\x1b[3~\x1b[3~": "|",
		"ab" + home + end + "c":               "abc|",
		"a\x1b[200~\x03\r\x1b[201~b":          "a␃\nb|",
	} {
		e := newEditor(&history{})
		for _, k := range typeKeys(in, false) {
			e.press(k)
		}
		if got := string(e.text[:e.pos]) + "|" + string(e.text[e.pos:]); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestEditorRecallsAndKeepsTheDraft(t *testing.T) {
	e := newEditor(&history{lines: []string{"first", "second"}})
	var seen []string
	for _, in := range []string{"draft", "\x1b[A", "\x1b[A", "\x1b[A", "\x1b[B", "\x1b[B", "\x1b[B"} {
		for _, k := range typeKeys(in, false) {
			e.press(k)
		}
		seen = append(seen, string(e.text))
	}
	if got := strings.Join(seen, " "); got != "draft second first first second draft draft" {
		t.Errorf("it showed %s", got)
	}
	if text, err := e.take(); text != "draft" || err != nil || !e.empty() || e.history.lines[2] != "draft" {
		t.Errorf("took %q, %v; the history is %q", text, err, e.history.lines)
	}
}

func TestEditorRows(t *testing.T) {
	e := newEditor(&history{})
	e.set([]rune("漢字漢字 ab\ncd"))
	rows, row, column := e.rows(painter{}, 8)
	if got := strings.ReplaceAll(strings.Join(rows, "|"), "\x1b[0;1m›\x1b[0m", "›"); got != "› 漢字漢|  字 ab|  cd" || row != 2 || column != 4 {
		t.Errorf("got %q, the cursor at %d, %d", got, row, column)
	}
	e.set([]rune(strings.Repeat("x\n", 100)))
	e.pos = 20 // the beginning of the eleventh line
	rows, row, column = e.rows(painter{}, 8)
	if len(rows) != maxTypedRows || row != maxTypedRows/2 || column != 2 {
		t.Errorf("%d rows, the cursor at %d, %d", len(rows), row, column)
	}
}

func TestHistoryIsPrivateAndBounded(t *testing.T) {
	dir := t.TempDir()
	env := func(name string) string { return map[string]string{"XDG_STATE_HOME": dir}[name] }
	path := historyPath(env)
	h, err := loadHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "one", "two\nlines", " secret", "", strings.Repeat("x", maxHistoryBytes+1)} {
		if err := h.add(line); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(h.lines, "|"); got != "one|two\nlines| secret" {
		t.Errorf("it remembers %q", got)
	}
	again, err := loadHistory(path)
	if err != nil || strings.Join(again.lines, "|") != "one|two\nlines" {
		t.Errorf("the file gave %q, %v", again.lines, err)
	}
	check := func() {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if info, err = os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	check()
	if err := os.WriteFile(path, []byte(strings.Repeat("\"x\"\nrubbish\n", 2*maxHistory+1)+"\"last\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err = loadHistory(path); err != nil || len(again.lines) != maxHistory || again.lines[maxHistory-1] != "last" {
		t.Errorf("%d lines, %v", len(again.lines), err)
	}
	check()
	if again, err = loadHistory(path); err != nil || len(again.lines) != maxHistory {
		t.Errorf("then %d lines, %v", len(again.lines), err)
	}
	if home := historyPath(func(n string) string { return map[string]string{"HOME": "/h"}[n] }); home != "/h/.local/state/sessionhub/chat_history" {
		t.Errorf("it lies at %s", home)
	}
	if nowhere := historyPath(func(string) string { return "" }); nowhere != "" {
		t.Errorf("without a home it lies at %s", nowhere)
	}
}
