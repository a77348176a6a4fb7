package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

func TestHello(t *testing.T) {
	h := start(t, nil, "banner")
	h.wait("hello", func() bool { return len(h.hellos) == 1 })
	hello := h.hellos[0]
	if hello.Worker != "w1" || hello.Version != "test" || hello.Capacity != 4 || len(hello.Workspace) != 16 ||
		strings.Join(hello.Providers, " ") != "banner plain" || len(hello.Sessions) != 0 {
		t.Errorf("hello %+v", hello)
	}
	h.send(protocol.FramePing, struct{}{})
	h.wait("pong", func() bool { return h.pongs == 1 })
}

func TestOverCapacityIsGivenBack(t *testing.T) {
	h := start(t, func(c *Config) { c.Capacity = 1 })
	h.assign("plain")
	s := h.assign("plain", func(a *protocol.Assign) { a.SessionID = "s2" })
	if r := s.released(); !r.Retry {
		t.Errorf("release %+v", r)
	}
	s = h.assign("unheard-of", func(a *protocol.Assign) { a.SessionID = "s3" })
	if r := s.released(); r.Retry || !strings.HasPrefix(r.Reason, protocol.ReleaseUnknownProvider) {
		t.Errorf("release %+v", r)
	}
}

func TestCommandForASessionThatIsNotRunIsReleased(t *testing.T) {
	h := start(t, nil)
	h.wait("hello", func() bool { return len(h.hellos) == 1 })
	s := &scene{h: h, id: "s9", assignment: 3}
	s.message("m1", "hi")
	if r := s.released(); !r.Retry {
		t.Errorf("release %+v", r)
	}
}

// A hub whose store has lost its end gives the number of a message that the worker
// knows to another one. It was taken for a repeat, and never run.
func TestMessageUnderANumberThatWasGivenIsNotRun(t *testing.T) {
	for name, busy := range map[string]bool{"behind a turn": false, "in a turn": true} {
		t.Run(name, func(t *testing.T) {
			h := start(t, nil)
			s := h.assign("plain")
			text := "hi"
			if busy {
				text = "hang"
			}
			seq := s.message("m1", text)
			if busy {
				until(s, protocol.EventStatus, "start", func(d protocol.StatusData) bool { return d.Status == protocol.StatusStarting })
			} else {
				until(s, protocol.EventComplete, "complete", func(d protocol.CompleteData) bool { return d.MessageID == "m1" })
			}
			s.repeat(seq, protocol.WorkerMessage, messageOf("m1", text)) // which is one
			s.repeat(seq, protocol.WorkerMessage, messageOf("m2", "hi"))
			if r := s.released(); !r.Retry || r.Reason != protocol.ReleaseNotRun {
				t.Errorf("release %+v", r)
			}
		})
	}
}

// The link is cut in mid-stream, over and over; the hub checks every frame for
// holes, and that a repeat is the same.
func TestReconnectsLoseNothing(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	h.mu.Lock()
	h.cutAfter = 50
	h.mu.Unlock()
	seq := s.message("m1", "stream 5000 20")
	for range 4 {
		h.mu.Lock()
		links := len(h.hellos)
		h.mu.Unlock()
		h.wait("a new link", func() bool { return len(h.hellos) > links })
		// The hub says everything again that is not finished.
		s.repeat(seq, protocol.WorkerMessage, messageOf("m1", "stream 5000 20"))
		h.mu.Lock()
		h.cutAfter = 300
		h.mu.Unlock()
	}
	h.mu.Lock()
	h.cutAfter = 0
	h.mu.Unlock()
	s.complete("m1")
	next := 0
	for _, e := range s.events() {
		if e.Type == protocol.EventOutput {
			if o := decodeTo[protocol.OutputData](t, e.Data); !strings.HasPrefix(o.Text, fmt.Sprintf("%d x", next)) {
				t.Fatalf("piece %d is %q", next, o.Text)
			}
			next++
		}
	}
	if next != 5000 {
		t.Errorf("%d pieces", next)
	}
	h.wait("done", func() bool { return len(h.dones) > 0 })
	if h.repeats == 0 {
		t.Error("nothing was sent again: the test cut the link at the wrong moments")
	}
	hello := h.hellos[len(h.hellos)-1]
	if len(hello.Sessions) != 1 || hello.Sessions[0].SessionID != "s1" || hello.Sessions[0].Event == 0 || hello.Sessions[0].Message != 0 {
		t.Errorf("hello %+v", hello)
	}
}

