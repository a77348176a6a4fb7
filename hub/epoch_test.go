package hub_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// failedOver is a store whose log goes on in another epoch.
type failedOver struct {
	store.Store
	from atomic.Uint64 // first seq of that; 0: it has not begun
}

const secondEpoch = "second"

func (s *failedOver) Load(ctx context.Context, id string) (store.Snapshot, error) {
	snap, err := s.Store.Load(ctx, id)
	if from := s.from.Load(); err == nil && from != 0 {
		snap.Epochs = append(slices.Clone(snap.Epochs), store.EpochStart{Epoch: secondEpoch, First: from})
	}
	return snap, err
}

func (s *failedOver) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	return s.Load(ctx, id)
}

func (s *failedOver) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	page, err := s.Store.Read(ctx, id, after, maxEvents, maxBytes)
	if s.from.Load() != 0 {
		page.Epoch = secondEpoch
	}
	return page, err
}

// The loss was found out before the log went on, and is told after: a gap that named
// the epoch before would have its reader count the events that follow in that one.
func TestGapNamesTheEpochInWhichTheLogGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(roomy)
		seen := &failedOver{Store: store}
		w := newWorldOn(t, store, seen)
		id := w.create()
		w.append(id, "b", "c", "d")
		cursor := protocol.Cursor{Epoch: w.load(id).Epoch(), Seq: 9}
		stream, err := w.hub.Open(w.ctx, id, cursor, protocol.WebSocket)
		if err != nil {
			t.Fatal(err)
		}
		seen.from.Store(5)
		s := newSink(protocol.WebSocket)
		if s.sub, err = stream.Start(w.ctx, s, session.Grant{Expires: time.Time{}}); err != nil {
			t.Fatal(err)
		}
		defer s.sub.Stop(0, "", "")
		w.wantScript(s, "connected gap=5-9(epoch_changed) caught_up=4")
		var connected protocol.Connected
		var gap protocol.Gap
		s.got()[0].data(&connected)
		s.got()[1].data(&gap)
		if connected.Epoch != secondEpoch || gap.Epoch != secondEpoch {
			t.Errorf("connected names %q, the gap %q, want %q", connected.Epoch, gap.Epoch, secondEpoch)
		}
	})
}

// restarted is a store that is started again, and loses nothing: its logs go on in another
// epoch, from the first append on.
type restarted struct {
	failedOver
	again atomic.Bool
}

func (s *restarted) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	b.Epoch = "" // the store in memory knows one
	done, err := s.Store.Append(ctx, id, b)
	if err == nil && s.again.CompareAndSwap(true, false) {
		s.from.Store(done.First)
		done.Epoch = secondEpoch
	}
	return done, err
}

// The store is started again while a message waits for a worker that is away. The hand of
// the message is the first step of the new epoch. The link took the answer for one in the
// old epoch, and so the next look for a loss: the turn ended as worker_lost.
func TestHandInANewEpochIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &restarted{failedOver: failedOver{Store: kept}}
		w := newWorldOn(t, kept, seen)
		p := w.join(hello("w1"))
		id := w.resting(p, 1)[0]
		p.script()
		_ = p.conn.Close()
		synctest.Wait()
		w.say(id, "m2")
		seen.again.Store(true)
		p = w.join(hello("w1", protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Acked: 1, Message: 1}))
		at(time.Second)
		p.want("welcome message(2 m2) ack(1)")
		p.output(id, 1, 2)
		p.want("ack(2)")
		p.complete(id, 1, 3, "m2")
		p.finish(id, 1, 2)
		p.want("ack(3)")
		if n, c := w.completes(id, "m2"); n != 1 || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%d completes, %+v", n, c)
		}
		w.stop()
	})
}
