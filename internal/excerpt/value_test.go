package excerpt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"sessionhub/protocol"
)

func TestTextKeepsHeadAndTail(t *testing.T) {
	var log strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&log, "log line %d of the build\n", i)
	}
	log.WriteString("ERROR: the build failed because of X")
	got, cut := Text(log.String(), 10_000, false)
	lines := strings.Split(got, "\n")
	if !cut || encodedLen(got) > 10_000 || len(got) < 9_000 || lines[0] != "log line 0 of the build" || lines[len(lines)-1] != "ERROR: the build failed because of X" {
		t.Errorf("%d bytes, from %q to %q", len(got), lines[0], lines[len(lines)-1])
	}
	marks, kept := 0, 0
	for _, line := range lines {
		var n string
		if _, err := fmt.Sscanf(line, "… %s bytes left out …", &n); err == nil {
			marks++
			_, _ = fmt.Sscan(strings.ReplaceAll(n, ",", ""), &kept)
		} else if line != "ERROR: the build failed because of X" && !strings.HasSuffix(line, " of the build") {
			t.Errorf("half a line: %q", line)
		}
	}
	head, tail, _ := strings.Cut(got, "\n… ")
	_, tail, _ = strings.Cut(tail, "…\n")
	if marks != 1 || kept != log.Len()-len(head)-len(tail) {
		t.Errorf("%d marks; it says that %d bytes are missing", marks, kept)
	}
	if s, cut := Text(log.String(), log.Len()*2, false); cut || s != log.String() {
		t.Error("what fits was cut")
	}
	// With a hash, what differs in the middle alone differs.
	a, _ := Text(strings.Repeat("x", 5000)+"1"+strings.Repeat("x", 5000), 1000, true)
	b, _ := Text(strings.Repeat("x", 5000)+"2"+strings.Repeat("x", 5000), 1000, true)
	if a == b || len(a) > 1000 {
		t.Errorf("%d bytes, equal %v", len(a), a == b)
	}
}

func diffItem(path, oldText, newText string) json.RawMessage {
	return protocol.Marshal(map[string]string{"type": "diff", "path": path, "oldText": oldText, "newText": newText})
}

// The one changed line of a large file is there, and nothing is said to be missing.
func TestLargeDiffShowsItsChange(t *testing.T) {
	var old strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&old, "    \"node_modules/pkg-%d\": { \"version\": \"1.0.0\" },\n", i)
	}
	edited := strings.Replace(old.String(), `pkg-8000": { "version": "1.0.0"`, `pkg-8000": { "version": "6.6.6-evil"`, 1)
	small := diffItem("b", "1\n", "2\n")
	items, changed, cut := Items([]json.RawMessage{diffItem("package-lock.json", old.String(), edited), small}, 100_000, true)
	var d protocol.DiffContent
	if err := json.Unmarshal(items[0], &d); err != nil {
		t.Fatal(err)
	}
	if !changed || cut || d.Truncated || d.Path != "package-lock.json" || len(d.Hunks) != 1 || d.Hunks[0].OldStart != 7998 || len(d.Hunks[0].Lines) != 8 ||
		!strings.Contains(d.Hunks[0].Lines[4], "+    \"node_modules/pkg-8000\": { \"version\": \"6.6.6-evil\"") || len(d.SHA256) != 64 {
		t.Errorf("changed %v, cut %v: %+v", changed, cut, d)
	}
	if string(items[1]) != string(small) {
		t.Errorf("the small diff became %s", items[1])
	}
	// A replacement of everything does not fit: its ends do, by their real numbers.
	items, _, cut = Items([]json.RawMessage{diffItem("p", old.String(), strings.ToUpper(old.String()))}, 50_000, true)
	if err := json.Unmarshal(items[0], &d); err != nil {
		t.Fatal(err)
	}
	first, last := d.Hunks[0], d.Hunks[len(d.Hunks)-1]
	if !cut || !d.Truncated || len(items[0]) > 50_000 || len(items[0]) < 25_000 || first.OldStart != 1 || last.NewStart+last.NewLines-1 != 20_000 {
		t.Errorf("cut %v, %d bytes, from %d to %d", cut, len(items[0]), first.OldStart, last.NewStart+last.NewLines-1)
	}
}

