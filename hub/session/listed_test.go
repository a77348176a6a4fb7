package session

import (
	"testing"

	"sessionhub/protocol"
)

func TestListed(t *testing.T) {
	r := newStepper(t)
	for _, step := range []struct {
		what string
		in   []Input
		want bool
	}{
		{"the first message: status and title", []Input{say("m1")}, true},
		{"a second message that waits", []Input{say("m2")}, false},
		{"a title that is the same", []Input{InRename{"hi", "u1"}}, false},
		{"another title", []Input{InRename{"Anna's", "u1"}}, true},
		{"the worker: the turn runs", []Input{InAssign{Worker: "w", Workspace: "ws"}, InStarting{}, InHand{Command: 1}, InActivity{}}, true},
		{"a question", []Input{ask("a1", `{}`)}, true},
		{"another question", []Input{ask("a2", `{}`)}, true},
		{"one is withdrawn and one asked", []Input{InWithdraw{"a1"}, ask("a3", `{}`)}, true},
		{"a question of the agent", []Input{elicit("e1")}, true},
		{"a cost", []Input{costs(.1, "USD")}, true},
		{"the same cost", []Input{costs(.1, "USD")}, false},
		{"a token is revoked", []Input{InRevokeAll{}}, false},
		{"the end of the turn, while another waits", []Input{completes("m1", "{}"), InDone{Message: 1}}, true},
		{"deleted", []Input{InDelete{}}, true},
	} {
		before := r.s
		if r.do(step.in...); r.err != nil {
			t.Fatalf("%s: %v", step.what, r.err)
		}
		if got := Listed(before, r.s); got != step.want {
			t.Errorf("%s: listed %v, want %v", step.what, got, step.want)
		}
	}
}

func TestListedOptions(t *testing.T) {
	yes, no := true, false
	for what, change := range map[string]func(*Options){
		"mode": func(o *Options) { o.Mode = "plan" }, "asking": func(o *Options) { o.Asking = &no }, "not known": func(o *Options) { o.Asking = nil },
		"chosen": func(o *Options) { o.Chosen = map[string]protocol.OptionValue{"x": protocol.TextValue("y")} },
	} {
		before, after := &State{Options: Options{Mode: "default", Asking: &yes}}, &State{Options: Options{Mode: "default", Asking: &yes}}
		if change(&after.Options); !Listed(before, after) {
			t.Errorf("%s is not listed", what)
		}
	}
	if also := true; Listed(&State{Options: Options{Asking: &yes}}, &State{Options: Options{Asking: &also}}) {
		t.Error("an equal value is listed")
	}
}

// Each optional part of the usage counts, by its value.
func TestListedUsage(t *testing.T) {
	with := func(change func(*protocol.SessionUsage)) *State {
		u := &Usage{SessionUsage: protocol.SessionUsage{Used: tokens(1), Size: tokens(2), Cost: &protocol.Cost{Amount: 1, Currency: "USD"}, TotalTokens: 3}}
		if change != nil {
			change(&u.SessionUsage)
		}
		return &State{Usage: u}
	}
	if Listed(with(nil), with(nil)) {
		t.Error("equal usage is listed")
	}
	for what, change := range map[string]func(*protocol.SessionUsage){
		"used": func(u *protocol.SessionUsage) { u.Used = tokens(9) }, "no size": func(u *protocol.SessionUsage) { u.Size = nil },
		"cost":  func(u *protocol.SessionUsage) { u.Cost = &protocol.Cost{Amount: 1, Currency: "EUR"} },
		"total": func(u *protocol.SessionUsage) { u.TotalTokens++ },
	} {
		if !Listed(with(nil), with(change)) || !Listed(with(change), with(nil)) {
			t.Errorf("%s is not listed", what)
		}
	}
	if !Listed(&State{}, with(nil)) {
		t.Error("the first usage is not listed")
	}
}
