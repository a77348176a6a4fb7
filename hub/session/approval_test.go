package session

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sessionhub/protocol"
)

func opt(id, kind string) protocol.ApprovalOption {
	return protocol.ApprovalOption{OptionID: id, Kind: kind}
}

func TestApproval(t *testing.T) {
	r := running(t)
	whole := r.now.Add(time.Hour)
	r.now = r.now.Add(999_999) // times on the wire are in milliseconds
	r.do(ask("i1", "{}")).want("asked i1 for m1", "requires_action m1").wantCommands()
	if at := r.s.Approvals[0].Data.ExpiresAt; at == nil || !at.Equal(whole) {
		t.Errorf("expires at %v", at)
	}
	r.do(say("m2")).want("message m2") // it is queued and answers nothing
	in := option("i1", "no")
	in.Request.Reason = "because"
	r.do(in).want("resolved i1 selected no reject_once u1", "running m1").wantCommands("approval m1 i1 selected no because")
	if r.result.Chosen != (protocol.ApproveResponse{InteractionID: "i1", OptionID: "no"}) {
		t.Errorf("answer %+v", r.result.Chosen)
	}
	if r.notes[ApprovalNote("i1")] != "selected no" {
		t.Errorf("notes %v", r.notes)
	}
	if r.do(option("i1", "once")); !errors.Is(r.err, ErrNotPending) {
		t.Errorf("answered twice: %v", r.err)
	}
	if r.do(option("nope", "once")); !errors.Is(r.err, ErrNotPending) {
		t.Errorf("unknown: %v", r.err)
	}
	r.wantOpen("message m1", "message m2", "approval m1 i1 selected no because")
	r.do(ended("m1")).want("complete m1 end_turn", "queued m2").wantOpen("message m2")
}

func TestSeveralApprovalsAtOnce(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), ask("i2", "{}"))
	r.want("asked i1 for m1", "requires_action m1", "asked i2 for m1")
	if r.do(ask("i2", "{}")); !errors.Is(r.err, ErrKnownInteraction) {
		t.Errorf("a question that is pending: %v", r.err)
	}
	r.do(option("i2", "once")).want("resolved i2 selected once allow_once u1") // i1 is still pending
	r.do(option("i1", "once")).want("resolved i1 selected once allow_once u1", "running m1")
}

func TestQuestionWithoutATurn(t *testing.T) {
	for _, r := range []*stepper{newStepper(t), newStepper(t).do(say("m1")), running(t).do(ended("m1"))} {
		if r.do(ask("i1", "{}")); !errors.Is(r.err, ErrNoTurn) {
			t.Errorf("%v", r.err)
		}
	}
}

func TestQuestionEndsWithItsTurn(t *testing.T) {
	running(t).do(ask("i1", "{}")).do(ended("m1")).want("resolved i1 cancelled", "complete m1 end_turn", "idle").wantOpen()
	// Nobody is asked for anything while the next one waits for its turn.
	running(t).do(say("m2"), ask("i1", "{}")).do(ended("m1")).want("resolved i1 cancelled", "complete m1 end_turn", "queued m2")
}

// A question that its agent took back stayed open, and people answered it for
// nobody. The first of withdrawal and answer wins, and the worker is told of one.
func TestQuestionIsWithdrawn(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), ask("i2", "{}"))
	r.do(InWithdraw{InteractionID: "i1"}).want("resolved i1 cancelled").wantCommands("approval m1 i1 cancelled")
	r.do(option("i1", "once"))
	if !errors.Is(r.err, ErrNotPending) || r.notes[ApprovalNote("i1")] != "cancelled " {
		t.Errorf("a late answer: %v, note %q", r.err, r.notes[ApprovalNote("i1")])
	}
	r.do(option("i2", "once")).want("resolved i2 selected once allow_once u1", "running m1")
	r.do(InWithdraw{InteractionID: "i2"}, InWithdraw{InteractionID: "unknown"}).want().wantCommands()
	r.do(ask("i3", "{}"), InWithdraw{InteractionID: "i3"}).
		want("asked i3 for m1", "requires_action m1", "resolved i3 cancelled", "running m1")
	r.do(ended("m1")).want("complete m1 end_turn", "idle").wantOpen()
}

