package handlers

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// maxCloseReason is what fits into a close frame beside the code (RFC 6455,
// section 5.5).
const maxCloseReason = 123

// Whatever a client sends as a command: it is refused with a reason that fits
// into a close frame, or answered with one line of JSON under its own id and a
// code that names its fault, never ours. What it leaves in the log can be read.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		`{"type":"message","id":"c1","data":{"content":"hello"}}`,
		`{"type":"message","id":"c1","data":{"content":[{"type":"text","text":"hi"},{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/png"}],"messageId":"m1"}}`,
		`{"type":"message","id":"c1","data":{"content":"a\u2028b\ud800\u0000"}}`,
		`{"type":"approve","id":"c2","data":{"interactionId":"i1","decision":"allow_always","reason":"so"}}`,
		`{"type":"approve","id":"c2","data":{"interactionId":"i1","optionId":"o1"}}`,
		`{"type":"cancel","id":"c3","data":{"messageId":"m1"}}`,
		`{"type":"cancel","id":"c3"}`,
		`{"type":"ping","id":"c4"}`,
		`{"type":"message","id":"c1","data":{"content":"hello","delivery":"now"}}`,
		`{"type":"answer","id":"c6","data":{"interactionId":"i1","action":"accept","content":{"a":[1,null]}}}`,
		`{"type":"set_option","id":"c7","data":{"configId":"mode","value":"auto"}}`,
		`{"type":"set_option","id":"c7","data":{"configId":"fast","value":true}}`,
		`{"type":"rename","id":"c8","data":{"title":"a"}}`,
		`{"type":"queue","id":"c9","data":{"action":"order","messageIds":["m1","m2"]}}`,
		`{"type":"queue","id":"c9","data":{"action":"edit","messageId":"m1","content":[{"type":"text","text":"b"}]}}`,
		`{"type":"queue","id":"c9","data":{"action":"hold"}}`,
		`{"type":"dance","id":"c5"}`,
		`{"type":"message","id":"","data":null}`,
		`[]`,
	} {
		f.Add([]byte(seed))
	}
	set := metrics.New(prometheus.NewRegistry(), metrics.Build{}, []string{"demo"})
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, problem := readCommand(websocket.MessageBinary, raw, protocol.CommandTypes); problem == "" {
			t.Error("a binary message was taken")
		}
		cmd, problem := readCommand(websocket.MessageText, raw, protocol.CommandTypes)
		if len(problem) > maxCloseReason || !utf8.ValidString(problem) {
			t.Errorf("no close frame can carry %q", problem)
		}
		if problem != "" || cmd.Type == protocol.CommandAuth { // tokens have a target of their own
			return
		}
		policy := hub.DefaultPolicy
		policy.MaxQueuedMessages = 2
		h := hub.New(hub.Config{
			Node: "n1", Policy: policy, Timers: hub.DefaultTimers,
			MaxEventBytes: 1 << 20, MaxConnectionsPerSession: 1, DefaultProvider: "demo", Providers: []string{"demo"}, Metrics: set, Log: log,
		}, mem.New(store.Retention{MaxEvents: 100, MaxBytes: 1 << 20}))
		snap, err := h.Create(t.Context(), "ana", "", protocol.CreateRequest{})
		if err != nil {
			t.Fatal(err)
		}
		id := snap.State.Info.SessionID
		s := &Server{cfg: Config{Hub: h, Metrics: set, Log: log}}
		answer, err := any(protocol.Empty{}), error(nil)
		if cmd.Type != protocol.CommandPing {
			answer, err = s.run(t.Context(), caller{user: "ana", scope: auth.ScopeAll, remote: nowhere{}}, id, cmd.Type, cmd.Data, hub.Admission{})
		}
		frame := commandAnswer(cmd.ID, answer, err)
		var got struct {
			ID    string
			Error *protocol.CommandErrorBody
		}
		if e := json.Unmarshal(frame, &got); e != nil || got.ID != cmd.ID || (got.Error == nil) != (err == nil) || bytes.ContainsAny(frame, "\r\n\x00") {
			t.Errorf("answered %q (%v) with %q", raw, e, frame)
		}
		if got.Error != nil && (got.Error.Code == protocol.CodeInternal || got.Error.Code == protocol.CodeUnavailable) {
			t.Errorf("%q is a fault of ours: %v", raw, err)
		}
		page, err := h.History(t.Context(), id, protocol.Cursor{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if wire := protocol.Marshal(page); !json.Valid(wire) || bytes.ContainsAny(wire, "\r\n\x00") {
			t.Errorf("%q leaves a log that cannot be read: %q", raw, wire)
		}
	})
}
