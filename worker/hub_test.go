package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/protocol"
)

// patience is how long a test waits for something that takes milliseconds on a
// machine with nothing else to do.
const patience = 60 * time.Second

// pipeEnd is one end of an in-memory link.
type pipeEnd struct {
	in, out chan []byte
	closed  chan struct{}
	once    *sync.Once
}

func newPipe() (a, b *pipeEnd) {
	x, y, closed, once := make(chan []byte), make(chan []byte), make(chan struct{}), new(sync.Once)
	return &pipeEnd{x, y, closed, once}, &pipeEnd{y, x, closed, once}
}

func (p *pipeEnd) ReadFrame(ctx context.Context) ([]byte, error) {
	select {
	case frame := <-p.in:
		return frame, nil
	case <-p.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeEnd) WriteFrame(ctx context.Context, frame []byte) error {
	select {
	case p.out <- bytes.Clone(frame):
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipeEnd) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// hubEnd plays the hub: it takes every frame, checks that events come without a
// hole, stores each once, and acknowledges.
type hubEnd struct {
	t      *testing.T
	worker *Worker
	wg     sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{}
	conn     *pipeEnd
	seq      uint64
	next     uint64 // the next assignment
	hellos   []protocol.Hello
	events   map[uint64][]protocol.WorkerEvent // by assignment
	repeats  int
	dones    []protocol.Done
	releases []protocol.Release
	pongs    int
	offers   []protocol.ProvidersUpdate
	silent   bool // acknowledges nothing
	refusing error
	beat     int
	cutAfter int  // cut the link after so many events; 0: never
	early    bool // it is of a version before Welcome.Events
}

func (h *hubEnd) welcomeLocked() protocol.Welcome {
	w := protocol.Welcome{Node: "n1", HeartbeatSeconds: h.beat}
	if !h.early {
		w.Events, w.Providers = protocol.WorkerEvents(), true
	}
	return w
}

func (h *hubEnd) dial(ctx context.Context) (Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusing != nil {
		return nil, h.refusing
	}
	mine, theirs := newPipe()
	h.conn = mine
	h.wg.Go(func() { h.serve(mine) })
	return theirs, nil
}

func (h *hubEnd) serve(conn *pipeEnd) {
	defer conn.Close()
	for {
		raw, err := conn.ReadFrame(context.Background())
		if err != nil {
			return
		}
		var frame protocol.Frame
		if err := protocol.Decode(raw, &frame); err != nil {
			h.t.Errorf("worker sent %.200q: %v", raw, err)
			return
		}
		if !h.frame(conn, frame) {
			return
		}
	}
}

func (h *hubEnd) frame(conn *pipeEnd, frame protocol.Frame) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { close(h.changed); h.changed = make(chan struct{}) }()
	var answer []byte
	switch frame.Type {
	case protocol.FrameHello:
		// The welcome goes first: who waits for the hello sends at once.
		h.sendLocked(conn, protocol.NewFrame(protocol.FrameWelcome, h.welcomeLocked()))
		h.hellos = append(h.hellos, decodeTo[protocol.Hello](h.t, frame.Data))
	case protocol.FrameEvent:
		e := decodeTo[protocol.WorkerEvent](h.t, frame.Data)
		if len(e.Data) > DefaultMaxEventBytes {
			h.t.Errorf("event %d of %d bytes", e.N, len(e.Data))
		}
		have := h.events[e.Assignment]
		switch {
		case e.N <= uint64(len(have)):
			h.repeats++
			if !bytes.Equal(have[e.N-1].Data, e.Data) && !h.early {
				h.t.Errorf("event %d came again with other data", e.N)
			}
		case e.N == uint64(len(have))+1:
			h.events[e.Assignment] = append(have, e)
		default:
			h.t.Errorf("hole: event %d after %d", e.N, len(have))
		}
		if h.cutAfter > 0 {
			if h.cutAfter--; h.cutAfter == 0 {
				return false
			}
		}
		if !h.silent {
			answer = protocol.NewFrame(protocol.FrameAck, protocol.EventAck{SessionID: e.SessionID, Assignment: e.Assignment, N: e.N})
		}
	case protocol.FrameDone:
		h.dones = append(h.dones, decodeTo[protocol.Done](h.t, frame.Data))
	case protocol.FrameRelease:
		h.releases = append(h.releases, decodeTo[protocol.Release](h.t, frame.Data))
	case protocol.FramePong:
		h.pongs++
	case protocol.FrameProviders:
		if h.early {
			h.t.Error("an earlier hub does not take the frame providers")
		}
		h.offers = append(h.offers, decodeTo[protocol.ProvidersUpdate](h.t, frame.Data))
	default:
		h.t.Errorf("worker sent a frame of type %q", frame.Type)
	}
	if answer != nil {
		h.sendLocked(conn, answer)
	}
	return true
}

// sendLocked gives up the lock while it waits for the worker to read.
func (h *hubEnd) sendLocked(conn *pipeEnd, frame []byte) {
	h.mu.Unlock()
	defer h.mu.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.WriteFrame(ctx, frame); errors.Is(err, context.DeadlineExceeded) {
		h.t.Error("the worker does not read its link")
	}
}

func (h *hubEnd) send(t protocol.FrameType, data any) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		h.t.Fatal("no link")
	}
	h.sendLocked(h.conn, protocol.NewFrame(t, data))
}

