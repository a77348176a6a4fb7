package hub_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// The table "Who wins" of docs/PROTOCOL.md: each race in both orders here, and
// at once in TestRacesAtOnce.

// record reads a whole log from the store, also a deleted session's, and holds
// it to what every race must leave: one complete for each message that is not
// open, one answer for each question that is not pending, nothing behind closed,
// and a session that waits for a worker, is with one, is idle or has ended.
func (w *world) record(id string) (words []string) {
	w.t.Helper()
	snap := w.load(id)
	page, err := w.store.Read(w.ctx, id, 0, 1<<20, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	completes, answers := make(map[string]int), make(map[string]int)
	for i, e := range page.Entries {
		var ev struct {
			Data struct{ MessageID, InteractionID, Status, StopReason, Outcome, Reason string }
		}
		if err := protocol.Decode(e.AppendJSON(nil), &ev); err != nil {
			w.t.Fatal(err)
		}
		d := ev.Data
		switch e.Type {
		case protocol.EventMessage:
			completes[d.MessageID] += 0
		case protocol.EventComplete:
			completes[d.MessageID]++
		case protocol.EventToolApproval:
			answers[d.InteractionID] += 0
		case protocol.EventApprovalResolved:
			answers[d.InteractionID]++
		}
		if (e.Type == protocol.EventClosed) != (snap.State.Closed != "" && i == len(page.Entries)-1) {
			w.t.Errorf("closed %q, and event %d of %d is %s", snap.State.Closed, i+1, len(page.Entries), e.Type)
		}
		words = append(words, strings.TrimSuffix(string(e.Type)+"."+d.Status+d.StopReason+d.Outcome+d.Reason, "."))
	}
	s := snap.State
	for m, n := range completes {
		if open := slices.ContainsFunc(s.Messages, func(o session.OpenMessage) bool { return o.ID == m }); (n == 1) == open || n > 1 {
			w.t.Errorf("%s has %d completes, open: %v", m, n, open)
		}
	}
	for a, n := range answers {
		if pending := slices.ContainsFunc(s.Approvals, func(p session.PendingApproval) bool { return p.Data.InteractionID == a }); (n == 1) == pending || n > 1 {
			w.t.Errorf("%s has %d answers, pending: %v", a, n, pending)
		}
	}
	switch status := s.Status.Status; {
	case s.Closed != "" && status == protocol.StatusEnded:
	case s.Closed == "" && status == protocol.StatusIdle && len(s.Messages) == 0:
	case s.Closed == "" && status == protocol.StatusQueued && (s.NeedsWorker() || s.Running != 0):
	case s.Closed == "" && s.Running != 0 && s.Worker != "":
	default:
		w.t.Errorf("the session is stuck: %+v", s)
	}
	return words
}

// wantEnd compares the last events of a log.
func (w *world) wantEnd(id, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := strings.Join(w.record(id), " "); !strings.HasSuffix(got, want) {
		w.t.Errorf("the log is %s\nwant it to end with %s", got, want)
	}
}

// contest is a session whose message m1 runs on w1. w2 has no place; it is there
// for what w1 loses.
type contest struct {
	*world
	id     string
	w1, w2 *peer
	late   *peer // what w1 was
}

// race runs a test in a world of its own. Its session was made with the key k.
func race(t *testing.T, test func(c *contest)) {
	t.Helper()
	inBubble(t, roomy, func(w *world) {
		c := &contest{world: w, w1: w.join(helloOf("w1", 4))}
		synctest.Wait()
		s, err := w.hub.Create(w.ctx, "u1", "k", protocol.CreateRequest{Title: "t"})
		if err != nil {
			t.Fatal(err)
		}
		c.id = s.State.Info.SessionID
		w.say(c.id, "m1")
		synctest.Wait()
		c.w2 = w.join(helloOf("w2", 4))
		synctest.Wait()
		test(c)
	}, func(c *hub.Config) { c.Policy.ApprovalTimeout = time.Minute })
}

func (c *contest) delete() error { return c.hub.Delete(c.ctx, c.id) }

func (c *contest) message() error {
	_, err := c.hub.Message(c.ctx, c.id, "u1", protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: "m2"}, hub.Admission{})
	return err
}

func (c *contest) create() error {
	s, err := c.hub.Create(c.ctx, "u1", "k", protocol.CreateRequest{Title: "t"})
	if err == nil && s.State.Info.SessionID != c.id {
		return fmt.Errorf("a second session %s was made", s.State.Info.SessionID)
	}
	return err
}

