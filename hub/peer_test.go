package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"sessionhub/hub/fleet"
	"sessionhub/protocol"
)

// pipe is a worker link in memory. It holds no frame: a writer waits until the
// other end has read.
type pipe struct {
	in     <-chan []byte
	out    chan<- []byte
	closed chan struct{}
	close  func()
	slow   atomic.Int64 // how long a read waits first, in nanoseconds
	fault  chan error   // what a read finds wrong with the other end; nil: nothing, ever
}

func newPipe() (a, b *pipe) {
	to, from, closed := make(chan []byte), make(chan []byte), make(chan struct{})
	end := sync.OnceFunc(func() { close(closed) })
	return &pipe{in: to, out: from, closed: closed, close: end}, &pipe{in: from, out: to, closed: closed, close: end}
}

func (p *pipe) ReadFrame(ctx context.Context) ([]byte, error) {
	if d := time.Duration(p.slow.Load()); d > 0 {
		time.Sleep(d)
	}
	select {
	case f := <-p.in:
		return f, nil
	case err := <-p.fault:
		return nil, err
	case <-p.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) WriteFrame(ctx context.Context, f []byte) error {
	select {
	case p.out <- f:
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) Close() error { p.close(); return nil }

// peer is a worker at the other end of a link. It answers pings, keeps what it
// is told, and otherwise does what the test says.
type peer struct {
	w    *world
	conn *pipe
	done chan error // what ServeWorker returned
	fail chan error // has the hub's next read find this

	mu     sync.Mutex
	frames []protocol.Frame // pings left out
	heard  time.Time        // when the hub last sent something
	frozen bool             // it reads nothing and answers nothing
	thaw   chan struct{}
}

func hello(worker string, sessions ...protocol.HelloSession) protocol.Hello {
	return protocol.Hello{Worker: worker, Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"}, Sessions: sessions, Commands: []protocol.WorkerCommandType{protocol.WorkerSetOption}}
}

// join connects a worker.
func (w *world) join(h protocol.Hello) *peer {
	w.t.Helper()
	return w.joinWith(fleet.WorkerKey{}, h)
}

// joinWith is join with a key.
func (w *world) joinWith(key fleet.WorkerKey, h protocol.Hello) *peer {
	w.t.Helper()
	mine, theirs := newPipe()
	theirs.fault = make(chan error)
	p := &peer{heard: time.Now(), w: w, conn: mine, done: make(chan error, 1), fail: theirs.fault, thaw: make(chan struct{})}
	w.wg.Go(func() { p.done <- w.hub.ServeWorker(w.ctx, theirs, key) })
	w.wg.Go(p.read)
	p.send(protocol.FrameHello, h)
	return p
}

func (p *peer) read() {
	for {
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen {
			select {
			case <-p.thaw:
			case <-p.w.ctx.Done():
			}
			return
		}
		raw, err := p.conn.ReadFrame(p.w.ctx)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.heard = time.Now()
		p.mu.Unlock()
		var f protocol.Frame
		if err := protocol.Decode(raw, &f); err != nil {
			panic(err)
		}
		if f.Type == protocol.FramePing {
			p.mu.Lock()
			silent := p.frozen
			p.mu.Unlock()
			if !silent { // not here: a worker goes on reading while the hub does not read it
				p.w.wg.Go(func() { p.send(protocol.FramePong, protocol.Empty{}) })
			}
			continue
		}
		p.mu.Lock()
		p.frames = append(p.frames, f)
		p.mu.Unlock()
	}
}

// freeze makes the worker's process stand still, with its link open.
func (p *peer) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

func (p *peer) send(t protocol.FrameType, data any) { p.raw(protocol.NewFrame(t, data)) }

// raw writes a frame; that the hub has ended the link is seen elsewhere.
func (p *peer) raw(f []byte) { _ = p.conn.WriteFrame(p.w.ctx, f) }

func (p *peer) event(id string, assignment, n uint64, t protocol.EventType, data any) {
	p.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: id, Assignment: assignment, N: n, Type: t, Data: protocol.Marshal(data)})
}

func (p *peer) output(id string, assignment, n uint64) {
	p.event(id, assignment, n, protocol.EventOutput, protocol.OutputData{MessageID: "m", Text: fmt.Sprintf("%d/%d", assignment, n), Kind: "text"})
}

func (p *peer) complete(id string, assignment, n uint64, messageID string) {
	p.event(id, assignment, n, protocol.EventComplete, protocol.CompleteData{MessageID: messageID, StopReason: protocol.StopEndTurn})
}

func (p *peer) finish(id string, assignment, seq uint64) {
	p.send(protocol.FrameDone, protocol.Done{SessionID: id, Assignment: assignment, Message: seq})
}

func (p *peer) ask(id string, assignment, n uint64, interaction string) {
	p.event(id, assignment, n, protocol.EventToolApproval, protocol.ToolApprovalData{
		InteractionID: interaction, Kind: "execute", Input: json.RawMessage("{}"),
		Options: []protocol.ApprovalOption{{OptionID: "y", Kind: protocol.AllowOnce}, {OptionID: "n", Kind: protocol.RejectOnce}},
	})
}

// script writes what the worker was told in short, and forgets it. Of several
// acknowledgements the last one counts, at the end.
func (p *peer) script() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	ack := ""
	for _, f := range p.frames {
		var d struct {
			Assignment, Seq, N, Message uint64
			Type, Code                  string
			Resume                      bool
			AgentSession                string
			Data                        struct{ MessageID, InteractionID, Outcome, OptionID, Reason string }
		}
		s := string(f.Type)
		if f.Type == protocol.FrameAttachment { // its data are bytes
			out = append(out, s)
			continue
		}
		if err := json.Unmarshal(f.Data, &d); err != nil {
			panic(err)
		}
		switch f.Type {
		case protocol.FrameAssign:
			s += fmt.Sprintf("(%d after %d resume=%v)", d.Assignment, d.Message, d.Resume)
			if d.AgentSession != "" {
				s += " of " + d.AgentSession
			}
		case protocol.FrameCommand:
			s = fmt.Sprintf("%s(%d %s)", d.Type, d.Seq, strings.Join(strings.Fields(strings.Join([]string{d.Data.MessageID, d.Data.InteractionID, d.Data.Outcome, d.Data.OptionID, d.Data.Reason}, " ")), " "))
		case protocol.FrameAck:
			ack = fmt.Sprintf("ack(%d)", d.N)
			continue
		case protocol.FrameRevoke:
			s += fmt.Sprintf("(%d)", d.Assignment)
		case protocol.FrameError:
			s += "(" + d.Code + ")"
		}
		out = append(out, s)
	}
	p.frames = nil
	if ack != "" {
		out = append(out, ack)
	}
	return strings.Join(out, " ")
}

func (p *peer) want(script string) {
	p.w.t.Helper()
	if got := p.script(); got != script {
		p.w.t.Errorf("the worker was told %q\nwant %q", got, script)
	}
}

// silence is for how long the hub has sent nothing.
func (p *peer) silence() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.heard)
}

// ended reports whether the hub has ended the link.
func (p *peer) ended() bool {
	synctest.Wait()
	select {
	case <-p.conn.closed:
		return true
	default:
		return false
	}
}
