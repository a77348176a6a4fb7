package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// replicated is a store of two servers. The replica gets what the primary stores, until it
// lags. After the failover the replica answers for the sessions, in its own epoch: what it
// lags behind is lost. What a store tells its nodes beside the sessions is not lost.
type replicated struct {
	*mem.Store // the primary
	replica    *mem.Store
	lags       atomic.Bool
	over       atomic.Bool // the failover has happened
}

// inReplicated runs a test with a hub on such a store, a session, and a worker that reads
// only when the test says so.
func inReplicated(t *testing.T, test func(w *world, s *replicated, a *leaver, id string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &replicated{Store: mem.New(roomy), replica: mem.New(roomy)}
		w := newWorldOn(t, s.Store, s)
		a := w.leaver()
		a.send(protocol.FrameHello, hello("w1"))
		a.until(protocol.FrameWelcome)
		test(w, s, a, w.create())
		w.stop()
	})
}

func (s *replicated) server() *mem.Store {
	if s.over.Load() {
		return s.replica
	}
	return s.Store
}

func (s *replicated) Create(ctx context.Context, id string, b store.Batch, most int) (store.Appended, error) {
	if _, err := s.replica.Create(ctx, id, b, most); err != nil {
		return store.Appended{}, err
	}
	return s.Store.Create(ctx, id, b, most)
}

func (s *replicated) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	done, err := s.server().Append(ctx, id, b)
	if err == nil && !s.over.Load() && !s.lags.Load() {
		b.Epoch = "" // the primary's
		_, err = s.replica.Append(ctx, id, b)
	}
	return done, err
}

func (s *replicated) Load(ctx context.Context, id string) (store.Snapshot, error) {
	return s.server().Load(ctx, id)
}

func (s *replicated) LoadNote(ctx context.Context, id, key string) (store.Snapshot, store.Noted, error) {
	return s.server().LoadNote(ctx, id, key)
}

func (s *replicated) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	return s.server().Confirm(ctx, id)
}

func (s *replicated) Read(ctx context.Context, id string, after uint64, events, bytes int) (store.Page, error) {
	return s.server().Read(ctx, id, after, events, bytes)
}

func (s *replicated) Commands(ctx context.Context, id string, after uint64) ([]session.Command, error) {
	return s.server().Commands(ctx, id, after)
}

func (s *replicated) Note(ctx context.Context, id, key string) (string, uint64, bool, error) {
	return s.server().Note(ctx, id, key)
}

func (s *replicated) Watch(id string, notify func(store.Notice)) func() {
	first, second := s.Store.Watch(id, notify), s.replica.Watch(id, notify)
	return func() { first(); second() }
}

// event sends an event without waiting for what the hub makes of it.
func (l *leaver) event(id string, n uint64, t protocol.EventType, data any) {
	l.w.t.Helper()
	l.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: id, Assignment: 1, N: n, Type: t, Data: protocol.Marshal(data)})
	synctest.Wait()
}

func (l *leaver) output(id string, n uint64) {
	l.w.t.Helper()
	l.event(id, n, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: "x", Kind: "text"})
}

func (l *leaver) complete(id string, n uint64) {
	l.w.t.Helper()
	l.event(id, n, protocol.EventComplete, protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn})
}

// hangUp ends the link behind what was sent over it.
func (l *leaver) hangUp() {
	synctest.Wait()
	_ = l.conn.Close()
	<-l.done
}

// wantRevoked checks that a worker which has come back was told to give up its session, and
// nothing else. Each of its frames may be answered so.
func (p *peer) wantRevoked() {
	p.w.t.Helper()
	got := p.script()
	if first, rest, _ := strings.Cut(got, " revoke(1)"); first != "welcome" || strings.ReplaceAll(rest, " revoke(1)", "") != "" || got == first {
		p.w.t.Errorf("the worker was told %q, want only that it is revoked", got)
	}
	_ = p.conn.Close()
}

// wantLost checks that m1 ended once, with worker_lost, as the last thing in the log, and
// that the next worker gets the next message only.
func (w *world) wantLost(id, log string) {
	w.t.Helper()
	if got := w.logWords(id); got != log {
		w.t.Errorf("the log is %s\nwant %s", got, log)
	}
	if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
		w.t.Errorf("%d completes, the last with %+v", n, c.Error)
	}
	w.say(id, "m2")
	p := w.join(hello("w2"))
	at(time.Second)
	if got := p.script(); !strings.Contains(got, " m2)") || strings.Contains(got, " m1)") {
		w.t.Errorf("the next worker was told %q", got)
	}
}

