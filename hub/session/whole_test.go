package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// send is a part of a question that is about to be asked.
func sendPart(id string, index, n int) InContent {
	return InContent{Data: protocol.ApprovalContentData{InteractionID: id, Index: index, Data: make([]byte, n)}}
}

// askWhole is a question that is shown in part, of which n bytes came in parts.
func askWhole(id string, n, parts int) InToolApproval {
	in := ask(id, `"a part"`)
	in.Data.Truncated, in.Data.FullBytes = true, n
	in.Whole = &Whole{Bytes: n, Parts: parts, Rule: Rule{Kind: "execute", Hash: "of the whole"}}
	return in
}

func TestUnreadQuestionCannotBeAllowed(t *testing.T) {
	for name, allow := range map[string]InApprove{
		"by option": option("i1", "once"), "always": option("i1", "always"),
		"by decision": decision("i1", protocol.AllowOnce), "always, by decision": decision("i1", protocol.AllowAlways),
	} {
		r := running(t).do(sendPart("i1", 0, 2), sendPart("i1", 1, 3), askWhole("i1", 5, 2)).want("asked i1 for m1", "requires_action m1")
		if r.do(allow); !errors.Is(r.err, ErrContentUnread) || len(r.s.Approvals) != 1 {
			t.Errorf("%s: %v", name, r.err)
		}
		// That somebody else has read it is no reason.
		if r.do(InContentRead{InteractionID: "i1", User: "u2"}, allow); !errors.Is(r.err, ErrContentUnread) {
			t.Errorf("%s, read by another: %v", name, r.err)
		}
		if r.do(InContentRead{InteractionID: "i1", User: "u1"}, allow); r.err != nil || len(r.s.Approvals) != 0 {
			t.Errorf("%s, read: %v", name, r.err)
		}
	}
	// A kind that nobody knows may allow.
	odd := askWhole("i1", 5, 1)
	odd.Data.Options = []protocol.ApprovalOption{opt("x", "allow_for_ever"), opt("n", protocol.RejectAlways)}
	if r := running(t).do(sendPart("i1", 0, 5), odd, option("i1", "x")); !errors.Is(r.err, ErrContentUnread) {
		t.Errorf("an unknown kind: %v", r.err)
	}
	// No is for everybody.
	running(t).do(sendPart("i1", 0, 5), askWhole("i1", 5, 1)).do(option("i1", "no")).want("resolved i1 selected no reject_once u1", "running m1")
	running(t).do(sendPart("i1", 0, 5), odd).do(decision("i1", protocol.RejectOnce)).want("resolved i1 selected n reject_once u1", "running m1")
}

// "Always" means the whole: what is shown of two questions can be equal.
func TestRuleIsOfTheWholeQuestion(t *testing.T) {
	r := running(t).do(sendPart("i1", 0, 5), askWhole("i1", 5, 1), InContentRead{InteractionID: "i1", User: "u1"}, option("i1", "always"))
	other := askWhole("i2", 5, 1)
	other.Whole.Rule.Hash = "of another"
	r.do(sendPart("i2", 0, 5), other).want("asked i2 for m1", "requires_action m1")
	r.do(ask("i3", `"a part"`)).want("asked i3 for m1")
	r.do(sendPart("i4", 0, 5), askWhole("i4", 5, 1)).want("asked i4 for m1", "resolved i4 selected once allow_always rule")
}

// What cannot be shown whole is asked of nobody: the agent hears no, people see why.
func TestQuestionThatIsTooLargeIsRefused(t *testing.T) {
	big := askWhole("i1", protocol.MaxApprovalContent+1, 0)
	big.Whole = nil
	r := running(t).do(big).want("asked i1 for m1", "resolved i1 selected no reject_once limit")
	r.wantCommands(fmt.Sprintf("approval m1 i1 selected no what is asked has %d bytes, over the %d that can be shown whole", protocol.MaxApprovalContent+1, protocol.MaxApprovalContent))
	big.Data.Options = []protocol.ApprovalOption{opt("y", protocol.AllowOnce)}
	running(t).do(big).want("asked i1 for m1", "resolved i1 cancelled limit")

	// So is one whose parts are not all there.
	lacks := askWhole("i1", 10, 2)
	running(t).do(sendPart("i1", 0, 5), lacks).want("asked i1 for m1", "resolved i1 selected no reject_once limit")
	running(t).do(sendPart("i2", 0, 5), sendPart("i2", 1, 5), lacks).want("asked i1 for m1", "resolved i1 selected no reject_once limit")

	// Together they are bounded too.
	const mib = 1 << 20
	r = running(t)
	ids := []string{"a", "b", "c"}
	for _, id := range ids[:2] {
		r.do(sendPart(id, 0, 8*mib), askWhole(id, 8*mib, 1))
	}
	r.want("asked b for m1")
	var refused *Refusal
	if r.do(sendPart("c", 0, 1)); !errors.As(r.err, &refused) || refused.Code != protocol.LinkTooLarge || r.s.Upload != nil {
		t.Errorf("a part over the session's limit: %v", r.err)
	}
	lacks = askWhole("c", 1, 1)
	r.do(lacks).want("asked c for m1", "resolved c selected no reject_once limit")
	r.do(option("a", "no"), sendPart("c2", 0, 1), askWhole("c2", 1, 1)).want("resolved a selected no reject_once u1", "asked c2 for m1")
}

