package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sessionhub/protocol"
)

// Conn carries the frames of a worker link, one JSON text each. ReadFrame has
// one caller at a time, and so has WriteFrame; Close ends both.
type Conn interface {
	ReadFrame(ctx context.Context) ([]byte, error)
	WriteFrame(ctx context.Context, frame []byte) error
	Close() error
}

// Worker is a worker that has no agents: it plays their part itself, so that
// thousands of sessions can be at work. A message "/stream N bytes perSecond"
// makes the events that the demo agent would make, one of script.message a part
// of the script, any other one ends its turn at once. Where it fits, a text of a
// stream begins with the time at which it was made. It cannot resume a link: when
// that breaks, it has ended.
type Worker struct {
	conn Conn
	name string

	write sync.Mutex // a frame at a time
	turns sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*published
}

// published counts what was sent in an assignment. One turn runs at a time.
type published struct {
	assignment uint64
	mu         sync.Mutex
	n          uint64
}

// NewWorker makes a worker on an open link. No two workers of a hub may have one
// name.
func NewWorker(conn Conn, name string) *Worker {
	return &Worker{conn: conn, name: name, sessions: make(map[string]*published)}
}

// Run works until ctx ends or the link breaks, and returns when its turns have
// ended.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer w.turns.Wait()
	defer cancel()
	defer w.conn.Close()
	err := w.send(ctx, protocol.FrameHello, protocol.Hello{
		Worker: w.name, Version: "1", Workspace: "bench", Capacity: 1_000_000, Providers: []string{"demo"},
	})
	for err == nil {
		var raw []byte
		if raw, err = w.conn.ReadFrame(ctx); err == nil {
			err = w.frame(ctx, raw)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("bench worker: %w", err)
}

func (w *Worker) send(ctx context.Context, t protocol.FrameType, data any) error {
	frame := protocol.NewFrame(t, data)
	w.write.Lock()
	defer w.write.Unlock()
	return w.conn.WriteFrame(ctx, frame)
}

func (w *Worker) frame(ctx context.Context, raw []byte) error {
	var f protocol.Frame
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	switch f.Type {
	case protocol.FrameAssign:
		var a protocol.Assign
		if err := json.Unmarshal(f.Data, &a); err != nil {
			return err
		}
		w.mu.Lock()
		w.sessions[a.SessionID] = &published{assignment: a.Assignment}
		w.mu.Unlock()
	case protocol.FrameCommand:
		var c protocol.WorkerCommand
		if err := json.Unmarshal(f.Data, &c); err != nil {
			return err
		}
		return w.command(ctx, c)
	case protocol.FrameRevoke:
		var r protocol.Revoke
		if err := json.Unmarshal(f.Data, &r); err != nil {
			return err
		}
		w.forget(r.SessionID)
	case protocol.FramePing:
		// Not from here: the hub's writer may wait for us to read.
		w.turns.Go(func() { _ = w.send(ctx, protocol.FramePong, protocol.Empty{}) })
	case protocol.FrameError:
		return fmt.Errorf("the hub refused a frame: %s", f.Data)
	}
	return nil // welcome and acknowledgements: nothing is kept to be sent again
}

func (w *Worker) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.sessions, id)
}

func (w *Worker) command(ctx context.Context, c protocol.WorkerCommand) error {
	w.mu.Lock()
	s := w.sessions[c.SessionID]
	w.mu.Unlock()
	if s == nil || s.assignment != c.Assignment {
		return nil
	}
	switch c.Type {
	case protocol.WorkerMessage:
		var m protocol.MessageData
		if err := json.Unmarshal(c.Data, &m); err != nil {
			return err
		}
		w.turns.Go(func() { _ = w.turn(ctx, s, c, m) }) // it fails with the link, which Run sees
	case protocol.WorkerClose:
		w.forget(c.SessionID)
		w.turns.Go(func() {
			_ = w.send(ctx, protocol.FrameRelease, protocol.Release{
				SessionID: c.SessionID, Assignment: c.Assignment, Reason: protocol.ReleaseClosed, Retry: true,
			})
		})
	}
	return nil
}

// turn runs one message.
func (w *Worker) turn(ctx context.Context, s *published, c protocol.WorkerCommand, m protocol.MessageData) error {
	n, size, perSecond := streamArgs(m.Content)
	at := rand.IntN(poolBytes) // texts that differ: a store on disk compresses them
	stamped := func(i int) string {
		text := textAt(at+i*size, size)
		if size < stampBytes {
			return text
		}
		return string(append(appendStamp(make([]byte, 0, size), time.Now()), text[stampBytes:]...))
	}
	began := time.Now()
	publish := func(t protocol.EventType, data any) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n++
		return w.send(ctx, protocol.FrameEvent, protocol.WorkerEvent{
			SessionID: c.SessionID, Assignment: c.Assignment, N: s.n, Type: t, Data: protocol.Marshal(data),
		})
	}
	if s, from, to, ok := scriptOf(m.Content); ok {
		if err := s.say(m.MessageID, from, to, publish); err != nil {
			return err
		}
	}
	for i := range n {
		if perSecond > 0 {
			due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			if err := pause(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		if err := publish(protocol.EventOutput, protocol.OutputData{MessageID: m.MessageID, Text: stamped(i), Kind: protocol.OutputText}); err != nil {
			return err
		}
	}
	if err := publish(protocol.EventComplete, protocol.CompleteData{MessageID: m.MessageID, StopReason: protocol.StopEndTurn}); err != nil {
		return err
	}
	return w.send(ctx, protocol.FrameDone, protocol.Done{SessionID: c.SessionID, Assignment: c.Assignment, Message: c.Seq})
}

// streamArgs reads "/stream N bytes perSecond"; anything else is a turn without
// output.
func streamArgs(content json.RawMessage) (n, size, perSecond int) {
	var text string
	if json.Unmarshal(content, &text) != nil {
		return 0, 0, 0
	}
	if got, err := fmt.Sscanf(text, "/stream %d %d %d", &n, &size, &perSecond); got != 3 || err != nil || n < 0 || size < 0 || size > maxText || perSecond < 0 {
		return 0, 0, 0
	}
	return n, size, perSecond
}

// scriptOf reads a message of script.message.
func scriptOf(content json.RawMessage) (s script, from, to int, ok bool) {
	var text string
	if json.Unmarshal(content, &text) != nil {
		return s, 0, 0, false
	}
	return parseScript(text)
}

// maxText bounds an event's text.
const maxText = 64 << 10

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