// The store lost the end of a turn just before the worker's done. The hub took that for
// the done of a worker without a result, and completed the message with agent_protocol.
// The link broke before it noticed. The worker came back, and sent what nobody had
// acknowledged: it was logged as output of a message that had ended.
func TestDoneOfATurnWhoseEndTheStoreHasLost(t *testing.T) {
	inReplicated(t, func(w *world, s *replicated, a *leaver, id string) {
		w.say(id, "m1")
		a.until(protocol.FrameCommand)
		s.lags.Store(true)
		a.output(id, 1)
		a.output(id, 2)
		a.complete(id, 3)
		s.over.Store(true)
		a.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: 1, Message: 1})
		a.hangUp()

		p := w.join(hello("w1", protocol.HelloSession{
			SessionID: id, Assignment: 1, Event: 3, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"},
		}))
		p.output(id, 1, 1)
		p.output(id, 1, 2)
		p.complete(id, 1, 3, "m1")
		p.finish(id, 1, 1)
		p.wantRevoked()
		w.wantLost(id, "idle message queued starting complete.error idle")
	})
}

// The same before a release: the message ran a second time, since the worker said that
// nothing ran.
func TestReleaseAfterATurnWhoseEndTheStoreHasLost(t *testing.T) {
	inReplicated(t, func(w *world, s *replicated, a *leaver, id string) {
		w.say(id, "m1")
		a.until(protocol.FrameCommand)
		a.output(id, 1)
		s.lags.Store(true)
		a.complete(id, 2)
		a.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: 1, Message: 1})
		synctest.Wait()
		s.over.Store(true)
		a.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseDrained, Retry: true})
		a.hangUp()
		w.wantLost(id, "idle message queued starting running output complete.error idle")
	})
}

// A message is in the log, but the store has lost that the worker has it: it waits there.
// Output of it was logged all the same, and its complete was not.
func TestOutputOfAMessageWhoseHandTheStoreHasLost(t *testing.T) {
	for name, rejoins := range map[string]bool{"over the same link": false, "over the next link": true} {
		t.Run(name, func(t *testing.T) {
			inReplicated(t, func(w *world, s *replicated, a *leaver, id string) {
				w.say(id, "m0")
				a.until(protocol.FrameCommand)
				a.event(id, 1, protocol.EventComplete, protocol.CompleteData{MessageID: "m0", StopReason: protocol.StopEndTurn})
				a.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: 1, Message: 1})
				w.say(id, "m1")
				synctest.Wait()
				if _, waits := w.load(id).State.Waiting(); !waits {
					t.Fatalf("the message does not wait for the worker: %+v", w.load(id).State)
				}
				s.lags.Store(true)
				a.until(protocol.FrameCommand)
				if _, runs := w.load(id).State.Turn(); !runs {
					t.Fatalf("the message was not handed: %+v", w.load(id).State)
				}
				s.over.Store(true)
				if rejoins {
					a.hangUp()
					p := w.join(hello("w1", protocol.HelloSession{
						SessionID: id, Assignment: 1, Message: 1, Event: 2, Acked: 1, Turn: &protocol.HelloTurn{Seq: 2, MessageID: "m1"},
					}))
					p.output(id, 1, 2)
					p.wantRevoked()
				} else {
					a.output(id, 2)
					a.hangUp()
				}
				w.wantLost(id, "idle message queued starting complete.end_turn idle message queued complete.error idle")
			})
		})
	}
}

// A store that has lost a message has lost the number of its first output too. So the
// output that follows it is not taken.
func TestOutputOfAMessageThatTheStoreHasLost(t *testing.T) {
	inReplicated(t, func(w *world, s *replicated, a *leaver, id string) {
		w.say(id, "m0")
		a.until(protocol.FrameCommand)
		a.event(id, 1, protocol.EventComplete, protocol.CompleteData{MessageID: "m0", StopReason: protocol.StopEndTurn})
		a.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: 1, Message: 1})
		synctest.Wait()
		s.lags.Store(true)
		w.say(id, "m1")
		a.until(protocol.FrameCommand)
		a.output(id, 2)
		s.over.Store(true)
		a.output(id, 3)
		a.hangUp()
		if got, want := w.logWords(id), "idle message queued starting complete.end_turn idle"; got != want {
			t.Errorf("the log is %s\nwant %s", got, want)
		}
	})
}
