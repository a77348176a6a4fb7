package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func field(schema string) string { return `{"type":"object","properties":{"a":` + schema + `}}` }

func TestFormIsRead(t *testing.T) {
	f, err := ParseForm(raw(formSchema))
	if err != nil {
		t.Fatal(err)
	}
	var names, wants []string
	for _, field := range f.Fields {
		names, wants = append(names, field.Name), append(wants, field.Wants())
	}
	if f.Title != "Deploy" || f.Description != "Where to" || !slices.Equal(names, []string{"where", "parts", "mail", "copies", "share", "dry"}) {
		t.Errorf("%+v", f)
	}
	if want := []string{
		"one of its choices", "a list of 1 to 2 of its choices", "an email address of 3 to 80 characters that matches @",
		"a whole number from 1 to 9", "a number", "true or false",
	}; !slices.Equal(wants, want) {
		t.Errorf("wants %q", wants)
	}
	where := f.Fields[0]
	if !where.Required || where.Label() != "Where" || where.Choices[0] != (Choice{"eu", "Europe", "Frankfurt"}) || string(where.Default) != `"eu"` || f.Fields[1].Required {
		t.Errorf("%+v", where)
	}
}

// What agents send beside ACP's letter: null for absent, keywords that only describe, the
// titles of an older MCP, no type at the top.
func TestFormIsReadLeniently(t *testing.T) {
	for _, schema := range []string{
		`{}`, `{"type":"object"}`, `{"title":null,"properties":null,"required":null}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","additionalProperties":false,"_meta":{"a":[{}]},"properties":{}}`,
		field(`{"type":"string","title":null,"minLength":null,"enum":null,"default":null,"_meta":{},"examples":["x"],"$comment":"c"}`),
		field(`{"type":"string","enum":["a"],"enumNames":["A"]}`), field(`{"type":"string","oneOf":[{"const":"a"}]}`), field(`{"type":"string","oneOf":[{"const":"","title":"None","_meta":{"x":1}}]}`),
		field(`{"type":"array","uniqueItems":true,"items":{"anyOf":[{"const":"a","title":"A"}]}}`), field(`{"type":"string","format":"own","pattern":"(?=x)"}`),
		field(`{"type":"integer","minimum":0.5,"maximum":1e3}`), field(`{"type":"number","default":-1.5e-3}`),
	} {
		if _, err := ParseForm(raw(schema)); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
	f, _ := ParseForm(raw(field(`{"type":"string","enum":["a","b"],"enumNames":["A","B"]}`)))
	if c := f.Fields[0].Choices; c[1] != (Choice{Value: "b", Title: "B"}) {
		t.Errorf("choices %+v", c)
	}
}

func TestFormThatCannotBeShown(t *testing.T) {
	many := func(n int, f func(int) string) string {
		var all []string
		for i := range n {
			all = append(all, f(i))
		}
		return strings.Join(all, ",")
	}
	for _, test := range []struct{ schema, want string }{
		{``, "cannot be read"},
		{`[]`, "is no JSON object"},
		{`{"type":"array"}`, `not "object"`},
		{`{"$ref":"#/a"}`, `"$ref" cannot stand in a form`},
		{`{"type":"object","properties":[]}`, "properties: it is no JSON object"},
		{`{"type":"object","allOf":[]}`, `"allOf" cannot stand`},
		{`{"type":"object","properties":{"a":{"type":"string"},"a":{"type":"string"}}}`, `has "a" twice`},
		{`{"type":"object","properties":{"":{"type":"string"}}}`, "a name has 1 to 256 bytes"},
		{`{"type":"object","properties":{},"required":["b"]}`, `field "b": it is required, and not among`},
		{`{"type":"object","required":"b"}`, "required is no list of strings"},
		{`{"title":"` + strings.Repeat("x", MaxFormBytes) + `"}`, "at most 65536"},
		{`{"properties":{` + many(101, func(i int) string { return fmt.Sprintf(`"f%d":{"type":"boolean"}`, i) }) + `}}`, "101 fields: at most 100"},
		{strings.Repeat(`{"properties":`, 300) + strings.Repeat(`}`, 300), "cannot be read"},
		{field(`{}`), `field "a": its type is missing`},
		{field(`7`), `field "a": its schema is no JSON object`},
		{field(`{"type":["string","null"]}`), "type is no string"},
		{field(`{"type":"object","properties":{}}`), `the type "object" cannot stand`},
		{field(`{"type":"null"}`), `the type "null" cannot stand`},
		{field(`{"type":"string","$ref":"#/x"}`), `"$ref" cannot stand in a field of the type string`},
		{field(`{"type":"boolean","minimum":1}`), `"minimum" cannot stand in a field of the type boolean`},
		{field(`{"type":"number","exclusiveMinimum":1}`), `"exclusiveMinimum" cannot stand`},
		{field(`{"type":"string","minLength":2,"maxLength":1}`), "minLength is above maxLength"},
		{field(`{"type":"string","minLength":-1}`), "minLength is no whole number"},
		{field(`{"type":"string","minLength":1.5}`), "minLength is no whole number"},
		{field(`{"type":"string","minLength":"1"}`), "minLength is no whole number"},
		{field(`{"type":"integer","minimum":2,"maximum":1}`), "minimum is above maximum"},
		{field(`{"type":"integer","minimum":1e999}`), "minimum is no number"},
		{field(`{"type":"string","enum":[]}`), "enum has no choice"},
		{field(`{"type":"string","enum":["a","a"]}`), `the value "a" twice`},
		{field(`{"type":"string","enum":["a",1]}`), "enum is no list of strings"},
		{field(`{"type":"string","enum":["a"],"oneOf":[{"const":"a"}]}`), "two lists of choices"},
		{field(`{"type":"string","oneOf":[{"title":"A"}]}`), "oneOf[0]: const is missing"},
		{field(`{"type":"string","oneOf":[{"const":1}]}`), "oneOf[0]: const is no string"},
		{field(`{"type":"string","oneOf":[{"const":null}]}`), "oneOf[0]: const is no string"},
		{field(`{"type":"string","oneOf":[{"const":"a","if":{}}]}`), `oneOf[0]: "if" cannot stand`},
		{field(`{"type":"string","enum":[` + many(201, func(i int) string { return fmt.Sprintf(`"%d"`, i) }) + `]}`), "201 choices: at most 200"},
		{field(`{"type":"array"}`), "an array needs items"},
		{field(`{"type":"array","items":{"type":"integer","enum":["1"]}}`), "the items of an array are strings"},
		{field(`{"type":"array","items":{"type":"string"}}`), "an array needs items"},
		{field(`{"type":"integer","minimum":1.2,"maximum":1.8}`), "there is no whole number from minimum to maximum"},
		{field(`{"type":"string","minLength":70000}`), "minLength is above 65536"},
		{field(`{"type":"array","items":{"enum":["a"]},"minItems":2}`), "minItems is 2, and there are 1 choices"},
		{field(`{"type":"string","enum":["a"],"default":"b"}`), `its default: "b" is none of its choices`},
		{field(`{"type":"boolean","default":"true"}`), "its default: it wants true or false"},
		{field(`{"type":"array","items":{"enum":["a"]},"default":["a","a"]}`), `its default: it has "a" twice`},
	} {
		_, err := ParseForm(raw(test.schema))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.100s: %v, want %s", test.schema, err, test.want)
		}
		if _, ok := errors.AsType[*FormError](err); err != nil && !ok {
			t.Errorf("%.100s: %T", test.schema, err)
		}
	}
}