func TestPartsOutOfOrder(t *testing.T) {
	r := running(t).do(sendPart("i1", 0, 1), sendPart("i1", 1, 1))
	for _, in := range []InContent{sendPart("i1", 1, 1), sendPart("i1", 3, 1), sendPart("i2", 1, 1), sendPart("i1", -1, 1)} {
		if r.do(in); !errors.Is(r.err, ErrInvalid) || r.s.Upload.Parts != 2 {
			t.Errorf("%+v: %v", in.Data, r.err)
		}
	}
	if r.do(ask("i3", "{}"), sendPart("i3", 0, 1)); !errors.Is(r.err, ErrKnownInteraction) {
		t.Errorf("of a question that was asked: %v", r.err)
	}
	if r := newStepper(t).do(sendPart("i1", 0, 1)); !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("outside of a turn: %v", r.err)
	}
}

// Whatever becomes of a question, each of its parts is dropped exactly once.
func TestPartsAreDropped(t *testing.T) {
	for name, end := range map[string][]Input{
		"answered": {option("i1", "no")}, "expired": {InExpireApprovals{}}, "cancelled": {InCancel{}, ended("m1")},
		"the turn ended": {ended("m1")}, "done without an end": {InDone{Message: 1}}, "lost": {InLost{}},
		"released": {InRelease{Reason: "x", Retry: true}}, "failed": {InRelease{Reason: "x"}}, "deleted": {InDelete{}},
		"closed": {InClose{Reason: protocol.ClosedExpired}},
	} {
		var kept []string
		state := running(t).s
		now := running(t).now
		for _, in := range slices.Concat([]Input{sendPart("i1", 0, 1), sendPart("i1", 1, 1), askWhole("i1", 2, 2), sendPart("i2", 0, 1), sendPart("i3", 0, 1), sendPart("i3", 1, 1)}, end) {
			if _, ok := in.(InExpireApprovals); ok {
				now = now.Add(100 * 3600e9)
			}
			c, err := Step(state, in, Policy{ApprovalTimeout: 3600e9, MaxQueuedMessages: 1}, now)
			if err != nil {
				t.Fatalf("%s: %T: %v", name, in, err)
			}
			state = c.State
			for _, p := range c.Parts {
				kept = append(kept, p.Key)
			}
			for _, key := range c.Dropped {
				i := slices.Index(kept, key)
				if i < 0 {
					t.Errorf("%s: %s is dropped and not there", name, key)
					continue
				}
				kept = slices.Delete(kept, i, i+1)
			}
		}
		if name == "answered" || name == "expired" { // the turn goes on, and may ask i3
			kept = slices.DeleteFunc(kept, func(k string) bool { return strings.HasPrefix(k, "i3/") })
		}
		if len(kept) > 0 {
			t.Errorf("%s: %v stay", name, kept)
		}
	}
}

func TestReadersAreBounded(t *testing.T) {
	r := running(t).do(sendPart("i1", 0, 5), askWhole("i1", 5, 1))
	for i := range 3 * maxReaders {
		r.do(InContentRead{InteractionID: "i1", User: fmt.Sprint("u", i)})
	}
	if got := r.s.Approvals[0].Whole.ReadBy; len(got) != maxReaders || got[maxReaders-1] != fmt.Sprint("u", 3*maxReaders-1) {
		t.Errorf("%d readers, the last is %s", len(got), got[len(got)-1])
	}
}
