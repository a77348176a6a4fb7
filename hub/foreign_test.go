package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/fleet"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// asked is a store that remembers which queues were read.
type asked struct {
	store.Store
	mu     sync.Mutex
	queues []string
}

func (s *asked) Queued(ctx context.Context, provider, workspace string, n int) ([]store.Waiting, error) {
	s.mu.Lock()
	s.queues = append(s.queues, provider+" in "+workspace)
	s.mu.Unlock()
	return s.Store.Queued(ctx, provider, workspace, n)
}

// reads tells which queues were read since the last call.
func (s *asked) reads() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.queues, ", ")
	s.queues = nil
	return out
}

// A worker for alice alone named 30,000 providers: each message of bob's had the node
// read 60,000 queues, one after the other. What waits is told by name now, so only
// its own queue is read, and only where a worker may have it.
func TestForeignMessageReadsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &asked{Store: kept}
		w := newWorldOn(t, kept, seen)
		var names []string
		for i := range protocol.MaxProviders - 1 {
			names = append(names, fmt.Sprint("p", i))
		}
		h := hello("w1")
		h.Providers, h.Workspace = append(names, "demo"), "hers"
		alice := w.joinWith(fleet.WorkerKey{User: "alice"}, h)
		alice.want("welcome")
		seen.reads()
		w.createFor("bob", "m1")
		if got := seen.reads(); got != "" {
			t.Errorf("with a worker of alice's alone, bob's message had these queues read: %s", got)
		}
		bob := w.joinWith(fleet.WorkerKey{User: "bob"}, hello("w1"))
		bob.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		seen.reads()
		id := w.createFor("bob", "m2")
		bob.want("assign(1 after 0 resume=false) message(1 m2)")
		if got := seen.reads(); got != "demo in " {
			t.Errorf("bob's second message had these queues read: %s", got)
		}
		bob.complete(id, 1, 1, "m2")
		bob.finish(id, 1, 1)
		bob.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		if got := seen.reads(); strings.Contains(got, "hers") || strings.Contains(got, "p0") {
			t.Errorf("the end of bob's turn had these queues read: %s", got)
		}
	})
}

// Of what is told of the queue, some can be missed: then all queues are looked at.
func TestMissedNoticeOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &forgetful{Store: kept}
		w := newWorldOn(t, kept, seen)
		p := w.join(hello("w1"))
		p.want("welcome")
		w.createFor("u1", "m1")
		p.want("")
		seen.notify(store.Waiting{})
		p.want("assign(1 after 0 resume=false) message(1 m1)")
	})
}

// forgetful is a store that tells nobody of the queue.
type forgetful struct {
	store.Store
	notify func(store.Waiting)
}

func (s *forgetful) WatchQueue(notify func(store.Waiting)) func() {
	s.notify = notify
	return func() {}
}

// What a worker for one user offers is that user's alone to see and to name.
func TestWorkerOfOneUserIsSeenByThatUser(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		h := hello("w1")
		h.Providers = []string{"demo", "secret-agent"}
		w.joinWith(fleet.WorkerKey{User: "alice"}, h).want("welcome")
		shared := hello("w2")
		shared.Providers = []string{"echo"}
		w.joinWith(fleet.WorkerKey{User: "*"}, shared).want("welcome")
		for user, want := range map[string]string{
			"alice": "demo=1 echo=1 secret-agent=1", "bob": "demo=0 echo=1",
			"": "demo=1 echo=1 secret-agent=1", // a service key's, which acts for every user
		} {
			all, err := w.hub.Providers(w.ctx, user)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range all.Providers {
				got = append(got, fmt.Sprintf("%s=%d", p.Name, p.Workers))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%q sees %v, want %s", user, got, want)
			}
		}
		if _, err := w.hub.Create(w.ctx, "alice", "", protocol.CreateRequest{Provider: "secret-agent"}); err != nil {
			t.Errorf("alice: %v", err)
		}
		_, err := w.hub.Create(w.ctx, "bob", "", protocol.CreateRequest{Provider: "secret-agent"})
		if !errors.Is(err, fleet.ErrUnknownProvider) || !strings.HasSuffix(err.Error(), "there are demo, echo") {
			t.Errorf("bob: %v", err)
		}
	})
}

// A hello that breaks a rule is told which, and its link ends.
func TestHelloThatIsTooMuchIsRefused(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		h := hello("w1")
		h.Capacity = -5
		p := w.joinWith(fleet.WorkerKey{User: "alice"}, h)
		if !p.ended() {
			t.Fatal("it was let in")
		}
		var why protocol.LinkError
		if err := <-p.done; !errors.As(err, &why) || why != (protocol.LinkError{Code: protocol.LinkInvalid, Detail: "hello: capacity is -5: 1 to 1000000"}) {
			t.Errorf("it ended with %v", err)
		}
		p.want("error(invalid)")
		if all, err := w.hub.Providers(w.ctx, "alice"); err != nil || len(all.Providers) != 1 || all.Providers[0].Available {
			t.Errorf("providers %+v, %v", all, err)
		}
	})
}

// A question that cannot be asked has an answer: its agent waited for ever. Nobody
// else hears of it, and those that are open stay so.
func TestQuestionThatCannotBeAskedIsAnswered(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.createFor("u1", "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		twice := []protocol.ApprovalOption{{OptionID: "y", Kind: protocol.AllowOnce}, {OptionID: "y", Kind: protocol.RejectOnce}}
		p.event(id, 1, 1, protocol.EventToolApproval, protocol.ToolApprovalData{InteractionID: "i0", Options: twice})
		// The report and the answer go out in either order: one is for the operator of
		// the worker, the other for its agent.
		const report, answer = "error(invalid)", "approval(2 m1 i0 cancelled tool_approval: options[1].optionId repeats one before it)"
		if got := p.script(); got != report+" "+answer+" ack(1)" && got != answer+" "+report+" ack(1)" {
			t.Errorf("the worker was told %q", got)
		}
		for i := range protocol.MaxOpenApprovals {
			p.ask(id, 1, uint64(i+2), fmt.Sprint("i", i+1))
		}
		p.want(fmt.Sprintf("ack(%d)", protocol.MaxOpenApprovals+1))
		before := w.load(id)
		n := before.N
		for i := range 1000 {
			p.ask(id, 1, n+1+uint64(i), fmt.Sprint("more", i))
		}
		got := p.script()
		if strings.Count(got, "error(too_large)") != 1000 || strings.Count(got, "cancelled 64 questions are open in this session") < 256 {
			t.Errorf("the worker was told %.400s", got)
		}
		after := w.load(id)
		if after.Last != before.Last || len(after.State.Approvals) != protocol.MaxOpenApprovals || after.State.Status != before.State.Status {
			t.Errorf("%d events were logged, %d questions are open, status %+v", after.Last-before.Last, len(after.State.Approvals), after.State.Status)
		}
		if len(after.State.Live) > 256 {
			t.Errorf("%d commands are kept", len(after.State.Live))
		}
		if commands, err := w.store.Commands(w.ctx, id, 0); err != nil || len(commands) > 258 {
			t.Errorf("%d commands are in the log, %v", len(commands), err)
		}
		// The turn goes on, and a place for a question is free again with an answer.
		if _, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: "y"}); err != nil {
			t.Fatal(err)
		}
		p.ask(id, 1, n+1001, "next")
		at(time.Second)
		if s := w.load(id).State; len(s.Approvals) != protocol.MaxOpenApprovals || s.Approvals[63].Data.InteractionID != "next" {
			t.Errorf("%d questions are open", len(s.Approvals))
		}
	})
}
