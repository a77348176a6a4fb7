package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// newer is a store of which one server is behind: a place in a log comes from one, the
// events from another one, which knows of a newer epoch.
type newer struct {
	store.Store
	times int // so often
	reads int
}

func (s *newer) Read(ctx context.Context, id string, after uint64, events, bytes int) (store.Page, error) {
	page, err := s.Store.Read(ctx, id, after, events, bytes)
	if s.reads++; s.reads <= s.times {
		page.Epoch = secondEpoch
	}
	return page, err
}

// History asked such a store again and again, without a pause, for as long as it was so.
func TestHistoryOfServersThatDoNotAgree(t *testing.T) {
	for name, c := range map[string]struct {
		times int
		want  error
	}{"once": {1, nil}, "for ever": {1 << 30, store.ErrBehind}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept := mem.New(roomy)
				seen := &newer{Store: kept, times: c.times}
				w := newWorldOn(t, kept, seen)
				id := w.create()
				ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
				defer cancel()
				h, err := w.hub.History(ctx, id, protocol.Cursor{}, 0)
				if !errors.Is(err, c.want) || c.want != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("answered %v, want %v", err, c.want)
				}
				if c.want == nil && len(h.Events) != 1 {
					t.Errorf("%d events, want 1", len(h.Events))
				}
				if seen.reads > 10 {
					t.Errorf("it was read %d times", seen.reads)
				}
				w.stop()
			})
		})
	}
}