func TestApprovalExpires(t *testing.T) {
	r := running(t).do(ask("i1", "{}"))
	r.now = r.now.Add(30 * time.Minute)
	r.do(ask("i2", "{}", opt("y", protocol.AllowOnce)))
	r.do(InExpireApprovals{}).want()
	r.now = r.now.Add(30*time.Minute - time.Nanosecond)
	r.do(InExpireApprovals{}).want()
	r.now = r.now.Add(time.Nanosecond)
	r.do(InExpireApprovals{}).want("resolved i1 expired").wantCommands("approval m1 i1 expired no")
	r.now = r.now.Add(time.Hour)
	// This one offers no way to say no.
	r.do(InExpireApprovals{}).want("resolved i2 expired", "running m1").wantCommands("approval m1 i2 expired")
	if r.notes[ApprovalNote("i1")] != "expired " {
		t.Errorf("notes %v", r.notes)
	}
	// That nothing expired says nothing about the turn.
	newStepper(t).do(say("m1"), assign).do(InExpireApprovals{}).want()
}

func TestChoose(t *testing.T) {
	all := []protocol.ApprovalOption{
		opt("aa", protocol.AllowAlways), opt("ao", protocol.AllowOnce), opt("ra", protocol.RejectAlways), opt("ro", protocol.RejectOnce),
	}
	onlyAlways := []protocol.ApprovalOption{opt("aa", protocol.AllowAlways), opt("ra", protocol.RejectAlways)}
	onlyYes := []protocol.ApprovalOption{opt("ao", protocol.AllowOnce)}
	onlyNo := []protocol.ApprovalOption{opt("ro", protocol.RejectOnce)}
	strange := []protocol.ApprovalOption{opt("x", "maybe"), opt("ao", protocol.AllowOnce), opt("ao2", protocol.AllowOnce)}
	for _, c := range []struct {
		name             string
		options          []protocol.ApprovalOption
		option, decision string
		want             choice
		err              error
	}{
		{"an option", all, "ao", "", choice{"ao", "ao", protocol.AllowOnce}, nil},
		{"its no", all, "ro", "", choice{"ro", "ro", protocol.RejectOnce}, nil},
		{"always goes to the agent as once", all, "aa", "", choice{"aa", "ao", protocol.AllowAlways}, nil},
		{"its own always if there is no other", onlyAlways, "aa", "", choice{"aa", "aa", protocol.AllowAlways}, nil},
		{"reject always is the agent's", all, "ra", "", choice{"ra", "ra", protocol.RejectAlways}, nil},
		{"unknown option", all, "zz", "", choice{}, ErrUnknownOption},
		{"an option of a kind without a name", strange, "x", "", choice{"x", "x", "maybe"}, nil},
		{"no options", nil, "ao", "", choice{}, ErrUnknownOption},
		{"allow once", all, "", protocol.AllowOnce, choice{"ao", "ao", protocol.AllowOnce}, nil},
		{"allow once, the first one", strange, "", protocol.AllowOnce, choice{"ao", "ao", protocol.AllowOnce}, nil},
		{"allow once where only always is offered", onlyAlways, "", protocol.AllowOnce, choice{"aa", "aa", protocol.AllowOnce}, nil},
		{"allow always", all, "", protocol.AllowAlways, choice{"aa", "ao", protocol.AllowAlways}, nil},
		{"allow always where the agent has none", onlyYes, "", protocol.AllowAlways, choice{"ao", "ao", protocol.AllowAlways}, nil},
		{"reject once", all, "", protocol.RejectOnce, choice{"ro", "ro", protocol.RejectOnce}, nil},
		{"reject once where only always is offered", onlyAlways, "", protocol.RejectOnce, choice{"ra", "ra", protocol.RejectOnce}, nil},
		{"reject always", all, "", protocol.RejectAlways, choice{"ra", "ra", protocol.RejectAlways}, nil},
		{"reject always where the agent has none", onlyNo, "", protocol.RejectAlways, choice{"ro", "ro", protocol.RejectAlways}, nil},
		{"no side that allows", onlyNo, "", protocol.AllowAlways, choice{}, ErrUnknownOption},
		{"no side that rejects", onlyYes, "", protocol.RejectOnce, choice{}, ErrUnknownOption},
		{"no decision", all, "", "yes", choice{}, ErrInvalid},
		{"nothing", all, "", "", choice{}, ErrInvalid},
	} {
		got, err := choose(c.options, c.option, c.decision)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestAlwaysMakesARule(t *testing.T) {
	for name, answer := range map[string]InApprove{"by option": option("i1", "always"), "by decision": decision("i1", protocol.AllowAlways)} {
		t.Run(name, func(t *testing.T) {
			r := running(t).do(ask("i1", `{"a":1,"b":[1.0,"x"]}`))
			r.do(answer).want("resolved i1 selected always allow_always u1", "running m1").wantCommands("approval m1 i1 selected once")
			// The same input, written in another way.
			r.do(ask("i2", `{"b":[1.0,"\u0078"], "a":1}`)).
				want("asked i2 for m1", "resolved i2 selected once allow_always rule").wantCommands("approval m1 i2 selected once")
			for i, other := range []string{`{"a":1}`, `{"a":1,"b":[1,"x"]}`, `{"a":1,"b":[1.0,"x"],"c":null}`, `{"a":"1","b":[1.0,"x"]}`} {
				r.do(ask("o", other)).want("asked o for m1", "requires_action m1")
				if r.do(option("o", "no")); r.err != nil {
					t.Errorf("input %d: %v", i, r.err)
				}
			}
			otherKind := ask("k", `{"a":1,"b":[1.0,"x"]}`)
			otherKind.Data.Kind = "edit"
			r.do(otherKind).want("asked k for m1", "requires_action m1")
			r.do(option("k", "no"))
			// It outlives the worker, and ends with the session.
			r.do(InLost{}, say("m2"), InAssign{Worker: "w2", Workspace: "ws"})
			r.do(ask("i3", `{"a":1,"b":[1.0,"x"]}`)).
				want("asked i3 for m2", "resolved i3 selected once allow_always rule", "running m2")
			if r.do(InClose{Reason: protocol.ClosedExpired}); len(r.s.Rules) != 0 {
				t.Errorf("rules after the end: %v", r.s.Rules)
			}
		})
	}
}

func TestOnceMakesNoRule(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), option("i1", "once"))
	r.do(ask("i2", "{}")).want("asked i2 for m1", "requires_action m1")
	r.do(option("i2", "no"))
	r.do(ask("i3", "{}")).want("asked i3 for m1", "requires_action m1")
}

