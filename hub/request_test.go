package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub"
	"sessionhub/hub/fleet"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// answering is a hello of a worker that lists files.
func answering(worker string) protocol.Hello {
	h := hello(worker)
	h.Requests = []protocol.WorkerMethod{protocol.MethodFilesList}
	return h
}

// listing is a request for a session's files that is under way.
type listing struct {
	list protocol.FileList
	err  error
	over chan struct{}
	took time.Duration
}

// list begins to ask for a session's files.
func (w *world) list(ctx context.Context, id string) *listing {
	w.t.Helper()
	synctest.Wait() // a worker that has just come is taken in
	l, s, began := &listing{over: make(chan struct{})}, w.load(id).State, time.Now()
	w.wg.Go(func() {
		defer close(l.over)
		l.list, l.err = w.hub.Files.List(ctx, s, protocol.FilesListParams{})
		l.took = time.Since(began)
	})
	synctest.Wait()
	return l
}

func (l *listing) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// requests are the requests that the worker has, in order.
func (p *peer) requests() (all []protocol.WorkerRequest) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.Type == protocol.FrameRequest {
			var r protocol.WorkerRequest
			if err := protocol.Decode(f.Data, &r); err != nil {
				p.w.t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	return all
}

func (p *peer) answer(id, path string) {
	p.send(protocol.FrameResponse, protocol.WorkerResponse{ID: id, Result: protocol.Marshal(protocol.FileList{Path: path})})
	synctest.Wait()
}

func TestRequestAndItsResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		p := w.join(answering("w1"))
		id := w.create()
		one, two := w.list(w.ctx, id), w.list(w.ctx, id)
		asked := p.requests()
		if len(asked) != 2 || asked[0].UserID != "u1" || asked[0].SessionID != id || asked[0].Method != protocol.MethodFilesList || asked[0].ID == asked[1].ID {
			t.Fatalf("asked for %+v", asked)
		}
		p.answer("made up", "x")
		p.answer(asked[1].ID, "second")
		p.answer(asked[1].ID, "again")
		p.send(protocol.FrameResponse, protocol.WorkerResponse{ID: asked[0].ID, Error: &protocol.RequestError{Code: protocol.CodeNotFound, Detail: "gone"}})
		synctest.Wait()
		var refused *hub.RequestError
		if !one.isOver() || !errors.As(one.err, &refused) || refused.Code != protocol.CodeNotFound {
			t.Errorf("the first: %+v", one)
		}
		if !two.isOver() || two.err != nil || two.list.Path != "second" {
			t.Errorf("the second: %+v", two)
		}
		w.stop()
	})
}

// Every request is answered or refused in bounded time, whatever the worker does.
func TestRequestWithoutAResponse(t *testing.T) {
	for name, c := range map[string]struct {
		does func(w *world, p *peer)
		want error
		most time.Duration
	}{
		"says nothing":             {func(*world, *peer) {}, hub.ErrWorkerSilent, protocol.WorkerRequestSeconds * time.Second},
		"hangs up":                 {func(_ *world, p *peer) { _ = p.conn.Close() }, hub.ErrNoWorker, 0},
		"sends what is no answer":  {func(_ *world, p *peer) { p.raw([]byte(`{"type":"response","data":7}`)) }, hub.ErrNoWorker, 0},
		"opens another link":       {func(w *world, _ *peer) { w.join(answering("w1")) }, hub.ErrNoWorker, 0},
		"reads nothing any more":   {func(_ *world, p *peer) { p.freeze() }, hub.ErrWorkerSilent, protocol.WorkerRequestSeconds * time.Second},
		"answers another question": {func(_ *world, p *peer) { p.answer("made up", "x") }, hub.ErrWorkerSilent, protocol.WorkerRequestSeconds * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, roomy)
				p := w.join(answering("w1"))
				l := w.list(w.ctx, w.create())
				c.does(w, p)
				<-l.over
				if !errors.Is(l.err, c.want) && !(name == "reads nothing any more" && errors.Is(l.err, hub.ErrNoWorker)) {
					t.Errorf("%v, want %v", l.err, c.want)
				}
				if l.took > c.most {
					t.Errorf("it took %s, want %s at most", l.took, c.most)
				}
				w.stop()
			})
		})
	}
}

// Each request is counted once, by its end.
func TestRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(t, roomy, func(c *hub.Config) { c.Metrics = metrics.New(reg, metrics.Build{}, nil) })
		p, id := w.join(answering("w1")), w.create()
		say := func(response protocol.WorkerResponse) func(string) {
			return func(id string) { response.ID = id; p.send(protocol.FrameResponse, response) }
		}
		refuse := func(code protocol.Code) func(string) {
			return say(protocol.WorkerResponse{Error: &protocol.RequestError{Code: code}})
		}
		for _, do := range []func(string){
			say(protocol.WorkerResponse{Result: []byte("{}")}),
			say(protocol.WorkerResponse{Result: []byte("[7]")}), say(protocol.WorkerResponse{}), refuse(protocol.CodeWorkerFailed),
			refuse(protocol.CodePathNotAllowed), refuse(protocol.CodeUnavailable), refuse(protocol.CodeWorkerTimeout),
			func(string) {}, func(string) { _ = p.conn.Close() },
		} {
			l := w.list(w.ctx, id)
			asked := p.requests()
			do(asked[len(asked)-1].ID)
			<-l.over
		}
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				switch f.GetName() {
				case "sessionhub_worker_requests_total":
					got[m.GetLabel()[1].GetValue()] += m.GetCounter().GetValue()
				case "sessionhub_worker_request_seconds":
					got["seconds"] += float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
		want := map[string]float64{"ok": 1, "failed": 3, "refused": 1, "busy": 1, "timeout": 2, "no_worker": 1, "unavailable": 0, "seconds": 9}
		if !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
		w.stop()
	})
}

func TestRequestGoesToAFittingWorkerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		id := w.create()
		older := w.join(hello("older")) // it knows no requests
		foreign := w.joinWith(fleet.WorkerKey{Name: "k", User: "somebody else"}, answering("theirs"))
		if l := w.list(w.ctx, id); !l.isOver() || !errors.Is(l.err, hub.ErrNoWorker) {
			t.Errorf("without a worker: %+v", l)
		}
		good := w.join(answering("good"))
		l := w.list(w.ctx, id)
		good.answer(good.requests()[0].ID, "here")
		if !l.isOver() || l.list.Path != "here" {
			t.Errorf("with a worker: %+v", l)
		}
		if len(older.requests()) > 0 || len(foreign.requests()) > 0 {
			t.Error("a worker was asked that may not have the session")
		}
		w.stop()
	})
}

func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		p := w.join(answering("w1"))
		id := w.create()
		var all []*listing
		for range 20 {
			all = append(all, w.list(w.ctx, id))
		}
		busy := 0
		for _, l := range all {
			if l.isOver() && errors.Is(l.err, hub.ErrWorkerBusy) {
				busy++
			}
		}
		if asked := len(p.requests()); busy != 4 || asked != 16 {
			t.Errorf("%d of 20 were refused, %d came to the worker", busy, asked)
		}
		p.answer(p.requests()[0].ID, "")
		if l := w.list(w.ctx, id); l.isOver() {
			t.Errorf("there was room for one, and it ended with %v", l.err)
		}
		ctx, cancel := context.WithCancel(w.ctx)
		p.answer(p.requests()[1].ID, "")
		gone := w.list(ctx, id)
		cancel()
		synctest.Wait()
		if !gone.isOver() || !errors.Is(gone.err, context.Canceled) {
			t.Errorf("a caller that has left: %+v", gone)
		}
		w.stop()
	})
}

// A user who asks over all nodes leaves room at the worker for others.
func TestRequestsOfOneUserAreBoundedOverAllNodes(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		p := b.join(answering("w1"))
		id, other := a.create(), a.createFor("u2", "m1")
		var all []*listing
		for range 15 {
			all = append(all, a.list(a.ctx, id), b.list(b.ctx, id))
		}
		busy := 0
		for _, l := range all {
			if l.isOver() && errors.Is(l.err, hub.ErrWorkerBusy) {
				busy++
			}
		}
		if asked := len(p.requests()); busy != 14 || asked != 16 {
			t.Errorf("%d of 30 were refused, %d came to the worker", busy, asked)
		}
		if l := a.list(a.ctx, other); l.isOver() {
			t.Errorf("another user's: %v", l.err)
		}
	})
}

func TestRequestOverTwoNodes(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		p := b.join(answering("w1"))
		id := a.create()
		l := a.list(a.ctx, id)
		p.answer(p.requests()[0].ID, "from the other node")
		if !l.isOver() || l.err != nil || l.list.Path != "from the other node" {
			t.Fatalf("%+v", l)
		}
		refused := a.list(a.ctx, id)
		_ = p.conn.Close()
		synctest.Wait()
		if !refused.isOver() || !errors.Is(refused.err, hub.ErrNoWorker) {
			t.Errorf("the worker has hung up: %+v", refused)
		}
		// Its lease goes on, and nobody has its link.
		if l := a.list(a.ctx, id); !l.isOver() || !errors.Is(l.err, hub.ErrNoWorker) {
			t.Errorf("without a link: %+v", l)
		}
	})
}

// A letter gets lost, or its node does: the caller hears of it in time.
func TestRequestToANodeThatIsGone(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		b.join(answering("w1"))
		id := a.create()
		synctest.Wait()
		b.end() // as a crash: the lease of its worker goes on
		b.wg.Wait()
		l := a.list(a.ctx, id)
		<-l.over
		if !errors.Is(l.err, hub.ErrWorkerSilent) && !errors.Is(l.err, hub.ErrNoWorker) {
			t.Errorf("%v", l.err)
		}
		if most := protocol.WorkerRequestSeconds * time.Second; l.took > most {
			t.Errorf("it took %s", l.took)
		}
	})
}

func TestHelloWithBadRequestsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		h := answering("w1")
		for i := range 65 {
			h.Requests = append(h.Requests, protocol.WorkerMethod(fmt.Sprint("m", i)))
		}
		p := w.join(h)
		synctest.Wait()
		if !p.ended() {
			t.Error("a hello with 66 methods was taken")
		}
		w.stop()
	})
}
