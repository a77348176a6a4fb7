package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// A worker that sends small frames is held back by their number.
func TestIntakeIsBoundedInFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, put := newIntake(), 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			for {
				if err := q.put(ctx, []byte("x")); err != nil {
					ended <- err
					return
				}
				put++
			}
		}()
		synctest.Wait()
		if put != maxWaitingFrames-1 { // the last one waits for room behind it
			t.Errorf("%d frames were taken, want %d", put+1, maxWaitingFrames)
		}
		frames, err := q.take(ctx, nil)
		if len(frames) != maxWaitingFrames || err != nil {
			t.Errorf("took %d, %v", len(frames), err)
		}
		synctest.Wait()
		if put != 2*maxWaitingFrames-1 {
			t.Errorf("%d frames were taken, want %d", put+1, 2*maxWaitingFrames)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
