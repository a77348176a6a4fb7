package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

func TestApprovalTimesOut(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.ask(id, 1, 1, "i1")
		synctest.Wait()
		p.script()
		at(time.Hour - time.Second)
		p.want("")
		at(2 * time.Second)
		p.want("approval(2 m1 i1 expired n)") // the agent is told no
		if got := w.logWords(id); !strings.HasSuffix(got, "approval_resolved.expired running") {
			t.Errorf("the log is %s", got)
		}
		_, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: "y"})
		if !errors.Is(err, session.ErrApprovalExpired) {
			t.Errorf("an answer that comes late: %v", err)
		}
	})
}

func TestFirstAnswerWins(t *testing.T) {
	w := newWorld(t, roomy)
	p := w.join(hello("w1"))
	id := w.create()
	w.say(id, "m1")
	judge.Within(t, 20*time.Second, "the assignment", func() bool { return w.status(id) == protocol.StatusStarting })
	p.ask(id, 1, 1, "i1")
	judge.Within(t, 20*time.Second, "the question", func() bool { return w.status(id) == protocol.StatusRequiresAction })
	var mu sync.Mutex
	var wg sync.WaitGroup
	var won []string
	var refused []*session.ResolvedError
	for i := range 16 {
		wg.Go(func() {
			r, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: []string{"y", "n"}[i%2]})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, r.OptionID)
				return
			}
			if e, ok := errors.AsType[*session.ResolvedError](err); ok {
				refused = append(refused, e)
				return
			}
			t.Errorf("%v", err)
		})
	}
	wg.Wait()
	if len(won) != 1 || len(refused) != 15 {
		t.Fatalf("%d answers won, %d were refused", len(won), len(refused))
	}
	for _, e := range refused {
		if e.Outcome != protocol.OutcomeSelected || e.OptionID != won[0] {
			t.Errorf("refused with %+v, %s won", e, won[0])
		}
	}
	if _, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "nope", OptionID: "y"}); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("an unknown interaction: %v", err)
	}
}

func TestMessageIsAcceptedOnce(t *testing.T) {
	w := newWorld(t, roomy)
	id := w.create()
	var wg sync.WaitGroup
	answers := make([]protocol.MessageResponse, 16)
	for i := range answers {
		wg.Go(func() { answers[i] = w.say(id, "m1") })
	}
	wg.Wait()
	first := 0
	for _, a := range answers {
		if a.MessageID != "m1" || a.Seq != 2 {
			t.Errorf("answer %+v", a)
		}
		if !a.Duplicate {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d answers say that theirs was the first", first)
	}
	again := protocol.MessageRequest{Content: []byte(`"other"`), MessageID: "m1"}
	if _, err := w.hub.Message(w.ctx, id, "u1", again, hub.Admission{}); !errors.Is(err, hub.ErrIdempotency) {
		t.Errorf("another body: %v", err)
	}
	// The same one, written in another way; also when the session has ended.
	again.Content = []byte(` "h\u0069"`)
	if r, err := w.hub.Message(w.ctx, id, "u1", again, hub.Admission{}); err != nil || !r.Duplicate || r.Seq != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestQueueFull(t *testing.T) {
	w := newWorld(t, roomy)
	id := w.create()
	for i := range 32 {
		w.say(id, fmt.Sprint("m", i))
	}
	if _, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"x"`)}, hub.Admission{}); !errors.Is(err, session.ErrQueueFull) {
		t.Errorf("message 33: %v", err)
	}
	if r := w.say(id, "m5"); !r.Duplicate { // a repeat takes no place
		t.Errorf("%+v", r)
	}
	if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{MessageID: "m31"}); err != nil {
		t.Error(err)
	}
	w.say(id, "again")
	if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{MessageID: "nope"}); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("cancel of an unknown message: %v", err)
	}
}

func TestIdleSessionExpires(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		s := w.open(id, "", protocol.WebSocket)
		at(23 * time.Hour)
		w.append(id, "a sign of life")
		at(23 * time.Hour)
		if w.status(id) != protocol.StatusIdle {
			t.Fatalf("status %s, though it was used", w.status(id))
		}
		at(62 * time.Minute)
		w.wantScript(s, "connected 1 caught_up=1 2 3 4")
		if got := w.logWords(id); got != "idle output ended closed.expired" || s.end() != protocol.CloseEnded {
			t.Errorf("the log is %s, the stream ended with %d", got, s.end())
		}
		// It stays readable for a day, and takes no writes.
		if _, err := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"x"`)}, hub.Admission{}); !errors.Is(err, session.ErrSessionEnded) {
			t.Errorf("a message: %v", err)
		}
		at(23 * time.Hour)
		again := w.open(id, "2", protocol.SSE)
		w.wantScript(again, "connected 3 4 caught_up=4")
		if again.end() != protocol.CloseEnded {
			t.Errorf("its stream ended with %d", again.end())
		}
		at(2 * time.Hour)
		if _, err := w.hub.Load(w.ctx, id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("after a day: %v", err)
		}
	})
}