func decodeTo[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := protocol.Decode(raw, &v); err != nil {
		t.Errorf("decode %.300q: %v", raw, err)
	}
	return v
}

// wait waits until ok, which is called with the lock held.
func (h *hubEnd) wait(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(patience)
	for {
		h.mu.Lock()
		done, changed := ok(), h.changed
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			h.mu.Lock()
			defer h.mu.Unlock()
			h.t.Fatalf("waited in vain: %s\nevents: %s\nreleases: %+v", what, h.summary(), h.releases)
		}
	}
}

func (h *hubEnd) summary() string {
	var b strings.Builder
	for a, events := range h.events {
		for _, e := range events[max(0, len(events)-10):] {
			b.WriteString("\n  ")
			json.NewEncoder(&b).Encode([]any{a, e.N, e.Type, clip(string(e.Data), 300)})
		}
	}
	return b.String()
}

// scene is a session in a test.
type scene struct {
	h          *hubEnd
	id         string
	assignment uint64
}

func (h *hubEnd) assign(provider string, change ...func(*protocol.Assign)) *scene {
	h.t.Helper()
	h.wait("a link", func() bool { return len(h.hellos) > 0 })
	h.mu.Lock()
	h.next++
	a := protocol.Assign{SessionID: "s1", Assignment: h.next, Provider: provider, UserID: "u"}
	h.mu.Unlock()
	for _, f := range change {
		f(&a)
	}
	h.send(protocol.FrameAssign, a)
	return &scene{h: h, id: a.SessionID, assignment: a.Assignment}
}

func (s *scene) command(t protocol.WorkerCommandType, data any) uint64 {
	s.h.t.Helper()
	s.h.mu.Lock()
	s.h.seq++
	seq := s.h.seq
	s.h.mu.Unlock()
	s.repeat(seq, t, data)
	return seq
}

func (s *scene) repeat(seq uint64, t protocol.WorkerCommandType, data any) {
	s.h.t.Helper()
	s.h.send(protocol.FrameCommand, protocol.WorkerCommand{
		SessionID: s.id, Assignment: s.assignment, Seq: seq, Type: t, Data: protocol.Marshal(data),
	})
}

func messageOf(id, text string) protocol.MessageData {
	return protocol.MessageData{MessageID: id, Content: protocol.Marshal(text), UserID: "u"}
}

func (s *scene) message(id, text string) uint64 {
	s.h.t.Helper()
	return s.command(protocol.WorkerMessage, messageOf(id, text))
}

func (s *scene) cancel(id string) {
	s.h.t.Helper()
	s.command(protocol.WorkerCancel, protocol.CancelCommand{MessageID: id})
}

func (s *scene) close() {
	s.h.t.Helper()
	s.command(protocol.WorkerClose, protocol.ClosedData{Reason: protocol.ClosedDeleted})
}

