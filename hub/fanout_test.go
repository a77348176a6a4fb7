package hub_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// reader is a client that comes and goes, and holds every stream to the promise.
type reader struct {
	w      *world
	id     string
	epoch  string
	last   uint64 // last event that it has
	gaps   int
	resume func(uint64) string
}

// hop reads some frames of one stream and leaves in the middle of it.
func (r *reader) hop(rng *rand.Rand, total uint64) error {
	s := newSink(protocol.Encoding(rng.IntN(2)))
	cursor, err := protocol.ParseCursor(r.resume(r.last))
	if err != nil {
		return err
	}
	stream, err := r.w.hub.Open(r.w.ctx, r.id, cursor, s.enc)
	if err != nil {
		return err
	}
	sub, err := stream.Start(r.w.ctx, s, session.Grant{})
	if err != nil {
		return err
	}
	defer sub.Stop(1000, "left", "client_closed")
	defer s.leave()
	want := rng.IntN(1500)
	timeout := time.After(time.Minute)
	for n := 0; n < want && r.last < total; {
		select {
		case <-s.more:
		case <-timeout:
			return fmt.Errorf("nothing came for a minute after %d of %d", r.last, total)
		}
		frames := s.got()
		for ; n < len(frames); n++ {
			if err := r.take(n, frames); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) take(n int, frames []frame) error {
	f := frames[n]
	switch {
	case n == 0:
		if f.kind() != "connected" {
			return fmt.Errorf("a stream begins with %s", f.raw)
		}
	case f.seq != 0:
		if f.seq != r.last+1 {
			return fmt.Errorf("after %d comes %d", r.last, f.seq)
		}
		r.last = f.seq
	case f.kind() == "gap":
		var g protocol.Gap
		f.data(&g)
		if g.FromSeq != r.last+1 || g.ToSeq < g.FromSeq || g.Reason != protocol.GapTrimmed || g.Epoch != r.epoch {
			return fmt.Errorf("after %d the gap %+v", r.last, g)
		}
		r.last = g.ToSeq
		r.gaps++
	case f.kind() != "caught_up":
		return fmt.Errorf("a frame %s", f.raw)
	}
	return nil
}

func fanOut(t *testing.T, r store.Retention, readers int, total uint64) (gaps int) {
	w := newWorld(t, r)
	id := w.create()
	epoch := w.load(id).Epoch()
	var found atomic.Int64
	var failed atomic.Bool
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			resume := func(seq uint64) string { return fmt.Sprintf("%s-%d", epoch, seq) }
			if i%2 == 1 { // a bare seq is a cursor too
				resume = func(seq uint64) string { return fmt.Sprint(seq) }
			}
			me := &reader{w: w, id: id, epoch: epoch, resume: resume}
			for me.last < total && !failed.Load() {
				if err := me.hop(rng, total); err != nil {
					failed.Store(true)
					t.Errorf("reader %d: %v", i, err)
				}
			}
			found.Add(int64(me.gaps))
		})
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for last := w.load(id).Last; last < total; {
		n := min(1+rng.IntN(8), int(total-last))
		texts := make([]string, n)
		for i := range texts {
			texts[i] = strings.Repeat("x", rng.IntN(200))
		}
		last = w.append(id, texts...)
		if rng.IntN(200) == 0 {
			time.Sleep(time.Millisecond) // let readers catch up now and then: they then read the tail
		}
	}
	all.Wait()
	if n := w.hub.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
	return int(found.Load())
}

// Over any number of reconnects and in either encoding, each subscriber gets
// every event once, in order.
func TestHoppingSubscribersMissNothing(t *testing.T) {
	if gaps := fanOut(t, roomy, 50, 20_000); gaps != 0 {
		t.Errorf("%d gaps in a log that keeps everything", gaps)
	}
}

// What a short retention took from them is named exactly: no event is missing
// without a gap, and none is both given and named.
func TestHoppingSubscribersAreToldEachGap(t *testing.T) {
	if gaps := fanOut(t, store.Retention{MaxEvents: 100, MaxBytes: 1 << 30}, 50, 20_000); gaps == 0 {
		t.Error("no gap at all: the test shows nothing")
	}
}