// A message that ended while there was no link is told in hello only when the hub
// has its complete.
func TestTurnEndsWithoutALink(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	h.mu.Lock()
	h.refusing, h.cutAfter = errors.New("no hub"), 1
	h.mu.Unlock()
	seq := s.message("m1", "hi")
	w := h.worker
	judge.Within(t, patience, "the turn's end", func() bool {
		session := w.find("s1", s.assignment)
		session.out.mu.Lock()
		defer session.out.mu.Unlock()
		n := len(session.out.items)
		return n > 0 && session.out.items[n-1].done == seq
	})
	h.mu.Lock()
	h.refusing = nil
	h.mu.Unlock()
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	h.wait("done", func() bool { return len(h.dones) == 1 })
	if hello := h.hellos[len(h.hellos)-1]; hello.Sessions[0].Message != 0 {
		t.Errorf("hello %+v", hello)
	}
	// Cut again: now the hub has it.
	h.mu.Lock()
	links, conn := len(h.hellos), h.conn
	h.mu.Unlock()
	conn.Close()
	h.wait("a new link", func() bool { return len(h.hellos) > links })
	if hello := h.hellos[len(h.hellos)-1]; hello.Sessions[0].Message != seq {
		t.Errorf("hello %+v", hello)
	}
}

// A hub that acknowledges nothing holds the agent by its pipe: the outbox stays at
// its bound and nothing is lost when the hub is back.
func TestFullBufferHoldsTheAgentBack(t *testing.T) {
	h := start(t, func(c *Config) { c.BufferBytes = 100 << 10 })
	h.silent = true
	s := h.assign("plain")
	s.message("m1", "stream 6000 100")
	session := h.worker.find("s1", s.assignment)
	for session == nil {
		session = h.worker.find("s1", s.assignment)
	}
	judge.Within(t, patience, "a full buffer", session.out.full)
	// The commands are handled all the same, and the buffer does not grow.
	h.send(protocol.FramePing, struct{}{})
	h.wait("pong", func() bool { return h.pongs == 1 })
	h.wait("all that is in the buffer", func() bool {
		session.out.mu.Lock()
		defer session.out.mu.Unlock()
		if session.out.bytes > 101<<10 {
			t.Fatalf("%d bytes in the buffer", session.out.bytes)
		}
		return uint64(len(h.events[s.assignment])) == session.out.last
	})
	h.mu.Lock()
	h.silent = false
	stored := uint64(len(h.events[s.assignment]))
	h.mu.Unlock()
	if stored > 2000 {
		t.Errorf("the agent was not held back: %d events", stored)
	}
	h.send(protocol.FrameAck, protocol.EventAck{SessionID: "s1", Assignment: s.assignment, N: stored})
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	if n := strings.Count(s.text("m1"), " "); n != 6000 {
		t.Errorf("%d pieces", n)
	}
}

func TestHeldAgentCanBeRevoked(t *testing.T) {
	h := start(t, func(c *Config) { c.BufferBytes = 10 << 10 })
	h.silent = true
	s := h.assign("plain")
	s.message("m1", "stream 20000 100")
	judge.Within(t, patience, "a full buffer", func() bool {
		session := h.worker.find("s1", s.assignment)
		return session != nil && session.out.full()
	})
	h.send(protocol.FrameRevoke, protocol.Revoke{SessionID: "s1", Assignment: s.assignment})
	judge.Within(t, patience, "the session's end", func() bool { return h.worker.find("s1", s.assignment) == nil })
	assertNoProcess(t, h.worker.cfg.Root)
}

