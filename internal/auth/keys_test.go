package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func TestKeysFile(t *testing.T) {
	k, err := ParseKeys(strings.NewReader("\ufeff# who may create sessions\n\n" +
		"ci:build:" + hashOf("key-ci") + "\n" +
		" laptop : ana : " + strings.ToUpper(hashOf("key-ana")) + " \r\n" +
		"portal:*:" + hashOf("key-portal") + "\n" +
		"sso:urn:user:7:" + hashOf("key-urn")))
	if err != nil {
		t.Fatal(err)
	}
	if k.Len() != 4 {
		t.Errorf("%d keys, want 4", k.Len())
	}
	for key, want := range map[string]Identity{
		"key-ci":     {Name: "ci", User: "build"},
		"key-ana":    {Name: "laptop", User: "ana"},
		"key-portal": {Name: "portal", User: ServiceUser, Service: true},
		"key-urn":    {Name: "sso", User: "urn:user:7"},
	} {
		got, ok := k.Lookup(key)
		if got.ID == "" || !k.Has(got.ID) {
			t.Errorf("%s has the id %q", key, got.ID)
		}
		if got.ID = ""; !ok || got != want {
			t.Errorf("Lookup(%s) = %+v, %v; want %+v", key, got, ok, want)
		}
	}
	for _, key := range []string{"", "key", "key-ana ", hashOf("key-ana"), strings.Repeat("k", maxKeyBytes+1)} {
		if got, ok := k.Lookup(key); ok || got != (Identity{}) {
			t.Errorf("Lookup(%.20q) = %+v, %v", key, got, ok)
		}
	}
}

func TestKeysFileNamesEveryBadLine(t *testing.T) {
	good := "ok:ana:" + hashOf("k")
	for _, c := range []struct {
		text string
		errs []string
	}{
		{"x", []string{"line 1: want name:user:sha256hex"}},
		{"x:y", []string{"line 1: want name:user:sha256hex"}},
		{":ana:" + hashOf("a"), []string{"line 1: the name"}},
		{"a::" + hashOf("a"), []string{"line 1: the user"}},
		{strings.Repeat("n", maxKeyName+1) + ":ana:" + hashOf("a"), []string{"line 1: the name before the first colon has 129 bytes"}},
		{"a:\x01:" + hashOf("a"), []string{"line 1: the user"}},
		{"a\xff:b:" + hashOf("a"), []string{"line 1: the name"}},
		{"a:b:" + hashOf("a")[1:], []string{"line 1: the part after the last colon has 63"}},
		{"a:b:" + strings.Repeat("g", 64), []string{"line 1: the part after the last colon is not hex"}},
		{"a:b:" + hashOf(""), []string{"line 1: this is the hash of an empty key"}},
		{good + "\n#\n" + good, []string{"line 3: the same key as in line 1"}},
		{"x\n" + good + "\n\na:b:c", []string{"line 1: want", "line 4: the part"}},
		{good + "\n#" + strings.Repeat("x", maxKeyLine), []string{"line 2: longer than"}},
	} {
		k, err := ParseKeys(strings.NewReader(c.text))
		if err == nil || k.Len() != 0 {
			t.Errorf("%.40q: %d keys, %v", c.text, k.Len(), err)
			continue
		}
		for _, want := range c.errs {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.40q: %v, want it to say %q", c.text, err, want)
			}
		}
		if n := strings.Count(err.Error(), "line ") - strings.Count(err.Error(), "in line "); n != len(c.errs) {
			t.Errorf("%.40q: names %d lines, want %d: %v", c.text, n, len(c.errs), err)
		}
	}
}

// TestKeysFileErrorsShowNoKey: whoever puts the key itself into the file must
// not find it in the log.
func TestKeysFileErrorsShowNoKey(t *testing.T) {
	for _, line := range []string{"sk-topsecret", "a:sk-topsecret", "a:b:sk-topsecret", "sk-topsecret::", "::sk-topsecret"} {
		if _, err := ParseKeys(strings.NewReader(line)); err == nil || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestKeysFileIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&b, "k:u:%s\n", hashOf(fmt.Sprint(i)))
	}
	text := b.String()
	if _, err := ParseKeys(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "more than 10000 keys") {
		t.Errorf("one too many: %v", err)
	}
	fits := text[:strings.LastIndex(text[:len(text)-1], "\n")+1]
	if k, err := ParseKeys(strings.NewReader(fits)); err != nil || k.Len() != maxKeys {
		t.Errorf("just as many: %d, %v", k.Len(), err)
	}
}