func (c *contest) approve() error {
	_, err := c.hub.Approve(c.ctx, c.id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: "y"})
	return err
}

func (c *contest) cancel() error {
	return c.hub.Cancel(c.ctx, c.id, protocol.CancelRequest{MessageID: "m1"})
}

// complete ends m1 as its worker, whose next event is n.
func (c *contest) complete(n uint64) {
	c.w1.complete(c.id, 1, n, "m1")
	c.w1.finish(c.id, 1, 1)
}

// withdraw takes i1 back as its worker, whose next event is n.
func (c *contest) withdraw(n uint64) {
	c.w1.event(c.id, 1, n, protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: "i1", Outcome: protocol.OutcomeCancelled})
}

func (c *contest) release() {
	c.w1.send(protocol.FrameRelease, protocol.Release{SessionID: c.id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
}

// is fails unless the error is the wanted one, or nil.
func (c *contest) is(what string, err, want error) {
	c.t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		c.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestDeleteAgainstMessage(t *testing.T) {
	race(t, func(c *contest) {
		c.is("message", c.message(), nil)
		c.is("delete", c.delete(), nil)
		c.wantEnd(c.id, "message complete.cancelled complete.cancelled status.ended closed.deleted")
	})
	race(t, func(c *contest) {
		c.is("delete", c.delete(), nil)
		c.is("message", c.message(), session.ErrNotFound)
		// So is the repeat of one that was accepted. It got its first answer once.
		_, err := c.hub.Message(c.ctx, c.id, "u1", protocol.MessageRequest{Content: []byte(`"hi"`), MessageID: "m1"}, hub.Admission{})
		c.is("the repeat of a message", err, session.ErrNotFound)
		c.wantEnd(c.id, "message status.queued status.starting complete.cancelled status.ended closed.deleted")
	})
}

func TestTwoDeletes(t *testing.T) {
	race(t, func(c *contest) {
		c.is("the first", c.delete(), nil)
		last := c.load(c.id).Last
		c.is("the second", c.delete(), session.ErrNotFound)
		if got := c.load(c.id).Last; got != last {
			t.Errorf("the second logged %d events", got-last)
		}
		c.record(c.id)
	})
}

func TestDeleteAgainstCreateWithTheSameKey(t *testing.T) {
	race(t, func(c *contest) {
		c.is("create", c.create(), nil)
		c.is("delete", c.delete(), nil)
		c.is("create again", c.create(), hub.ErrIdempotency)
		c.record(c.id)
	})
	race(t, func(c *contest) {
		c.is("delete", c.delete(), nil)
		for range 3 { // also when its log is gone
			c.is("create", c.create(), hub.ErrIdempotency)
			at(10 * time.Minute)
		}
	})
}

func TestApproveAgainstExpire(t *testing.T) {
	race(t, func(c *contest) {
		c.w1.ask(c.id, 1, 1, "i1")
		at(time.Minute - time.Millisecond)
		c.is("approve", c.approve(), nil)
		at(time.Minute)
		c.wantEnd(c.id, "approval_resolved.selected status.running")
	})
	race(t, func(c *contest) {
		c.w1.ask(c.id, 1, 1, "i1")
		at(time.Minute + time.Second)
		c.is("approve", c.approve(), session.ErrApprovalExpired)
		c.wantEnd(c.id, "approval_resolved.expired status.running")
	})
}

func TestApproveAgainstWithdraw(t *testing.T) {
	race(t, func(c *contest) {
		c.w1.ask(c.id, 1, 1, "i1")
		synctest.Wait()
		c.is("approve", c.approve(), nil)
		c.withdraw(2)
		synctest.Wait()
		c.w1.want("welcome assign(1 after 0 resume=false) message(1 m1) approval(2 m1 i1 selected y) ack(2)")
		c.wantEnd(c.id, "approval_resolved.selected status.running")
	})
	race(t, func(c *contest) {
		c.w1.ask(c.id, 1, 1, "i1")
		c.withdraw(2)
		synctest.Wait()
		var late *session.ResolvedError
		if err := c.approve(); !errors.As(err, &late) || late.Outcome != protocol.OutcomeCancelled || late.OptionID != "" {
			t.Errorf("a late answer: %v", err)
		}
		c.w1.want("welcome assign(1 after 0 resume=false) message(1 m1) approval(2 m1 i1 cancelled) ack(2)")
		c.wantEnd(c.id, "approval_resolved.cancelled status.running")
	})
}

func TestCancelAgainstComplete(t *testing.T) {
	race(t, func(c *contest) {
		c.complete(1)
		synctest.Wait()
		c.is("cancel", c.cancel(), nil)
		c.w1.want("welcome assign(1 after 0 resume=false) message(1 m1) ack(1)")
		c.wantEnd(c.id, "complete.end_turn status.idle")
	})
	// The agent had finished before it read the cancel: what it says counts.
	race(t, func(c *contest) {
		c.is("cancel", c.cancel(), nil)
		synctest.Wait()
		c.complete(1)
		c.w1.want("welcome assign(1 after 0 resume=false) message(1 m1) cancel(2 m1) ack(1)")
		c.wantEnd(c.id, "complete.end_turn status.idle")
	})
}

func TestReleaseAgainstMessage(t *testing.T) {
	race(t, func(c *contest) {
		c.complete(1)
		c.release()
		synctest.Wait()
		c.is("message", c.message(), nil)
		c.obey(c.w1, c.w2)
		c.wantEnd(c.id, "complete.end_turn status.idle message status.queued status.starting complete.end_turn status.idle")
	})
	race(t, func(c *contest) {
		c.complete(1)
		synctest.Wait()
		c.is("message", c.message(), nil)
		synctest.Wait()
		c.w1.take() // not read when the release was sent
		c.release()
		c.obey(c.w1, c.w2)
		c.wantEnd(c.id, "status.idle message status.queued status.running status.queued status.starting complete.end_turn status.idle")
	})
}

func TestRevokeAgainstEvent(t *testing.T) {
	race(t, func(c *contest) {
		c.w1.output(c.id, 1, 1)
		synctest.Wait()
		_ = c.w1.conn.Close()
		at(30 * time.Second)
		c.wantEnd(c.id, "output complete.error status.idle")
	})
	race(t, func(c *contest) {
		_ = c.w1.conn.Close()
		at(30 * time.Second)
		late := c.join(hello("w1", protocol.HelloSession{SessionID: c.id, Assignment: 1, Event: 2}))
		late.output(c.id, 1, 1)
		late.complete(c.id, 1, 2, "m1")
		if got := late.script(); !strings.HasPrefix(got, "welcome revoke(1)") || strings.Contains(got, "ack") {
			t.Errorf("the late worker was told %q", got)
		}
		c.wantEnd(c.id, "status.starting complete.error status.idle")
	})
}

// Both sides of each race at once, many times. Whoever wins, the log is whole,
// nothing that was deleted is there again, and a session that is open runs its
// next message to the end.
func TestRacesAtOnce(t *testing.T) {
	const rounds = 50
	errs := func(allowed ...error) func(error) bool {
		return func(err error) bool {
			return err == nil || slices.ContainsFunc(allowed, func(e error) bool { return errors.Is(err, e) })
		}
	}
	conflict := func(err error) bool {
		_, resolved := errors.AsType[*session.ResolvedError](err)
		return err == nil || resolved
	}
	send := func(f func(*contest)) func(*contest) error { return func(c *contest) error { f(c); return nil } }
	for name, r := range map[string]struct {
		before func(*contest)
		sides  []func(*contest) error
		may    []func(error) bool // what each side may be answered
	}{
		"delete, message": {nil, []func(*contest) error{(*contest).delete, (*contest).message}, []func(error) bool{errs(), errs(session.ErrNotFound)}},
		"two deletes":     {nil, []func(*contest) error{(*contest).delete, (*contest).delete}, []func(error) bool{errs(session.ErrNotFound), errs(session.ErrNotFound)}},
		"delete, create":  {nil, []func(*contest) error{(*contest).delete, (*contest).create}, []func(error) bool{errs(), errs(hub.ErrIdempotency)}},
		"approve, expire": {
			func(c *contest) { c.w1.ask(c.id, 1, 1, "i1"); synctest.Wait() },
			[]func(*contest) error{func(c *contest) error { time.Sleep(time.Minute); return c.approve() }},
			[]func(error) bool{errs(session.ErrApprovalExpired)},
		},
		"approve, cancel": {
			func(c *contest) { c.w1.ask(c.id, 1, 1, "i1"); synctest.Wait() },
			[]func(*contest) error{(*contest).approve, (*contest).cancel}, []func(error) bool{conflict, errs()},
		},
		"cancel, complete": {
			nil, []func(*contest) error{(*contest).cancel, send(func(c *contest) { c.complete(1) })}, []func(error) bool{errs(), errs()},
		},
		"release, message": {
			func(c *contest) { c.complete(1); synctest.Wait(); c.w1.take() },
			[]func(*contest) error{send((*contest).release), (*contest).message}, []func(error) bool{errs(), errs()},
		},
		"delete, event": {
			nil, []func(*contest) error{(*contest).delete, send(func(c *contest) { c.w1.output(c.id, 1, 1); c.complete(2) })}, []func(error) bool{errs(), errs()},
		},
		// The worker says on a new link that it has forgotten the session, while
		// its old one still brings an event of it.
		"revoke, event": {
			func(c *contest) { c.w1.take(); c.late = c.w1 },
			[]func(*contest) error{
				send(func(c *contest) { c.w1 = c.join(helloOf("w1", 4)) }),
				send(func(c *contest) { c.late.output(c.id, 1, 1); c.late.complete(c.id, 1, 2, "m1") }),
			}, []func(error) bool{errs(), errs()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			logs := make(map[string]int)
			for range rounds {
				race(t, func(c *contest) {
					if r.before != nil {
						r.before(c)
					}
					var wg sync.WaitGroup
					for i, side := range r.sides {
						wg.Go(func() {
							if err := side(c); !r.may[i](err) {
								t.Errorf("side %d: %v", i, err)
							}
						})
					}
					wg.Wait()
					at(time.Second)
					logs[strings.Join(c.record(c.id), " ")]++
					c.afterwards()
				})
			}
			t.Logf("%d ways to end: %v", len(logs), logs)
		})
	}
}

// afterwards holds a session to what it must still do.
func (c *contest) afterwards() {
	c.t.Helper()
	if c.load(c.id).State.Closed != "" {
		last := c.load(c.id).Last
		c.is("message after the end", c.message(), session.ErrNotFound)
		c.is("create after the end", c.create(), hub.ErrIdempotency)
		c.w1.output(c.id, 1, c.load(c.id).N+1)
		c.obey(c.w1, c.w2)
		at(10 * time.Second)
		if got := c.load(c.id); got.Last != last || got.State.Worker != "" {
			c.t.Errorf("%d events behind the end, with worker %q", got.Last-last, got.State.Worker)
		}
		return
	}
	c.obey(c.w1, c.w2)
	c.say(c.id, "after")
	c.obey(c.w1, c.w2)
	c.record(c.id)
	if n, end := c.completes(c.id, "after"); n != 1 || end.StopReason != protocol.StopEndTurn {
		c.t.Errorf("the next message: %d completes, %+v; the session is %+v", n, end, c.load(c.id).State)
	}
}

// A message that comes while its session's worker is away waits, and the status
// says so. The worker runs it when it is back in time, else another one does. It
// once completed with worker_lost, though no worker had ever received it.
func TestMessageWhileTheWorkerIsAway(t *testing.T) {
	leaves := map[string]func(*contest){
		"its link is down": func(c *contest) { _ = c.w1.conn.Close() },
		"it sleeps":        func(c *contest) { c.w1.freeze() },
	}
	for how, leave := range leaves {
		away := func(test func(c *contest)) {
			race(t, func(c *contest) {
				c.complete(1)
				synctest.Wait()
				c.w1.take()
				leave(c)
				c.is("message", c.message(), nil)
				at(time.Second)
				if got := c.status(c.id); got != protocol.StatusQueued {
					t.Errorf("%s: the status is %s", how, got)
				}
				test(c)
			})
		}
		away(func(c *contest) {
			at(9 * time.Second)
			back := c.join(hello("w1", protocol.HelloSession{SessionID: c.id, Assignment: 1, Message: 1, Event: 1}))
			at(2 * time.Second) // the last word to the old link may wait
			back.want("welcome message(2 m2) ack(1)")
			c.w2.want("welcome")
			c.wantEnd(c.id, "complete.end_turn status.idle message status.queued status.running")
		})
		away(func(c *contest) {
			c.say(c.id, "m3")
			at(20 * time.Second)
			c.obey(c.w2)
			at(time.Second)
			c.obey(c.w2)
			c.wantEnd(c.id, "status.starting complete.end_turn status.queued status.running complete.end_turn status.idle")
			c.record(c.id)
		})
		// It was taken back meanwhile, by nobody's leave: it never runs.
		away(func(c *contest) {
			c.is("cancel", c.hub.Cancel(c.ctx, c.id, protocol.CancelRequest{MessageID: "m2"}), nil)
			at(20 * time.Second)
			c.wantEnd(c.id, "message status.queued complete.cancelled status.idle")
		})
	}
}