func TestBusySessionDoesNotExpire(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		running, asking, queued := w.create(), w.create(), w.create()
		w.say(running, "m1")
		w.say(asking, "m1")
		synctest.Wait()
		p.ask(asking, 1, 1, "i1")
		synctest.Wait()
		// One for which there is no worker any more.
		w.hub.BeginDrain()
		if _, err := w.store.Append(w.ctx, queued, pretend(t, w, queued)); err != nil {
			t.Fatal(err)
		}
		at(72 * time.Hour)
		for name, id := range map[string]string{"running": running, "asking": asking, "queued": queued} {
			if s := w.load(id).State; s.Closed != "" {
				t.Errorf("%s: closed %s", name, s.Closed)
			}
		}
		p.complete(running, 1, 1, "m1")
		p.finish(running, 1, 1)
		at(25 * time.Hour)
		if s := w.load(running).State; s.Closed != protocol.ClosedExpired {
			t.Errorf("at rest for a day: status %s", s.Status.Status)
		}
	}, func(c *hub.Config) { c.Policy.ApprovalTimeout = 1000 * time.Hour })
}

// pretend accepts a message as another node would.
func pretend(t *testing.T, w *world, id string) store.Batch {
	t.Helper()
	snap := w.load(id)
	in := session.InMessage{Data: protocol.MessageData{MessageID: "m1", Content: []byte(`"x"`)}}
	c, err := session.Step(snap.State, in, session.Policy{MaxQueuedMessages: 9}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return store.Batch{State: c.State, Expect: snap.Version, Events: c.Events, Commands: c.Commands, Notes: c.Notes}
}

func TestDelete(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		w.append(id, "a")
		var sinks []*sink
		for _, enc := range encodings {
			sinks = append(sinks, w.open(id, "", enc))
		}
		lagging := w.open(id, "", protocol.WebSocket)
		synctest.Wait()
		release := lagging.stall()
		w.append(id, strings.Repeat("x", 200_000))
		w.say(id, "m1")
		synctest.Wait()
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// Gone for everyone who asks now; open streams read to the end.
		if _, err := w.hub.Load(w.ctx, id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("load: %v", err)
		}
		_, message := w.hub.Message(w.ctx, id, "u1", protocol.MessageRequest{Content: []byte(`"x"`)}, hub.Admission{})
		_, approve := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i", OptionID: "y"})
		_, history := w.hub.History(w.ctx, id, protocol.Cursor{}, 0)
		_, open := w.hub.Open(w.ctx, id, protocol.Cursor{}, protocol.SSE)
		_, approvals := w.hub.Approvals(w.ctx, id)
		for name, err := range map[string]error{
			"message": message, "approve": approve, "history": history, "open": open, "approvals": approvals,
			"cancel": w.hub.Cancel(w.ctx, id, protocol.CancelRequest{}), "delete": w.hub.Delete(w.ctx, id),
		} {
			if !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
		at(5 * time.Second)
		release()
		for _, s := range append(sinks, lagging) {
			w.wantScript(s, "connected 1 2 caught_up=2 3 4 5 6 7 8")
			frames := s.got()
			if last := frames[len(frames)-1]; last.kind() != "closed" || s.end() != protocol.CloseEnded {
				t.Errorf("ended with %s and %d", last.raw, s.end())
			}
		}
		at(2 * time.Minute)
		if _, err := w.store.Load(w.ctx, id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("it is still stored: %v", err)
		}
	})
}

// A stream at the end of a session that has ended: nothing is left to say.
func TestStreamAtClosed(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := w.create()
		at(25 * time.Hour)
		last := w.load(id).Last
		c := protocol.Cursor{Epoch: w.load(id).Epoch(), Seq: last}
		stream, err := w.hub.Open(w.ctx, id, c, protocol.SSE)
		if err != nil || !stream.Ended {
			t.Fatalf("ended: %v, %v", stream != nil && stream.Ended, err)
		}
		stream.Release()
		s := w.open(id, c.String(), protocol.WebSocket)
		w.wantScript(s, "connected")
		if s.end() != protocol.CloseEnded {
			t.Errorf("ended with %d", s.end())
		}
		// What was kept for reading goes with a delete.
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Error(err)
		}
		if _, err := w.hub.Load(w.ctx, id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("after delete: %v", err)
		}
	})
}
