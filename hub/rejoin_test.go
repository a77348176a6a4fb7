package hub_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// A worker can be newer than the node that gave it a session. That node did not note that the
// worker takes set_option. The next node must take what the worker tells of the agent's modes:
// people would not see that the agent does not ask.
func TestWorkerIsNewerThanItsAssignment(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		early := hello("w1")
		early.Commands = nil // what an earlier node read of the hello
		p := w.join(early)
		id := w.create()
		w.say(id, "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		p.output(id, 1, 1)
		p.want("ack(1)")
		_ = p.conn.Close()
		synctest.Wait()

		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Acked: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}))
		asks := false
		p.event(id, 1, 2, protocol.EventConfigOptions, protocol.WorkerOptionsData{ConfigOptionsData: protocol.ConfigOptionsData{
			ConfigOptions: []protocol.ConfigOption{{ID: "mode", Name: "Mode", Category: "mode", Type: "select", CurrentValue: protocol.TextValue("auto"), Options: []protocol.ConfigValue{
				{Value: "auto", Name: "auto", Asks: &asks}, {Value: "ask", Name: "ask"},
			}}},
			Mode: "auto", Asking: &asks,
		}})
		p.want("welcome ack(2)")
		if s := w.load(id).State.Options; s.Asking == nil || *s.Asking || s.Mode != "auto" {
			t.Errorf("the session is marked as %+v", s)
		}
		r := protocol.SetOptionRequest{ConfigID: "mode", Value: protocol.TextValue("ask")}
		if _, err := w.hub.SetOption(w.ctx, id, "u1", r, true); err != nil {
			t.Error(err)
		}
		p.want("set_option(2 )")

		// Without the command, the worker gets no change.
		_ = p.conn.Close()
		synctest.Wait()
		early.Sessions = []protocol.HelloSession{{SessionID: id, Assignment: 1, Event: 2, Acked: 2, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}}
		p = w.join(early)
		p.want("welcome ack(2)")
		if _, err := w.hub.SetOption(w.ctx, id, "u1", r, true); !errors.Is(err, hub.ErrUnknownOption) {
			t.Errorf("a change for a worker that does not take it: %v", err)
		}
	})
}
