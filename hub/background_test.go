package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/protocol"
)

// background says that the agent of a session works in the background, or does not.
func (p *peer) background(id string, assignment, n uint64, status protocol.Status) {
	p.event(id, assignment, n, protocol.EventStatus, protocol.WorkerStatusData{StatusData: protocol.StatusData{Status: status}})
}

// atRest is a session of a new worker that has run the message m1, with 1 event.
func (w *world) atRest(h protocol.Hello) (*peer, string) {
	w.t.Helper()
	p := w.join(h)
	id := w.create()
	w.say(id, "m1")
	synctest.Wait()
	p.complete(id, 1, 1, "m1")
	p.finish(id, 1, 1)
	p.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
	return p, id
}

func (w *world) approve(id, interaction string) {
	w.t.Helper()
	if _, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: interaction, OptionID: "y"}); err != nil {
		w.t.Fatal(err)
	}
}

// An agent asked outside of a turn, and the hub answered that no turn was there.
func TestBackgroundOverTheLink(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		p, id := b.atRest(hello("w1"))
		p.background(id, 1, 2, protocol.StatusRunning)
		p.event(id, 1, 3, protocol.EventOutput, protocol.OutputData{Text: "on its own", Kind: "text"})
		p.ask(id, 1, 4, "i1")
		p.want("ack(4)")
		if pending, err := a.hub.Approvals(a.ctx, id); err != nil || len(pending.Approvals) != 1 || pending.Approvals[0].MessageID != "" {
			t.Errorf("pending %+v, %v", pending, err)
		}
		a.approve(id, "i1")
		p.want("approval(2 i1 selected y)")
		a.say(id, "m2")
		p.want("message(3 m2)")
		p.complete(id, 1, 5, "m2")
		p.finish(id, 1, 3)
		p.background(id, 1, 6, protocol.StatusIdle)
		p.want("ack(6)")
		want := "idle message queued starting complete.end_turn idle running output tool_approval requires_action" +
			" approval_resolved.selected running message queued running complete.end_turn running idle"
		if got := a.logWords(id); got != want {
			t.Errorf("the log is  %s\nwant %s", got, want)
		}
		p.background(id, 1, 7, protocol.StatusRunning)
		p.want("ack(7)")
		if err := a.hub.Cancel(a.ctx, id, protocol.CancelRequest{}); err != nil {
			t.Fatal(err)
		}
		p.want("cancel(4 )")
	})
}

// A worker that comes back within its lease gets the answers that it missed, and those that
// it could have missed.
func TestAnswersOfTheBackgroundAreRepeated(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p, id := w.atRest(hello("w1"))
		p.background(id, 1, 2, protocol.StatusRunning)
		p.ask(id, 1, 3, "i1")
		p.ask(id, 1, 4, "i2")
		p.want("ack(4)")
		w.approve(id, "i1")
		p.want("approval(2 i1 selected y)")
		_ = p.conn.Close()
		synctest.Wait()
		w.approve(id, "i2")
		held := protocol.HelloSession{SessionID: id, Assignment: 1, Message: 1, Event: 4, Acked: 4, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}
		p = w.join(hello("w1", held))
		p.want("welcome approval(2 i1 selected y) approval(3 i2 selected y) ack(4)")
		// It has its answers when it has a later message, over which link ever.
		w.say(id, "m2")
		p.want("message(4 m2)")
		_ = p.conn.Close()
		held.Turn = &protocol.HelloTurn{Seq: 4, MessageID: "m2"}
		p = w.join(hello("w1", held))
		p.want("welcome ack(4)")
		p.complete(id, 1, 5, "m2")
		p.finish(id, 1, 4)
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		synctest.Wait()
		if commands, err := w.store.Commands(w.ctx, id, 0); err != nil || len(commands) != 0 {
			t.Errorf("left %v, %v", commands, err)
		}
	})
}

// What an agent has open in the background ends with its worker, and the next message goes
// to another one.
func TestWorkerIsLostInTheBackground(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p, id := w.atRest(hello("w1"))
		p.background(id, 1, 2, protocol.StatusRunning)
		p.ask(id, 1, 3, "i1")
		p.want("ack(3)")
		_ = p.conn.Close()
		at(14 * time.Second)
		if got := w.status(id); got != protocol.StatusRequiresAction {
			t.Errorf("before the lease ends: %s", got)
		}
		at(7 * time.Second)
		s := w.load(id).State
		if s.Status != (protocol.StatusData{Status: protocol.StatusIdle}) || s.Background || len(s.Approvals) > 0 || s.Worker != "" {
			t.Errorf("%+v", s)
		}
		next := w.join(hello("w2"))
		w.say(id, "m2")
		next.want("welcome assign(2 after 1 resume=true) message(2 m2)")
	})
}

// A waiting session does not take the place of an agent that works in the background.
func TestBackgroundKeepsItsPlace(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		h := hello("w1")
		h.Capacity = 1
		p, id := w.atRest(h)
		p.background(id, 1, 2, protocol.StatusRunning)
		p.want("ack(2)")
		other := w.create()
		w.say(other, "m1")
		at(time.Minute)
		p.want("")
		p.background(id, 1, 3, protocol.StatusIdle)
		p.want("close(2 idle) ack(3)")
	})
}

// A session in which an agent works does not expire, and a question in it does.
func TestBackgroundAndTime(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p, id := w.atRest(hello("w1"))
		p.background(id, 1, 2, protocol.StatusRunning)
		p.ask(id, 1, 3, "i1")
		p.want("ack(3)")
		at(time.Hour + time.Minute)
		p.want("approval(2 i1 expired n)")
		at(48 * time.Hour)
		if got := w.status(id); got != protocol.StatusRunning {
			t.Errorf("status %s", got)
		}
		p.background(id, 1, 4, protocol.StatusIdle)
		at(25 * time.Hour)
		if got := w.status(id); got != protocol.StatusEnded {
			t.Errorf("status %s", got)
		}
	})
}

// A worker at fault cannot fill the state.
func TestQuestionsOfTheBackgroundAreBounded(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p, id := w.atRest(hello("w1"))
		p.background(id, 1, 2, protocol.StatusRunning)
		for i := range uint64(600) {
			p.ask(id, 1, 3+i, fmt.Sprint("i", i))
		}
		p.script()
		s := w.load(id).State
		if len(s.Approvals) != protocol.MaxOpenApprovals || len(s.Answers) > 256 {
			t.Errorf("%d questions, %d answers", len(s.Approvals), len(s.Answers))
		}
		if commands, err := w.store.Commands(w.ctx, id, 0); err != nil || len(commands) > 256 {
			t.Errorf("%d commands, %v", len(commands), err)
		}
	})
}
