package hub_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// wholeQuestion is a document of a question, and the event that shows a part of it.
func wholeQuestion(id string) (protocol.ApprovalContent, protocol.ToolApprovalData) {
	options := []protocol.ApprovalOption{{OptionID: "y", Kind: protocol.AllowOnce}, {OptionID: "n", Kind: protocol.RejectOnce}}
	whole := protocol.ApprovalContent{
		InteractionID: id, ToolCallID: "t", Title: "Run", Kind: "execute", Input: json.RawMessage(`{"command":"all of it"}`), Options: options,
	}
	return whole, protocol.ToolApprovalData{
		InteractionID: id, ToolCallID: "t", Title: "Run", Kind: "execute", Input: json.RawMessage(`{"command":"all"}`), Options: options,
		Truncated: true, FullBytes: len(whole.Encode()),
	}
}

// What a worker sends as the whole of a question is believed only if it is that: a
// part of it can be missing, broken, or of another question.
func TestWholeOfAQuestionIsChecked(t *testing.T) {
	whole, asked := wholeQuestion("i1")
	good := whole.Encode()
	other, _ := wholeQuestion("i2")
	lying := whole
	lying.Options = []protocol.ApprovalOption{{OptionID: "n", Kind: protocol.AllowOnce}, {OptionID: "y", Kind: protocol.RejectOnce}}
	unlike := whole
	unlike.Kind = "read"
	for name, c := range map[string]struct {
		parts [][]byte
		asks  bool
	}{
		"whole":                  {[][]byte{good}, true},
		"in parts":               {[][]byte{good[:7], good[7:8], good[8:]}, true},
		"nothing":                {nil, false},
		"its beginning":          {[][]byte{good[:20]}, false},
		"too much":               {[][]byte{good, []byte(" ")}, false},
		"of another":             {[][]byte{other.Encode()}, false},
		"its options are others": {[][]byte{lying.Encode()}, false},
		"its kind is another":    {[][]byte{unlike.Encode()}, false},
		"no JSON":                {[][]byte{[]byte(strings.Repeat("[", len(good)))}, false},
		"no UTF-8":               {[][]byte{[]byte(strings.Repeat("\xff", len(good)))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				p := w.join(hello("w1"))
				id := w.create()
				w.say(id, "m1")
				synctest.Wait()
				n := uint64(0)
				for i, part := range c.parts {
					n++
					p.event(id, 1, n, protocol.EventApprovalContent, protocol.ApprovalContentData{InteractionID: "i1", Index: i, Data: part})
				}
				p.event(id, 1, n+1, protocol.EventToolApproval, asked)
				p.event(id, 1, n+1, protocol.EventToolApproval, asked) // a repeat
				synctest.Wait()
				if s := w.load(id); s.N != n+1 || (len(s.State.Approvals) == 1) != c.asks || s.State.Upload != nil {
					t.Fatalf("%d of %d events, %d questions", s.N, n+1, len(s.State.Approvals))
				}
				for _, e := range w.log(id) {
					if e.Type == protocol.EventApprovalContent {
						t.Error("a part is in the log")
					}
				}
				allow := protocol.ApproveRequest{InteractionID: "i1", Decision: protocol.AllowOnce}
				if !c.asks {
					if _, err := w.hub.ApprovalContent(w.ctx, id, "i1", "u1"); !errors.As(err, new(*session.ResolvedError)) {
						t.Errorf("read: %v", err)
					}
					if got := p.script(); !strings.Contains(got, "i1 selected n what is asked did not come whole") {
						t.Errorf("the worker was told %s", got)
					}
					return
				}
				if _, err := w.hub.Approve(w.ctx, id, "u1", allow); !errors.Is(err, session.ErrContentUnread) {
					t.Errorf("allowed unread: %v", err)
				}
				if raw, err := w.hub.ApprovalContent(w.ctx, id, "i1", "u1"); err != nil || string(raw) != string(good) {
					t.Errorf("read %s: %v", raw, err)
				}
				if _, err := w.hub.Approve(w.ctx, id, "u1", allow); err != nil {
					t.Errorf("allowed after reading: %v", err)
				}
			})
		})
	}
}

// Parts that are wrong by themselves are acknowledged and not kept.
func TestWrongPartsAreNotKept(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.script()
		for i, c := range []any{
			protocol.ApprovalContentData{Data: []byte("x")},
			protocol.ApprovalContentData{InteractionID: "i1"},
			protocol.ApprovalContentData{InteractionID: strings.Repeat("i", 257), Data: []byte("x")},
			protocol.ApprovalContentData{InteractionID: "i1", Data: make([]byte, protocol.MaxContentPart+1)},
			protocol.ApprovalContentData{InteractionID: "i1", Index: 1, Data: []byte("x")},
			map[string]any{"interactionId": "i1", "data": "no base64!"},
		} {
			p.event(id, 1, uint64(i+1), protocol.EventApprovalContent, c)
			if got := p.script(); !strings.HasPrefix(got, "error(invalid") || !strings.Contains(got, "ack(") {
				t.Errorf("part %d: %s", i, got)
			}
		}
		if s := w.load(id); s.State.Upload != nil {
			t.Errorf("kept %+v", s.State.Upload)
		}
	})
}
