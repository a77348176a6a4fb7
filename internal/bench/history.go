package bench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"sessionhub/protocol"
)

// ErrText says that readers of a log do not all have what its agent said: see the
// report's forms.
var ErrText = errors.New("a reader's text is not what the agent said")

// callsInTurn is how many tool calls a turn of ModeHistory has.
const callsInTurn = 250

// history is a run of ModeHistory: one long session, and readers who join late.
type history struct {
	*run
	place  *place
	script script
	said   *reading          // what the log must say
	buffer []byte            // of the joiners, one after the other
	known  map[string]string // what the bytes of a whole log say, by their hash
	report HistoryReport
}

// RunHistory has one session told a long story, and measures what a late joiner waits for
// before the log is compacted and afterwards. With ErrText and ErrLoss the report is whole.
func RunHistory(ctx context.Context, o Options, start Starter, progress func(string)) (_ HistoryReport, err error) {
	if err := o.Check(); err != nil {
		return HistoryReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	progress("starting")
	where, err := newPlace(ctx, o)
	if err != nil {
		return HistoryReport{}, err
	}
	defer func() { err = errors.Join(err, where.close()) }()
	o.APIKey = rand.Text()
	t := newTarget(o)
	defer func() { err = errors.Join(err, t.close()) }()
	settings := append(defaults(o.APIKey), "SESSIONHUB_COMPACT_AFTER="+o.CompactAfter.String())
	if err := t.start(ctx, start, append(settings, where.settings()...)); err != nil {
		return HistoryReport{}, fmt.Errorf("start a hub: %w", err)
	}
	h := &history{run: newRun(o, t, progress), place: where, script: o.script(), said: newReading(), known: make(map[string]string)}
	h.report = HistoryReport{Options: o, Host: h.run.report.Host, Store: where.name()}
	err = h.measure(ctx)
	if h.swarm != nil {
		h.swarm.close()
	}
	return h.report, err
}

func (o Options) script() script {
	return script{pieces: o.Pieces, tools: o.Tools, bytes: o.Bytes, toolBytes: o.ToolBytes}
}

func (h *history) measure(ctx context.Context) error {
	start, err := h.usage(ctx, true)
	if err != nil {
		return err
	}
	h.report.RSSStart = start.rss
	if err := h.createSessions(ctx); err != nil {
		return err
	}
	if err := h.connect(ctx, start); err != nil { // one who is there from the beginning
		return err
	}
	if err := h.tell(ctx); err != nil {
		return err
	}
	if err := h.look(ctx, &h.report.Before); err != nil {
		return err
	}
	if err := h.awaitCompaction(ctx); err != nil {
		return err
	}
	if err := h.look(ctx, &h.report.After); err != nil {
		return err
	}
	err = h.account(ctx)
	h.report.Loss.add(h.run.report.Loss)
	h.report.Said = h.said.sum()
	for _, f := range []Form{h.report.Before, h.report.After} {
		for _, reader := range f.Readers {
			if reader.Hash != h.report.Said {
				err = errors.Join(err, ErrText)
			}
		}
	}
	if err == nil && h.report.Loss.any() {
		err = ErrLoss
	}
	return err
}

// tell has the session told its story.
func (h *history) tell(ctx context.Context) error {
	s := h.sessions[0]
	turns := (h.script.tools + callsInTurn - 1) / callsInTurn
	s.turns = make([]atomic.Int64, turns)
	before, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	began := time.Now()
	stop := h.watch()
	defer stop()
	for turn := range turns {
		from, to := turn*callsInTurn, min((turn+1)*callsInTurn, h.script.tools)
		id := fmt.Sprintf("turn-%d", turn) // so the hash is that of every run
		err := h.script.say(id, from, to, func(t protocol.EventType, data any) error {
			return h.said.event(t, protocol.Marshal(data))
		})
		if err != nil {
			return err
		}
		err = h.patience.ask(ctx, func() error {
			_, err := h.target.client.Session(s.id, s.token).Message(ctx, h.script.message(from, to), id)
			return err
		})
		if err != nil {
			return err
		}
		if err := s.await(ctx, turn); err != nil {
			return err
		}
		if h.swarm.dropped.Load() > 0 {
			return ErrLoss
		}
	}
	h.report.Seconds = time.Since(began).Seconds()
	after, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	h.report.CPUMicros = micros(after.cpu()-before.cpu(), s.subs[0].events.Load())
	return nil
}

// look measures the log in its present form, by readers who join late.
func (h *history) look(ctx context.Context, f *Form) error {
	now, err := h.usage(ctx, true)
	if err != nil {
		return err
	}
	f.RSS, f.Heap, f.Compacted = now.rss, int64(now.metrics[gaugeHeap]), uint64(now.metrics[counterCompacted])
	if f.Stored, err = h.place.stored(ctx); err != nil {
		return err
	}
	readers := []Reader{{Transport: TransportWebSocket}, {Transport: TransportSSE}}
	for round := range h.o.Rounds {
		for i := range readers {
			h.progress(fmt.Sprintf("join %d of %d over %s", round+1, h.o.Rounds, readers[i].Transport))
			if err := h.join(ctx, &readers[i], f); err != nil {
				return err
			}
		}
	}
	pages, err := h.pages(ctx)
	if err != nil {
		return err
	}
	f.Readers = append(readers, pages)
	for i := range f.Readers {
		f.Readers[i].summarize()
	}
	return h.profile(ctx, f)
}

// profile keeps a CPU profile of the hub while somebody joins again and again.
func (h *history) profile(ctx context.Context, f *Form) error {
	if h.o.Profile == "" {
		return nil
	}
	name := "before"
	if f == &h.report.After {
		name = "after"
	}
	saved := make(chan error, 1)
	go func() {
		saved <- h.target.admin.save(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(profileSeconds),
			filepath.Join(h.o.Profile, "history-"+name+"-cpu.pprof"))
	}()
	for {
		select {
		case err := <-saved:
			return err
		default:
		}
		var unused Form
		if err := h.join(ctx, &Reader{Transport: TransportWebSocket}, &unused); err != nil {
			return err
		}
	}
}

// join measures one joiner, and then reads what it has got.
func (h *history) join(ctx context.Context, r *Reader, f *Form) error {
	before, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	s := h.sessions[0]
	j := &joiner{ws: r.Transport == TransportWebSocket, data: h.buffer[:0]}
	if err := j.join(ctx, h.target.host(), s.id, s.token); err != nil {
		return err
	}
	h.buffer = j.data
	after, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	r.Millis = append(r.Millis, ms(j.caughtUp.Sub(j.connected)))
	r.cpu = append(r.cpu, ms(after.cpu()-before.cpu()))
	h.report.Loss.add(j.loss())
	var raw [][]byte
	bytes, hash := int64(0), sha256.New()
	err = j.events(func(event []byte) error {
		raw, bytes = append(raw, event), bytes+int64(len(event))
		hash.Write(event)
		return nil
	})
	if err != nil {
		return err
	}
	f.Events, f.LogBytes = uint64(len(raw)), bytes
	// Most joiners get the same bytes: what these say is read once.
	key := string(hash.Sum(nil))
	if h.known[key] == "" {
		if h.known[key], err = readAll(raw); err != nil {
			return err
		}
	}
	r.take(h.known[key])
	return nil
}

// pages reads the log by pages of history.
func (h *history) pages(ctx context.Context) (Reader, error) {
	r := Reader{Transport: "history"}
	s := h.sessions[0]
	var raw [][]byte
	began := time.Now()
	for after := ""; ; {
		page, err := h.target.client.Session(s.id, s.token).History(ctx, after, 0)
		if err != nil {
			return r, err
		}
		for _, event := range page.Events {
			raw = append(raw, event)
		}
		if after = page.NextAfter; after == "" {
			break
		}
	}
	r.Millis = []float64{ms(time.Since(began))}
	hash, err := readAll(raw)
	r.take(hash)
	return r, err
}

// compactPoll is how often the hub is asked how far it has come.
const compactPoll = 200 * time.Millisecond

// lookedAt is how long it may take until a hub looks at a session that is at rest.
const lookedAt = 30 * time.Second

// counterCompacted is the hub's count of events that went into others.
const counterCompacted = "sessionhub_events_compacted_total"

// awaitCompaction waits until the log has its last form: nothing has changed for so long
// that the hub has looked at it again.
func (h *history) awaitCompaction(ctx context.Context) error {
	h.progress("waiting for the compaction of the log")
	before, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	began, c := time.Now(), &h.report.Compaction
	var first, last time.Time
	want := uint64(h.script.pieces) // a run of pieces becomes one event, and so does a tool call
	for n := h.report.Before.Compacted; ; {
		series, err := h.target.admin.metrics(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if got := uint64(series[counterCompacted]); got != n {
			n, last = got, now
			if first.IsZero() {
				first = now
			}
		}
		quiet := now.Sub(began)
		if !last.IsZero() {
			quiet = now.Sub(last)
		}
		if n >= want || quiet > 2*h.o.CompactAfter+lookedAt {
			c.Events = n - h.report.Before.Compacted
			break
		}
		if err := pause(ctx, compactPoll); err != nil {
			return err
		}
	}
	after, err := h.usage(ctx, false)
	if err != nil {
		return err
	}
	if !last.IsZero() {
		c.Seconds, c.AfterSeconds = last.Sub(first).Seconds(), last.Sub(began).Seconds()
	}
	c.CPUSeconds = (after.cpu() - before.cpu()).Seconds()
	return nil
}

// median is of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