func TestAnswerIsChecked(t *testing.T) {
	f, err := ParseForm(raw(formSchema))
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{
		`{"where":"eu","copies":1}`, `{"where":"us","copies":9.0,"parts":["web","api"],"mail":"a@b.example","share":-1e3,"dry":true}`,
	} {
		if err := f.Check(raw(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, test := range []struct{ content, field, want string }{
		{``, "where", "it is required: one of its choices"},
		{`[]`, "", "the content is no JSON object"},
		{`{`, "", "cannot be read"},
		{`{"where":"eu","where":"us","copies":1}`, "", `has "where" twice`},
		{`{"where":"eu"}`, "copies", "it is required: a whole number from 1 to 9"},
		{`{"where":"mars","copies":1}`, "where", `"mars" is none of its choices`},
		{`{"where":null,"copies":1}`, "where", "it wants one of its choices"},
		{`{"where":"eu","copies":1,"Where":"eu"}`, "Where", "the form has no such field"},
		{`{"where":"eu","copies":1.5}`, "copies", "it wants a whole number from 1 to 9"},
		{`{"where":"eu","copies":"1"}`, "copies", "it wants a whole number from 1 to 9"},
		{`{"where":"eu","copies":10}`, "copies", "it wants a whole number from 1 to 9"},
		{`{"where":"eu","copies":1,"parts":[]}`, "parts", "it wants a list of 1 to 2 of its choices"},
		{`{"where":"eu","copies":1,"parts":["api","api"]}`, "parts", `it has "api" twice`},
		{`{"where":"eu","copies":1,"parts":["x"]}`, "parts", `"x" is none of its choices`},
		{`{"where":"eu","copies":1,"parts":"api"}`, "parts", "it wants a list"},
		{`{"where":"eu","copies":1,"mail":"A <a@b.example>"}`, "mail", "it wants an email address"},
		{`{"where":"eu","copies":1,"share":1e999}`, "share", "it wants a number"},
		{`{"where":"eu","copies":1,"dry":1}`, "dry", "it wants true or false"},
		{`{"where":"eu","copies":1,"dry":{}}`, "dry", "it wants true or false"},
		{`{"where":"` + strings.Repeat("x", MaxFormBytes) + `"}`, "", "at most 65536"},
	} {
		err := f.Check(raw(test.content))
		wrong, ok := errors.AsType[*FormError](err)
		if !ok || wrong.Field != test.field || !strings.Contains(wrong.Problem, test.want) {
			t.Errorf("%.100s: %v, want %s of %q", test.content, err, test.want, test.field)
		}
	}
}

func TestTextsAreChecked(t *testing.T) {
	for _, test := range []struct {
		schema, value string
		ok            bool
	}{
		{`{"type":"string","minLength":2}`, `"é"`, false}, {`{"type":"string","maxLength":2}`, `"😀é"`, true}, {`{"type":"string","maxLength":1}`, `"😀é"`, false},
		{`{"type":"string"}`, `""`, true}, {`{"type":"string","minLength":1}`, `""`, false},
		{`{"type":"string","pattern":"^a+$"}`, `"aaa"`, true}, {`{"type":"string","pattern":"^a+$"}`, `"ab"`, false}, {`{"type":"string","pattern":"b"}`, `"abc"`, true},
		{`{"type":"string","pattern":"(?!x)y"}`, `"anything"`, true},
		{`{"type":"string","pattern":"(((x{10}){10}){10}){10}"}`, `"anything"`, true},
		{`{"type":"string","pattern":"` + strings.Repeat("x{100}", 50) + `"}`, `"anything"`, true},
		{`{"type":"string","format":"date"}`, `"2026-02-28"`, true}, {`{"type":"string","format":"date"}`, `"2026-02-30"`, false},
		{`{"type":"string","format":"date-time"}`, `"2026-02-28T12:00:00+01:00"`, true}, {`{"type":"string","format":"date-time"}`, `"2026-02-28"`, false},
		{`{"type":"string","format":"uri"}`, `"urn:a:b"`, true}, {`{"type":"string","format":"uri"}`, `"/a"`, false}, {`{"type":"string","format":"own"}`, `"x"`, true},
	} {
		f, err := ParseForm(raw(field(test.schema)))
		if err != nil {
			t.Errorf("%s: %v", test.schema, err)
			continue
		}
		if err := f.Check(raw(`{"a":` + test.value + `}`)); (err == nil) != test.ok {
			t.Errorf("%.80s takes %s: %v", test.schema, test.value, err)
		}
	}
	f, _ := ParseForm(raw(field(`{"type":"string","pattern":"(?!x)y"}`)))
	if f.Fields[0].Checked() {
		t.Error("a pattern that Go cannot read is said to be checked")
	}
}

// A page that people could take for another one is refused, and so is what is no page.
func TestURLOfAQuestion(t *testing.T) {
	for _, good := range []string{"https://example.org", "http://127.0.0.1:8080/a?b=c#d", "https://xn--bcher-kva.example/%C3%BC", "https://[::1]/"} {
		if err := CheckElicitationURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "example.org", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://", "https:///a", "https://github.com@evil.example/",
		"https://a:b@c.example/", "https://bücher.example/", "https://a.example/\u202e", "https://a.example/ b", "https://a.example/\n", `https://a.example\@b`,
		"https://%zz/", "ftp://a.example/", "https:a.example", "https://a.example/" + strings.Repeat("x", MaxElicitationURL),
	} {
		if CheckElicitationURL(bad) == nil {
			t.Errorf("%.80q was accepted", bad)
		}
	}
}

// FuzzForm holds the form to its promises for any schema and any answer: no panic, what is
// refused is named, each default is a value that the form takes, and a form that is read
// again says the same.
func FuzzForm(f *testing.F) {
	f.Add(formSchema, `{"where":"eu","copies":1}`)
	for _, schema := range []string{
		`{}`, field(`{"type":"string","enum":["a"],"default":"a"}`), field(`{"type":"array","items":{"anyOf":[{"const":"a"}]}}`), field(`{"type":"string","pattern":"("}`),
		field(`{"type":"integer","minimum":-1e300,"default":3.0}`), `{"properties":{"a":{"type":"string"},"a":{}}}`, "{\"title\":\"\xff\"}",
	} {
		f.Add(schema, `{"a":"a"}`)
		f.Add(schema, `{"a":["a"],"b":1}`)
	}
	f.Fuzz(func(t *testing.T, schema, content string) {
		form, err := ParseForm(raw(schema))
		if err != nil {
			if _, ok := errors.AsType[*FormError](err); !ok || err.Error() == "" || len(err.Error()) > 2000 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if len(form.Fields) > MaxFormFields {
			t.Fatal("too many fields")
		}
		defaults, seen := map[string]json.RawMessage{}, map[string]bool{}
		for _, f := range form.Fields {
			if seen[f.Name] || f.Name == "" || len(f.Choices) > MaxFormChoices || f.Wants() == "" || f.Label() == "" {
				t.Fatalf("%+v", f)
			}
			if seen[f.Name] = true; f.Default != nil {
				defaults[f.Name] = f.Default
			}
			for i, c := range f.Choices {
				if slices.ContainsFunc(f.Choices[:i], func(o Choice) bool { return o.Value == c.Value }) {
					t.Fatalf("the choice %q twice", c.Value)
				}
			}
		}
		if wrong, ok := errors.AsType[*FormError](form.Check(Marshal(defaults))); ok {
			if _, is := defaults[wrong.Field]; is || wrong.Field == "" {
				t.Fatalf("a default is refused: %v", wrong)
			}
		}
		again, err := ParseForm(raw(schema))
		if err != nil || len(again.Fields) != len(form.Fields) {
			t.Fatal("read again, it is another form")
		}
		err = form.Check(raw(content))
		if e := again.Check(raw(content)); (e == nil) != (err == nil) {
			t.Fatalf("checked again: %v, %v", err, e)
		}
		if err == nil && len(content) > 0 {
			var values map[string]any
			if json.Unmarshal([]byte(content), &values) != nil {
				t.Fatalf("taken: %q", content)
			}
			for name := range values {
				if !seen[name] {
					t.Fatalf("taken with %q, which the form does not have", name)
				}
			}
			for _, f := range form.Fields {
				if _, there := values[f.Name]; f.Required && !there {
					t.Fatalf("taken without %q", f.Name)
				}
			}
		}
	})
}

// A pattern of 240 bytes can become 120,000 instructions, and a form has room for a hundred of
// them: to compile it took 7 s and some GB, in the worker, in the hub and for each answer. So a
// pattern is measured before it is compiled.
func TestHugePatternsCostNothing(t *testing.T) {
	var schema strings.Builder
	schema.WriteString(`{"type":"object","properties":{`)
	for i := range MaxFormFields {
		if i > 0 {
			schema.WriteByte(',')
		}
		fmt.Fprintf(&schema, `"f%d":{"type":"string","pattern":"(%s){1000}"}`, i, strings.Repeat("a", 120))
	}
	schema.WriteString(`}}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	form, err := ParseForm(json.RawMessage(schema.String()))
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if form.Fields[0].Checked() {
		t.Error("a pattern of 120,000 instructions is checked")
	}
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 32<<20 {
		t.Errorf("the form took %d MiB to read", spent>>20)
	}
}

func TestUsualPatternsAreChecked(t *testing.T) {
	for _, pattern := range []string{`^[a-z][a-z0-9-]{0,62}$`, `^\\d{4}-\\d{2}-\\d{2}$`, `^(a|b){1,100}c+$`, `x{900}`} {
		form, err := ParseForm(json.RawMessage(`{"properties":{"f":{"type":"string","pattern":"` + pattern + `"}}}`))
		if err != nil || !form.Fields[0].Checked() {
			t.Errorf("%s is not checked: %v", pattern, err)
		}
	}
}

// One answer takes a bounded time: a text that would take its pattern too long is left to the
// agent. A pattern of 900 instructions took a text of 64 KiB more than a second, each time that
// the answer was decided on.
func TestPatternsOfAnAnswerAreBounded(t *testing.T) {
	form, err := ParseForm(json.RawMessage(`{"properties":{"a":{"type":"string","pattern":"^[xy]*x[xy]{450}$"},"b":{"type":"string","pattern":"^[xy]*x[xy]{450}$"}}}`))
	if err != nil || !form.Fields[0].Checked() {
		t.Fatal(err)
	}
	answer := func(a, b int) json.RawMessage {
		return json.RawMessage(`{"a":"` + strings.Repeat("z", a) + `","b":"` + strings.Repeat("z", b) + `"}`)
	}
	for _, test := range []struct {
		a, b  int
		wrong string
	}{
		{1000, 1000, "a"}, // each is held to its pattern
		{60_000, 1000, "b"}, {30_000, 30_000, ""},
	} {
		var wrong *FormError
		if errors.As(form.Check(answer(test.a, test.b)), &wrong); wrong == nil && test.wrong != "" || wrong != nil && wrong.Field != test.wrong {
			t.Errorf("%d and %d characters: %v", test.a, test.b, wrong)
		}
	}
	left := steps(10)
	if !left.take(10) || left.take(1) || !left.take(0) {
		t.Error("the steps are not counted")
	}
}
