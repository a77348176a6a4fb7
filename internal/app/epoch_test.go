package app

import (
	"fmt"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// Who reads live while Valkey is restarted is told of the new epoch on each
// transport, before the first event that counts in it. A reader on a WebSocket once
// knew only that of the beginning, and was told of a loss that was none with its
// next resume. The soak found it.
func TestLiveReadersLearnTheEpochOfARestart(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	s := a.create(protocol.CreateRequest{WorkingDirectory: a.root})
	ws, err := b.ws(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	cursors := make(map[stream]string)
	for _, r := range []stream{ws, openSSE(t, b, s)} {
		until(t, r, isType(protocol.EventType(protocol.ControlCaughtUp)))
		cursors[r] = ""
	}
	a.send(s, "/stream 40 20 20")
	for r := range cursors {
		until(t, r, isType(protocol.EventOutput))
	}
	server.Kill()
	server.Restart()
	for r := range cursors {
		epoch := ""
		for _, f := range until(t, r, isType(protocol.EventComplete)) {
			switch f.Type {
			case protocol.EventType(protocol.ControlConnected):
				if c := hubtest.Decode[protocol.Connected](t, f.Data); c.Epoch != epoch {
					epoch = c.Epoch
				} else {
					t.Errorf("told of the epoch %s again", epoch)
				}
			case protocol.EventType(protocol.ControlGap):
				t.Errorf("a gap although nothing was lost: %s", f.Raw)
			}
			if f.Seq > 0 {
				cursors[r] = fmt.Sprintf("%s-%d", epoch, f.Seq)
				if f.ID != "" && epoch != "" && f.ID != cursors[r] {
					t.Errorf("the event %s follows the word of the epoch %s", f.ID, epoch)
				}
			}
		}
		if epoch == "" {
			t.Error("nobody told of the new epoch")
		}
	}
	for _, cursor := range cursors {
		resumed, err := a.ws(t.Context(), s, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range until(t, resumed, isType(protocol.EventType(protocol.ControlCaughtUp))) {
			if f.Type == protocol.EventType(protocol.ControlGap) {
				t.Errorf("resumed from %s: %s", cursor, f.Raw)
			}
		}
		resumed.close()
	}
	judge.Within(t, 10*time.Second, "an idle session", func() bool {
		var view protocol.Session
		a.call("GET", "/api/sessions/"+s.SessionID, nil, &view, "Authorization", "Bearer "+s.Token)
		return view.Status == protocol.StatusIdle
	})
}
