package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/protocol"
)

func startingWith(agentSession string) protocol.WorkerStatusData {
	return protocol.WorkerStatusData{StatusData: protocol.StatusData{Status: protocol.StatusStarting}, AgentSession: agentSession}
}

// The agent's own id of a session goes from its worker to the worker that has the
// session next, and nowhere else.
func TestNextWorkerLearnsTheAgentsSession(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		p.event(id, 1, 1, protocol.EventStatus, startingWith("a0"))
		p.event(id, 1, 2, protocol.EventStatus, startingWith("a1")) // it began afresh
		p.want("ack(2)")
		idle := w.join(hello("w2"))
		idle.event(id, 1, 1, protocol.EventStatus, startingWith("stolen"))
		idle.want("welcome revoke(1)")
		_ = p.conn.Close() // before the agent has said anything
		at(16 * time.Second)
		w.say(id, "m2")
		idle.want("assign(2 after 1 resume=true) of a1 message(2 m2)")
		for _, e := range w.log(id) {
			if strings.Contains(string(e.Data), "agentSession") || strings.Contains(string(e.Data), "a1") {
				t.Errorf("it is in the log: %s %s", e.Type, e.Data)
			}
		}
	})
}

// An agent that is started again in mid-turn is running as soon as it says
// something, as the first one was.
func TestSecondStartInATurnEndsToo(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		for i, step := range []struct {
			says func(n uint64)
			want protocol.Status
		}{
			{func(n uint64) { p.output(id, 1, n) }, protocol.StatusRunning},
			{func(n uint64) { p.event(id, 1, n, protocol.EventStatus, startingWith("")) }, protocol.StatusStarting},
			{func(n uint64) { p.event(id, 1, n, protocol.EventStatus, startingWith("a1")) }, protocol.StatusStarting},
			{func(n uint64) { p.output(id, 1, n) }, protocol.StatusRunning},
			{func(n uint64) { p.event(id, 1, n, protocol.EventStatus, startingWith("a2")) }, protocol.StatusRunning},
		} {
			step.says(uint64(i + 1))
			synctest.Wait()
			if got := w.status(id); got != step.want {
				t.Errorf("event %d: status %s, want %s", i+1, got, step.want)
			}
		}
	})
}
