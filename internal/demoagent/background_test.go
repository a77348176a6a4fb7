package demoagent

import (
	"fmt"
	"strings"
	"testing"
)

// behind reads what comes behind the end of a turn, up to a text that ends it.
func (p *peer) behind(end string, on func(frame)) *reply {
	p.t.Helper()
	r := &reply{}
	for !strings.Contains(r.text, end) {
		f := p.next()
		if f.Method == "session/update" {
			r.add(f.Params.Update)
		}
		if f.Method == "session/request_permission" {
			r.asked = append(r.asked, f)
		}
		on(f)
	}
	return r
}

func TestBackgroundGoesOnBehindItsTurn(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	if r := p.say(session, "/background 0.01"); r.stop != "end_turn" || len(r.updates) != 1 || !strings.Contains(r.text, "10ms") {
		t.Errorf("the turn %+v", r)
	}
	r := p.behind("done: allow_once", func(f frame) {
		if f.Method == "session/request_permission" {
			p.choose(f, "allow_once")
		}
	})
	if len(r.asked) != 1 || r.statuses() != "in_progress completed" {
		t.Errorf("behind it: asked %d times, %s", len(r.asked), r.statuses())
	}
	for _, args := range []string{"x", "-1", "1e9", "NaN"} {
		if r := p.say(session, "/background "+args); !strings.Contains(r.text, "SECONDS is a number") {
			t.Errorf("%s: %q", args, r.text)
		}
	}
}

// A cancel without a turn is for the background; one with a turn is for the turn.
func TestBackgroundIsCancelled(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	p.say(session, "/background 3600")
	id := p.prompt(session, "/slow 3600")
	began := 0
	p.turn(session, id, func(r *reply, f frame) {
		if f.Params.Update["status"] == "in_progress" || strings.Contains(fmt.Sprint(f.Params.Update["content"]), "Working") {
			if began++; began == 2 {
				p.cancel(session)
			}
		}
	})
	p.cancel(session)
	if r := p.behind("was stopped", func(frame) {}); r.statuses() != "failed" {
		t.Errorf("behind it: %s", r.statuses())
	}
}

func TestBackgroundIsBounded(t *testing.T) {
	p := connect(t)
	session := p.session(t.TempDir())
	for range maxBackground + 1 {
		id := p.prompt(session, "/background 3600")
		r := p.turn(session, id, nil)
		if r.stop != "end_turn" {
			t.Errorf("%+v", r)
		}
	}
	if r := p.say(session, "/background 3600"); !strings.Contains(r.text, "already") {
		t.Errorf("said %q", r.text)
	}
}
