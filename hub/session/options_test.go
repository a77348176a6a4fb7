package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func setOption(id, value string, list *protocol.ConfigOptionsData) *InSetOption {
	return &InSetOption{Request: protocol.SetOptionRequest{ConfigID: id, Value: protocol.TextValue(value)}, By: "u1", List: list, MayApprove: true}
}

var judging = InAssign{Worker: "w1", Workspace: "ws", Options: true}

// A change of a session that rests holds for the next start, and everybody sees it. With a
// worker it goes there, and the newest of each option is kept until it is answered.
func TestChangeRestsOrGoesToTheWorker(t *testing.T) {
	r := newStepper(t).do(say("m1"), judging, InOptions{Data: optionsList("ask")}, ended("m1"), InDone{Message: 1})
	list := optionsList("ask")
	r.do(FromWorker{Assignment: 1, Input: InRelease{Reason: protocol.ReleaseIdle, Retry: true}}, setOption("mode", "auto", &list))
	if r.err != nil || len(r.events) != 1 || !strings.Contains(r.events[0], `"mode":"auto","asking":false,"changed":["mode"],"by":"u1"`) {
		t.Fatalf("at rest: %v %v", r.events, r.err)
	}
	if got := r.s.AgentOptions(); got.Mode != "auto" || r.s.Options.Mode != "auto" || *r.s.Options.Asking {
		t.Errorf("the next start: %+v, %+v", got, r.s.Options)
	}
	if list.ConfigOptions[0].CurrentValue.Text != "ask" {
		t.Error("the list that was given has changed")
	}
	r.do(say("m2"), judging)
	r.do(setOption("fast", "", nil), setOption("mode", "ask", nil), setOption("mode", "auto", nil))
	r.wantOpen("message m2", "set_option ", "set_option ")
	if len(r.s.Options.Sent) != 2 || r.s.Options.Sent[0].ConfigID != "fast" {
		t.Errorf("sent %+v", r.s.Options.Sent)
	}
	// The agent's own change does not undo one that is on its way, and an answer does.
	data := optionsList("ask")
	data.Changed = []string{"mode"}
	r.do(InOptions{Data: data})
	if r.s.Options.Chosen["mode"].Text != "auto" {
		t.Errorf("chosen %v", r.s.Options.Chosen)
	}
	r.do(InOptions{Data: data, Command: r.s.Options.Sent[1].Command})
	if r.s.Options.Chosen["mode"].Text != "ask" || len(r.s.Options.Sent) != 0 {
		t.Errorf("chosen %v, sent %v", r.s.Options.Chosen, r.s.Options.Sent)
	}
	r.do(setOption("mode", "auto", &data), InLost{})
	r.wantOpen()
	if r.s.AgentOptions().Mode != "auto" {
		t.Error("a change was lost with its worker")
	}
	// Its event comes behind: only there is the list at hand.
	if due := r.s.NextDue(r.now, DefaultPolicy); due.After(r.now) {
		t.Errorf("it is told of at %s", due)
	}
	r.do(&InTellOptions{List: &data})
	if r.err != nil || len(r.events) != 1 || !strings.Contains(r.events[0], `"mode":"auto","asking":false,"changed":["mode"],"by":"u1"`) || len(r.s.Options.Untold) > 0 {
		t.Errorf("told: %v %v, %+v", r.events, r.err, r.s.Options)
	}
	if r.do(&InTellOptions{List: &data}); len(r.events) > 0 {
		t.Errorf("told again: %v", r.events)
	}
	r.do(say("m3"), judging, setOption("mode", "ask", &data), InLost{}, &InTellOptions{})
	if r.err != nil || len(r.s.Options.Untold) > 0 {
		t.Errorf("without a list: %v, %+v", r.err, r.s.Options)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	list := optionsList("ask")
	cut := list
	cut.Truncated = true
	for _, test := range []struct {
		id, value string
		list      *protocol.ConfigOptionsData
		approve   bool
		want      error
		says      string
	}{
		{"mode", "yolo", &list, true, ErrModeNotAllowed, "allowed are ask, auto"},
		{"mode", "auto", &list, false, ErrNeedsApprove, "may act without asking"},
		{"mode", "auto", &list, true, nil, ""},
		{"mode", "gone", &list, true, ErrUnknownOption, "there are ask, auto, yolo"},
		{"mode", "gone", &cut, false, ErrNeedsApprove, ""},
		{"mode", "gone", &cut, true, nil, ""},
		{"colour", "red", &list, true, ErrUnknownOption, "there are mode, large, fast"},
		{"model", "auto", &list, false, nil, ""}, // a model may have any name
		{"fast", "yes", &list, true, ErrUnknownOption, "true or false"},
		{"mode", "ask", nil, false, ErrNeedsApprove, "has told no options yet"},
		{"model", "any", nil, false, nil, ""},
	} {
		in := setOption(test.id, test.value, test.list)
		in.MayApprove = test.approve
		r := newStepper(t).do(in)
		if !errors.Is(r.err, test.want) || test.want != nil && !strings.Contains(r.err.Error(), test.says) {
			t.Errorf("%s %s approve=%v: %v", test.id, test.value, test.approve, r.err)
		}
	}
	// A boolean of no known category needs the scope too: it could be about asking.
	in := setOption("fast", "", &list)
	in.Request.Value, in.MayApprove = protocol.BoolValue(true), false
	if r := newStepper(t).do(in); !errors.Is(r.err, ErrNeedsApprove) {
		t.Errorf("a boolean: %v", r.err)
	}
}

// A worker that does not judge modes would give the agent any mode: it gets no session that
// names one, and changes nothing.
func TestOlderWorkerGetsNoModes(t *testing.T) {
	r := newStepper(t)
	r.s.Info.AgentOptions.Mode = "auto"
	if r.do(say("m1"), assign); !errors.Is(r.err, ErrNeedsJudge) {
		t.Errorf("assigned: %v", r.err)
	}
	if r.do(InNeedsJudge{}, judging); r.err != nil {
		t.Errorf("not assigned: %v", r.err)
	}
	r = running(t)
	list := optionsList("ask")
	if r.do(setOption("mode", "auto", &list)); !errors.Is(r.err, ErrUnknownOption) {
		t.Errorf("changed: %v", r.err)
	}
}

// Nobody knows whether the agent asks that such a worker starts: the session is not marked as
// one that asks, since an agent of another worker did.
func TestOlderWorkerLeavesNoMark(t *testing.T) {
	r := newStepper(t).do(say("m1"), judging, InOptions{Data: optionsList("ask")}, ended("m1"), InDone{Message: 1})
	if r.s.Options.Asking == nil || !*r.s.Options.Asking {
		t.Fatalf("%+v", r.s.Options)
	}
	r.do(FromWorker{Assignment: 1, Input: InRelease{Reason: protocol.ReleaseIdle, Retry: true}}, say("m2"), assign)
	if r.err != nil || r.s.Options.Asking != nil || r.s.Options.Mode != "" {
		t.Errorf("marked as %+v, %v", r.s.Options, r.err)
	}
}

func TestChosenOptionsAreBounded(t *testing.T) {
	r := newStepper(t)
	for i := range protocol.MaxChosenOptions {
		if r.do(setOption(fmt.Sprint("o", i), "x", nil)); r.err != nil {
			t.Fatal(r.err)
		}
	}
	if r.do(setOption("more", "x", nil)); !errors.Is(r.err, ErrInvalid) {
		t.Errorf("one more: %v", r.err)
	}
	if r.do(setOption("o1", "y", nil)); r.err != nil || r.s.AgentOptions().Config["o1"].Text != "y" {
		t.Errorf("one again: %v", r.err)
	}
	if raw, err := json.Marshal(r.s.Options); err != nil || len(raw) > 4<<10 {
		t.Errorf("%d bytes of state, %v", len(raw), err)
	}
}

// A release that fails the session can cross an eviction. The command of that was kept for a
// session without a worker.
func TestFailedReleaseEndsAnEviction(t *testing.T) {
	r := newStepper(t).do(say("m1"), judging, ended("m1"), InDone{Message: 1}, InEvict{}, InRelease{Reason: "refused"})
	if r.s.Evicting != 0 || r.s.Closed != protocol.ClosedFailed || r.s.Options.Takes {
		t.Errorf("left: %+v", r.s)
	}
	r.wantOpen()
}
