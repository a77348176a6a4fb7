package demoagent

import (
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// answer is what the agent says after its question got a result.
func (p *peer) answer(session, prompt, result string) (asked frame, said string) {
	p.t.Helper()
	p.prompt(session, prompt)
	asked = p.next()
	if asked.Method != "elicitation/create" || asked.ID == nil {
		p.t.Fatalf("got %+v, want a question", asked)
	}
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, *asked.ID, result))
	for {
		f := p.next()
		if f.Method == "" {
			return asked, said
		}
		if content, _ := f.Params.Update["content"].(map[string]any); content != nil {
			text, _ := content["text"].(string)
			said += text
		}
	}
}

func TestQuestions(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	for _, test := range []struct{ prompt, result, want string }{
		{"/ask", `"result":{"action":"accept","content":{"name":"Ada","size":"l"}}`, `You answered: {"name":"Ada","size":"l"}`},
		{"/ask Tea?", `"result":{"action":"decline"}`, "You declined to answer."},
		{"/ask", `"result":{"action":"cancel"}`, "You gave no answer."},
		{"/ask", `"error":{"code":-32601,"message":"Method not found"}`, "I could not ask: "},
		{"/page https://example.org/", `"result":{"action":"accept"}`, "You opened the page."},
	} {
		if _, said := p.answer(session, test.prompt, test.result); !strings.HasPrefix(said, test.want) {
			t.Errorf("%s: %q, want %q", test.prompt, said, test.want)
		}
	}
}

// The form has a field of every type, and the hub can show it.
func TestFormOfTheDemo(t *testing.T) {
	form, err := protocol.ParseForm(protocol.Marshal(form()))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, f := range form.Fields {
		types[f.Type] = true
	}
	if len(types) != 5 || form.Fields[0].Label() != "Cups" {
		t.Errorf("%+v", form)
	}
}