func TestKeysFileThatCannotBeRead(t *testing.T) {
	boom := errors.New("boom")
	r := io.MultiReader(strings.NewReader("a:b:"+hashOf("k")+"\n"), brokenReader{boom})
	if k, err := ParseKeys(r); !errors.Is(err, boom) || k.Len() != 0 {
		t.Errorf("%d keys, %v; half a file must not count", k.Len(), err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestServiceKeyAndUnion(t *testing.T) {
	service := ServiceKey("env", "top")
	file, err := ParseKeys(strings.NewReader("a:ana:" + hashOf("ana") + "\nb:bob:" + hashOf("top")))
	if err != nil {
		t.Fatal(err)
	}
	both := service.With(file)
	if who, ok := both.Lookup("top"); !ok || !who.Service || who.Name != "env" || who.User != ServiceUser {
		t.Errorf("service key: %+v, %v", who, ok)
	}
	if who, ok := both.Lookup("ana"); !ok || who.Service || who.User != "ana" {
		t.Errorf("ana's key: %+v, %v", who, ok)
	}
	if service.Len() != 1 || file.Len() != 2 || both.Len() != 2 { // one key is in both
		t.Errorf("lengths %d %d %d: With changed its operands", service.Len(), file.Len(), both.Len())
	}
	if none := ServiceKey("env", ""); none.Len() != 0 {
		t.Error("an empty key became a key")
	}
	if _, ok := (Keys{}).Lookup("x"); ok {
		t.Error("found a key among none")
	}
}

// A token lives as long as the key that it names could make it: its name is in the
// set, for its user.
func TestKeysMakeTokensForTheirUsers(t *testing.T) {
	parse := func(text string) Keys {
		t.Helper()
		k, err := ParseKeys(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := parse("ci:ana:" + hashOf("1") + "\nci:bob:" + hashOf("2") + "\nportal:*:" + hashOf("3"))
	for _, c := range []struct {
		name, user string
		can        bool
	}{
		{"ci", "ana", true}, {"ci", "bob", true}, {"ci", "eve", false}, {"portal", "eve", true},
		{"", "ana", false}, {"ana", "ci", false}, {"ci", "*", false},
	} {
		if can := k.CanMake(c.name, c.user); can != c.can {
			t.Errorf("%q for %q: %v", c.name, c.user, can)
		}
	}
	if (Keys{}).CanMake("ci", "ana") || (Keys{}).Has("") {
		t.Error("an empty set has a key")
	}

	// What a key opened itself is bound to the key, its user and its kind.
	was, _ := parse("ci:ana:" + hashOf("1")).Lookup("1")
	for text, same := range map[string]bool{
		"other:ana:" + hashOf("1"): true, // only the name has changed
		"ci:ana:" + hashOf("2"):    false,
		"ci:bob:" + hashOf("1"):    false,
		"ci:*:" + hashOf("1"):      false,
	} {
		if k := parse(text); k.Has(was.ID) != same {
			t.Errorf("%.12s: the key is there: %v", text, k.Has(was.ID))
		}
	}
	if strings.Contains(hashOf("1"), was.ID) {
		t.Error("the id is a part of the hash")
	}
}

// A lookup once compared the key's hash with every one in the file: 461 us with
// 10,000 keys, for each request.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 100, maxKeys} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var text strings.Builder
			for i := range n {
				fmt.Fprintf(&text, "k%d:u:%s\n", i, hashOf(fmt.Sprint("key-", i)))
			}
			k, err := ParseKeys(strings.NewReader(text.String()))
			if err != nil {
				b.Fatal(err)
			}
			last := fmt.Sprint("key-", n-1)
			for b.Loop() {
				if _, ok := k.Lookup(last); !ok {
					b.Fatal("it is not there")
				}
			}
		})
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("a:b:" + hashOf("k") + "\n# c\n*:*:" + hashOf("l"))
	f.Add("a:b:c:\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKeys(strings.NewReader(text))
		if err != nil {
			if k.Len() != 0 {
				t.Fatalf("%d keys beside an error", k.Len())
			}
			return
		}
		for _, who := range k.bySum {
			if who.Name == "" || who.User == "" || who.User == "*" || who.ID == "" {
				t.Fatalf("accepted %+v", who)
			}
		}
		if _, ok := k.Lookup(""); ok {
			t.Fatal("an empty key was found")
		}
	})
}
