package hub_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/memstore"
	"sessionhub/protocol"
)

// failedOver is a store whose log goes on in another epoch.
type failedOver struct {
	hub.Store
	from atomic.Uint64 // first seq of that; 0: it has not begun
}

const secondEpoch = "second"

func (s *failedOver) Load(ctx context.Context, id string) (hub.Snapshot, error) {
	snap, err := s.Store.Load(ctx, id)
	if from := s.from.Load(); err == nil && from != 0 {
		snap.Epochs = append(slices.Clone(snap.Epochs), hub.EpochStart{Epoch: secondEpoch, First: from})
	}
	return snap, err
}

func (s *failedOver) Confirm(ctx context.Context, id string) (hub.Snapshot, error) {
	return s.Load(ctx, id)
}

func (s *failedOver) Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
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
		store := memstore.New(roomy)
		seen := &failedOver{Store: store}
		w := newWorldOn(t, store, seen)
		id := w.create()
		w.append(id, "b", "c", "d")
		cursor := protocol.Cursor{Epoch: w.load(id).Epoch(), Seq: 9}
		stream, err := w.hub.Open(w.ctx, id, cursor, hub.WebSocket)
		if err != nil {
			t.Fatal(err)
		}
		seen.from.Store(5)
		s := newSink(hub.WebSocket)
		if s.sub, err = stream.Start(w.ctx, s, hub.Grant{Expires: time.Time{}}); err != nil {
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
