package demoagent

import (
	"fmt"
	"strings"
	"testing"
)

func (p *peer) steer(session, text string) string {
	return p.request(steerMethod, fmt.Sprintf(`{"sessionId":%q,"prompt":[{"type":"text","text":%q}],"_meta":{"steering":{"idleBehavior":"promptRequired"}}}`, session, text))
}

// A turn takes messages in while it works. A session without one says so, and so does one
// whose turn is over.
func TestSteering(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	id := p.steer(session, "early")
	if f := p.next(); f.ID == nil || string(*f.ID) != id || f.Result["outcome"] != "promptRequired" {
		t.Fatalf("without a turn: %+v", f)
	}
	turn := p.prompt(session, "/slow 0.5")
	var text, steer, outcome string
	for stop := ""; stop == ""; {
		f := p.next()
		switch {
		case f.ID != nil && string(*f.ID) == turn:
			stop, _ = f.Result["stopReason"].(string)
		case f.ID != nil && string(*f.ID) == steer:
			outcome, _ = f.Result["outcome"].(string)
		case f.Method == "session/update":
			r := &reply{}
			r.add(f.Params.Update)
			if text += r.text; steer == "" && strings.Contains(text, "Working") {
				steer = p.steer(session, "to the left")
			}
		}
	}
	if outcome != "injected" || !strings.Contains(text, "You steered me: to the left") || !strings.HasSuffix(text, "Done.") {
		t.Errorf("outcome %q, text %q", outcome, text)
	}
	id = p.request(steerMethod, `{"sessionId":"none","prompt":[]}`)
	if f := p.next(); f.Error == nil || string(*f.ID) != id {
		t.Errorf("a bad request: %+v", f)
	}
}