// A rule that the agent gives no way to follow: people decide.
func TestRuleWithoutAnOptionThatAllows(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), option("i1", "always"))
	r.do(ask("i2", "{}", opt("no", protocol.RejectOnce))).want("asked i2 for m1", "requires_action m1")
}

// A match beside a question that waits does not hide it.
func TestRuleMatchKeepsRequiresAction(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), option("i1", "always"), ask("i2", `{"b":1}`))
	r.do(ask("i3", "{}")).want("asked i3 for m1", "resolved i3 selected once allow_always rule")
	if r.s.Status.Status != protocol.StatusRequiresAction {
		t.Errorf("status %s", r.s.Status.Status)
	}
}

// Some agents tell no input: gemini has the command in the title alone. An
// "always" on one command once let another one run.
func TestRuleCoversWhatWasSeenOnly(t *testing.T) {
	question := func(id, title, content string) InToolApproval {
		in := ask(id, "null")
		in.Data.Title = title
		in.Data.Content = []json.RawMessage{json.RawMessage(content)}
		return in
	}
	for _, c := range []struct {
		title, content string
		asks           bool
	}{
		{"rm a", `{"diff":1}`, false},
		{"rm -rf /", `{"diff":1}`, true},
		{"rm a", `{"diff":2}`, true},
	} {
		r := running(t).do(question("i1", "rm a", `{"diff":1}`), decision("i1", protocol.AllowAlways))
		r.do(question("i2", c.title, c.content))
		if got := len(r.s.Approvals) == 1; got != c.asks {
			t.Errorf("%s %s: asks %v, want %v", c.title, c.content, got, c.asks)
		}
	}
}