func TestHoleClosesTheLink(t *testing.T) {
	h := start(t, nil)
	h.wait("hello", func() bool { return len(h.hellos) == 1 })
	h.send(protocol.FrameError, protocol.LinkError{Code: protocol.LinkForbidden})
	h.send(protocol.FrameError, protocol.LinkError{Code: protocol.LinkHole})
	h.wait("a new link", func() bool { return len(h.hellos) == 2 })
}

// A hub that says that it has a fault is left at once, not when it closes.
func TestFaultOfTheHubEndsTheLink(t *testing.T) {
	h := start(t, nil)
	h.wait("hello", func() bool { return len(h.hellos) == 1 })
	h.send(protocol.FrameError, protocol.LinkError{Code: protocol.LinkInternal})
	h.wait("a new link", func() bool { return len(h.hellos) == 2 })
}

func TestSilentHubIsLeft(t *testing.T) {
	h := prepare(t, nil)
	h.beat = 1
	h.run()
	h.wait("two links", func() bool { return len(h.hellos) >= 2 })
}

func TestRunReturnsWhenTheHubRefuses(t *testing.T) {
	w, err := New(Config{Root: t.TempDir(), Providers: map[string]Provider{"x": {Command: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Run(t.Context(), func(context.Context) (Conn, error) { return nil, fmt.Errorf("401: %w", ErrRefused) })
	if !errors.Is(err, ErrRefused) {
		t.Errorf("run: %v", err)
	}
	w.Close()
	if err := w.Run(t.Context(), func(context.Context) (Conn, error) { return nil, errors.New("x") }); !errors.Is(err, ErrClosed) {
		t.Errorf("run after close: %v", err)
	}
}

func TestDrainLetsTurnsFinish(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "ask")
	ask := s.approval()
	idle := h.assign("plain", func(a *protocol.Assign) { a.SessionID = "s2" })
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { drained <- h.worker.Drain(ctx) }()
	if r := idle.released(); r.Reason != protocol.ReleaseDrained || !r.Retry {
		t.Errorf("release %+v", r)
	}
	late := h.assign("plain", func(a *protocol.Assign) { a.SessionID = "s3" })
	if r := late.released(); r.Reason != protocol.ReleaseDrained || !r.Retry {
		t.Errorf("release %+v", r)
	}
	s.command(protocol.WorkerApproval, protocol.ApprovalCommand{MessageID: "m1", InteractionID: ask.InteractionID, Outcome: protocol.OutcomeSelected, OptionID: "yes"})
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	s.released()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainHandsOverWhatGoesOn(t *testing.T) {
	h := start(t, nil, "ignore-term")
	s := h.assign("ignore-term")
	s.message("m1", "hang")
	s.output("hanging")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.worker.Drain(ctx); err != nil {
		t.Error(err)
	}
	if c := s.complete("m1"); c.Error == nil || c.Error.Code != protocol.TurnDraining || !c.Error.Retryable {
		t.Errorf("complete %+v", c)
	}
	if r := s.released(); r.Reason != protocol.ReleaseDrained || !r.Retry {
		t.Errorf("release %+v", r)
	}
	assertNoProcess(t, h.worker.cfg.Root)
}

func TestCloseInMidTurnLeavesNoProcess(t *testing.T) {
	h := start(t, nil, "ignore-term+ignore-eof")
	for i := range 3 {
		s := h.assign("ignore-term_ignore-eof", func(a *protocol.Assign) { a.SessionID = fmt.Sprintf("s%d", i) })
		s.message("m1", "stream 1000000 100")
		s.output("10 x")
	}
	if err := h.worker.Close(); err != nil {
		t.Error(err)
	}
	assertNoProcess(t, h.worker.cfg.Root)
}