func TestItemsSayWhatIsMissing(t *testing.T) {
	text := func(s string) json.RawMessage { return textBlock(s) }
	long := strings.Repeat("a line\n", 5000)
	many := make([]json.RawMessage, 5000)
	for i := range many {
		many[i] = text(fmt.Sprint("part ", i))
	}
	image := protocol.Marshal(map[string]any{"type": "content", "content": map[string]string{"type": "image", "data": strings.Repeat("A", 50_000)}})
	for name, c := range map[string]struct {
		items []json.RawMessage
		want  []string
	}{
		"a text":   {[]json.RawMessage{text("short"), text(long)}, []string{`"short"`, "bytes left out …", `"truncated":true`}},
		"an image": {[]json.RawMessage{image, text("short")}, []string{`"short"`, "… 50,002 bytes of image left out …", `"truncated":true`}},
		"many":     {many, []string{`"part 0"`, `"part 4999"`, "parts left out …", `"truncated":true`}},
		"no object": {[]json.RawMessage{protocol.Marshal(long), text("short")},
			[]string{`"short"`, `{"type":"content","content":{"type":"text","text":"a line`, `"truncated":true`}},
	} {
		items, changed, cut := Items(c.items, 10_000, true)
		all := string(protocol.Marshal(items))
		if !changed || !cut || len(all) > 11_000 {
			t.Errorf("%s: changed %v, cut %v, %d bytes", name, changed, cut, len(all))
		}
		for _, want := range c.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
	}
}

// What is short in a value stays where it is: the command beside a long text.
func TestValueKeepsItsShape(t *testing.T) {
	in := protocol.Marshal(map[string]any{"command": "rm -rf x", "env": []string{"A=1"}, "zz": strings.Repeat("é\"", 40_000)})
	got, cut := Value(in, 5000, true)
	var out struct {
		Command string   `json:"command"`
		Env     []string `json:"env"`
		Long    string   `json:"zz"`
	}
	if err := json.Unmarshal(got, &out); err != nil || !cut || len(got) > 5000 || out.Command != "rm -rf x" || out.Env[0] != "A=1" ||
		!strings.HasPrefix(out.Long, "é\"é") || !strings.HasSuffix(out.Long, "é\"") {
		t.Errorf("%v, cut %v, %d bytes", err, cut, len(got))
	}
}

func FuzzValue(f *testing.F) {
	f.Add(`{"a":"b","c":["d",{"e:":"f\"g\\"}],"h":1.0}`, 300, 1000)
	f.Add(`"\u0000\ud83d\ude00"`, 600, 500)
	f.Fuzz(func(t *testing.T, text string, limit, n int) {
		raw, err := protocol.Compact([]byte(text))
		if err != nil || limit < maxMark+2 || limit > 1<<20 || n < 1 || n > 2000 || len(raw)*n > 1<<20 {
			return
		}
		list := []byte("[" + strings.TrimSuffix(strings.Repeat(string(raw)+",", n), ",") + "]")
		got, cut := Value(list, limit, true)
		if !json.Valid(got) || !utf8.Valid(got) || len(got) > limit {
			t.Fatalf("%d bytes of %d, limit %d: %.200s", len(got), len(list), limit, got)
		}
		if cut == (string(got) == string(list)) {
			t.Fatalf("cut %v", cut)
		}
		items := []json.RawMessage{raw, list, diffItem("p", string(list), text)}
		items, _, _ = Items(items, limit, true)
		for _, item := range items {
			if !json.Valid(item) {
				t.Fatalf("%s", item)
			}
		}
	})
}
