package hub_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// deafStore does not answer a Load in time while it is deaf.
type deafStore struct {
	store.Store
	deaf atomic.Bool
}

func (s *deafStore) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if s.deaf.Load() {
		select {
		case <-time.After(2 * time.Second):
			return store.Snapshot{}, store.ErrUnavailable
		case <-ctx.Done():
			return store.Snapshot{}, ctx.Err()
		}
	}
	return s.Store.Load(ctx, id)
}

// deafWorld has sessions with a stream each, whose state has just changed, on a
// store that has just become deaf.
func deafWorld(t *testing.T, sessions int, f func(w *world, store *deafStore, ids []string, sinks []*sink)) {
	synctest.Test(t, func(t *testing.T) {
		mem := mem.New(roomy)
		store := &deafStore{Store: mem}
		w := newWorldOn(t, mem, store)
		defer w.stop()
		ids, sinks := make([]string, sessions), make([]*sink, sessions)
		for i := range sessions {
			ids[i], sinks[i] = w.create(), newSink(protocol.WebSocket)
			w.startAs(ids[i], "", sinks[i], session.Grant{TokenID: "t1", Expires: time.Now().Add(time.Hour)})
		}
		synctest.Wait()
		for i, id := range ids {
			w.say(id, "m1")
			if i == 0 {
				if _, err := w.hub.RevokeAll(w.ctx, id); err != nil {
					t.Fatal(err)
				}
			}
		}
		store.deaf.Store(true)
		f(w, store, ids, sinks)
	})
}

// The sweeper once read each session whose state had changed, one after another.
// With thousands of them at a time, as when many streams open or a node finds its
// store again, heartbeats came a minute late.
func TestHeartbeatsDoNotWaitForTheStore(t *testing.T) {
	deafWorld(t, 100, func(_ *world, _ *deafStore, _ []string, sinks []*sink) {
		at(32 * time.Second)
		for i, s := range sinks {
			if s.heartbeats() < 2 {
				t.Errorf("stream %d: %d heartbeats in 32 s, want 2", i, s.heartbeats())
			}
		}
	})
}

// A revocation that could not be seen, since the store did not answer when it was
// looked for, was once looked for no more.
func TestRevocationIsSeenWhenTheStoreAnswersAgain(t *testing.T) {
	deafWorld(t, 100, func(_ *world, store *deafStore, _ []string, sinks []*sink) {
		at(10 * time.Second)
		if sinks[0].end() != 0 {
			t.Fatal("it ended while nobody could know")
		}
		store.deaf.Store(false)
		at(2*time.Second + 2*time.Second) // of the call that is under way, and the promise
		if code, _ := sinks[0].sub.Ended(); code != protocol.CloseToken {
			t.Errorf("ended with %d, want %d", code, protocol.CloseToken)
		}
		if sinks[1].end() != 0 {
			t.Errorf("another stream ended with %d", sinks[1].end())
		}
	})
}
