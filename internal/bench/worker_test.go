package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sessionhub/protocol"
)

// wire is the hub's end of a worker link, in the test's hand.
type wire struct {
	toWorker, fromWorker chan []byte
	done                 chan struct{}
	once                 sync.Once
}

func (w *wire) ReadFrame(ctx context.Context) ([]byte, error) {
	select {
	case f := <-w.toWorker:
		return f, nil
	case <-w.done:
		return nil, errors.New("closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) WriteFrame(ctx context.Context, f []byte) error {
	select {
	case w.fromWorker <- f:
		return nil
	case <-w.done:
		return errors.New("closed")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *wire) Close() error { w.once.Do(func() { close(w.done) }); return nil }

// next gives what the worker sent, as "type n type".
func (w *wire) next(t *testing.T) string {
	t.Helper()
	var f protocol.Frame
	if err := json.Unmarshal(<-w.fromWorker, &f); err != nil {
		t.Fatal(err)
	}
	switch f.Type {
	case protocol.FrameEvent:
		var e protocol.WorkerEvent
		if err := json.Unmarshal(f.Data, &e); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d:%s", e.N, e.Type)
	case protocol.FrameDone:
		var d protocol.Done
		if err := json.Unmarshal(f.Data, &d); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("done %d", d.Message)
	}
	return string(f.Type)
}

func TestWorkerPlaysTheAgents(t *testing.T) {
	w := &wire{toWorker: make(chan []byte), fromWorker: make(chan []byte), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- NewWorker(w, "bench").Run(ctx) }()

	send := func(ft protocol.FrameType, data any) { w.toWorker <- protocol.NewFrame(ft, data) }
	message := func(seq uint64, text string) {
		send(protocol.FrameCommand, protocol.WorkerCommand{
			SessionID: "s1", Assignment: 2, Seq: seq, Type: protocol.WorkerMessage,
			Data: protocol.Marshal(protocol.MessageData{MessageID: "m", Content: protocol.Marshal(text)}),
		})
	}
	want := func(all string) {
		t.Helper()
		var got []string
		for range strings.Split(all, ", ") {
			got = append(got, w.next(t))
		}
		if g := strings.Join(got, ", "); g != all {
			t.Errorf("got %s, want %s", g, all)
		}
	}
	want("hello")
	send(protocol.FrameWelcome, protocol.Welcome{})
	send(protocol.FramePing, protocol.Empty{})
	want("pong")
	message(1, "/stream 1 1 0") // it does not have that session yet
	send(protocol.FrameAssign, protocol.Assign{SessionID: "s1", Assignment: 2})
	message(4, "/stream 2 10 0")
	want("1:output, 2:output, 3:complete, done 4")
	message(5, "hello") // the numbers go on within the assignment
	want("4:complete, done 5")
	send(protocol.FrameCommand, protocol.WorkerCommand{SessionID: "s1", Assignment: 2, Seq: 6, Type: protocol.WorkerClose})
	want("release")
	message(7, "/stream 1 1 0") // given back
	send(protocol.FramePing, protocol.Empty{})
	want("pong")

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestWorkerEndsWithItsLink(t *testing.T) {
	w := &wire{toWorker: make(chan []byte), fromWorker: make(chan []byte, 1), done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- NewWorker(w, "bench").Run(t.Context()) }()
	w.toWorker <- protocol.NewFrame(protocol.FrameError, protocol.LinkError{Code: protocol.LinkHole})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), protocol.LinkHole) {
		t.Errorf("got %v", err)
	}
}