// until waits for an event and returns the data of the first that fits.
func until[T any](s *scene, t protocol.EventType, what string, fits func(T) bool) T {
	s.h.t.Helper()
	var found T
	seen := 0
	s.h.wait(what, func() bool {
		for events := s.h.events[s.assignment]; seen < len(events); seen++ {
			if events[seen].Type == t {
				if v := decodeTo[T](s.h.t, events[seen].Data); fits(v) {
					found = v
					return true
				}
			}
		}
		return false
	})
	return found
}

func (s *scene) complete(id string) protocol.CompleteData {
	s.h.t.Helper()
	return until(s, protocol.EventComplete, "complete of "+id, func(c protocol.CompleteData) bool { return c.MessageID == id })
}

func (s *scene) output(text string) {
	s.h.t.Helper()
	until(s, protocol.EventOutput, "output "+text, func(o protocol.OutputData) bool { return strings.Contains(o.Text, text) })
}

// approval waits for a question that is not one of those already seen.
func (s *scene) approval(seen ...string) protocol.ToolApprovalData {
	s.h.t.Helper()
	return until(s, protocol.EventToolApproval, "an approval", func(a protocol.ToolApprovalData) bool {
		for _, id := range seen {
			if a.InteractionID == id {
				return false
			}
		}
		return true
	})
}

func (s *scene) released() protocol.Release {
	s.h.t.Helper()
	var r protocol.Release
	s.h.wait("a release", func() bool {
		for _, r = range s.h.releases {
			if r.SessionID == s.id && r.Assignment == s.assignment {
				return true
			}
		}
		return false
	})
	return r
}

func (s *scene) events() []protocol.WorkerEvent {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return append([]protocol.WorkerEvent(nil), s.h.events[s.assignment]...)
}

// sinceReady is what came after the news that the agent is ready.
func (s *scene) sinceReady() []protocol.WorkerEvent {
	s.h.t.Helper()
	events := s.events()
	i := slices.IndexFunc(events, func(e protocol.WorkerEvent) bool { return e.Type == protocol.EventAgentStarted })
	if i < 0 {
		s.h.t.Fatal("the agent was never ready")
	}
	return events[i+1:]
}

// text is all the text of a message.
func (s *scene) text(id string) string {
	var b strings.Builder
	for _, e := range s.events() {
		if e.Type == protocol.EventOutput {
			if o := decodeTo[protocol.OutputData](s.h.t, e.Data); o.MessageID == id && o.Kind == protocol.OutputText {
				b.WriteString(o.Text)
			}
		}
	}
	return b.String()
}

// noRaceSleep keeps processes under the race detector from sleeping a second
// before they end.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// start runs a worker against a hub. Each provider is the scripted agent with the
// traits in its name: "banner+ignore-term".
func start(t *testing.T, change func(*Config), traits ...string) *hubEnd {
	t.Helper()
	h := prepare(t, change, traits...)
	h.run()
	return h
}

// prepare makes what start starts.
func prepare(t *testing.T, change func(*Config), traits ...string) *hubEnd {
	t.Helper()
	if testing.Short() { // skip: it runs agents
		t.Skip("skip: -short, and it runs agents")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Root: t.TempDir(), Name: "w1", Version: "test", Capacity: 4,
		Supervisor: []string{"/usr/bin/env", noRaceSleep, exe, "supervise"},
		Providers:  make(map[string]Provider), StopGrace: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, name := range append(traits, "plain") {
		key := strings.ReplaceAll(name, "+", "_")
		cfg.Providers[key] = Provider{
			Command: exe, Args: append([]string{"scripted-agent"}, strings.Split(name, "+")...),
			Env:         map[string]string{"GORACE": strings.TrimPrefix(noRaceSleep, "GORACE=")},
			AskingModes: []string{"auto", "ask"},
		}
	}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &hubEnd{t: t, worker: w, changed: make(chan struct{}), events: make(map[uint64][]protocol.WorkerEvent)}
}

// run has the worker connect, until the test ends.
func (h *hubEnd) run() {
	t, w := h.t, h.worker
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx, h.dial) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("run: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		h.wg.Wait()
		assertNoProcess(t, w.cfg.Root)
	})
}

// testWriter sends logs to the test, which shows them when it fails.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
