package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

const (
	// stderrTail is how much of an agent's last words is kept, in bytes.
	stderrTail = 8 << 10
	// exitWait is how long a process that has closed its stdout, or its stdin to
	// what we had to say, may take to end by itself, so that its own exit is told;
	// and then, how long what it started may take to follow it.
	exitWait = 3 * time.Second
	// drainWait is how long what is left in the pipes of a dead process is read.
	drainWait = time.Second
)

// agent is one agent process and the two ends of its conversation.
//
// The session's runner makes it and owns it. run is its one goroutine to the
// outside: it owns the process and, while that lives, three more goroutines
// (writer, stderr, stopper), all of which have ended when gone is closed. The
// reader is run itself: it hands over every line in the order in which the agent
// wrote it, and waits while nobody takes it, so that an agent that writes faster
// than the hub stores is held by its own full pipe.
type agent struct {
	spec processtree.Spec // immutable
	log  *slog.Logger     // immutable

	in    chan rpcMessage // unbuffered, from the reader; never closed
	stdin *stdin          // to the writer, which closes it
	stop  chan struct{}   // closed by requestStop
	gone  chan struct{}   // closed by run when all has ended

	stderr tail
	spoke  atomic.Int64 // unix nanoseconds of its last byte that is no white space; 0: none yet

	process atomic.Pointer[processtree.Process] // set by run once it is there

	// Written by run before gone is closed.
	startErr error
	exit     string
	seen     int64 // how many bytes of what it was told it can have read

	// Owned by the runner.
	stopped   bool
	nextID    int64
	waiting   map[int64]func(result json.RawMessage, err error)
	sessionID string    // the agent's own id of the session
	ready     bool      // the handshake is over
	settled   time.Time // no prompt goes to it before: see errorSettle
	replaying bool      // updates repeat the history of a loaded session
	modeSeen  string    // from the last current_mode_update
	garbage   int       // garbage lines since the turn began
	failure   *protocol.TurnError
	started   agentStarted
	takes     promptCapabilities
	below     processtree.Below // what ran when the turn began
	heard     time.Time         // when a line of it was last dealt with; see lastSign
}

func newAgent(spec processtree.Spec, log *slog.Logger) *agent {
	return &agent{
		spec: spec, log: log,
		in: make(chan rpcMessage), stdin: newStdin(stdinBytes),
		stop: make(chan struct{}), gone: make(chan struct{}),
		stderr:  tail{limit: stderrTail},
		waiting: make(map[int64]func(json.RawMessage, error)),
	}
}

// requestStop begins the end; gone tells when it is complete. What the agent
// still says is thrown away. Owned by the runner.
func (a *agent) requestStop() {
	if !a.stopped {
		a.stopped = true
		close(a.stop)
	}
}

// call sends a request. The answer arrives in the order of everything else that
// the agent says, on the runner's goroutine.
func (a *agent) call(method string, params any, answer func(result json.RawMessage, err error)) {
	a.nextID++
	a.waiting[a.nextID] = answer
	a.stdin.push(encodeRequest(a.nextID, method, params))
}

// lastSign is when the agent last showed that it lives: by a line, or by a part
// of one, for a long line takes its time to come. White space is no sign: it
// could go on for ever and say nothing, while a line has a bound.
func (a *agent) lastSign() time.Time {
	if spoke := time.Unix(0, a.spoke.Load()); spoke.After(a.heard) {
		return spoke
	}
	return a.heard
}

// speech is an agent's stdout, which notes when something came.
type speech struct {
	from io.Reader
	at   *atomic.Int64
}

func (s speech) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if len(bytes.TrimSpace(p[:n])) > 0 {
		s.at.Store(time.Now().UnixNano())
	}
	return n, err
}

// answered runs what waits for a response.
func (a *agent) answered(m rpcMessage) {
	id, ok := requestID(m.id)
	answer := a.waiting[id]
	if !ok || answer == nil {
		a.log.Debug("agent answered a request that was not made")
		return
	}
	delete(a.waiting, id)
	if m.err != nil {
		answer(nil, m.err)
		return
	}
	answer(m.result, nil)
}

// lastWords describes the end of the process for people: its exit, and the end
// of its stderr. Only after gone.
func (a *agent) lastWords() string {
	text := a.exit
	if a.startErr != nil {
		text = a.startErr.Error()
	}
	if words := a.stderr.String(); words != "" {
		text += ": " + words
	}
	return text
}

// run takes a place among the worker's agents, starts the process and reads it
// to its end. before is closed when an earlier agent of the session is gone.
func (a *agent) run(ctx context.Context, before <-chan struct{}, places chan struct{}) {
	defer close(a.gone)
	select {
	case <-before:
	case <-a.stop:
		a.startErr = errors.New("stopped before it started")
		return
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-a.stop:
		a.startErr = errors.New("stopped before it started")
		return
	}
	process, err := processtree.Start(ctx, a.spec)
	if err != nil {
		a.startErr = err
		return
	}
	a.process.Store(process)
	a.log.Debug("agent process started", "pid", process.PID())

	var (
		wg      sync.WaitGroup
		written int64  // of what the agent was told
		unread  int64  // of what was written, when nothing was left that could read it
		early   string // why the process was ended although it lived
	)
	ended := make(chan struct{}) // stdout is at its end
	deaf := make(chan struct{})  // stdin is closed at the other end
	wg.Go(func() {
		var reads bool
		if written, reads = a.write(process.Stdin, ended); !reads {
			close(deaf)
		}
	})
	wg.Go(func() { _, _ = io.Copy(&a.stderr, process.Stderr) })
	wg.Go(func() {
		lost := ""
		select {
		case <-a.stop:
		case <-ended:
			lost = "stdout"
		case <-deaf:
			// Without this a prompt that nobody will ever read would wait for
			// the turn's timeout.
			lost = "stdin"
		}
		if lost != "" {
			select {
			case <-process.Exited():
				unread = a.lastRead(process, ended)
			case <-a.stop:
			case <-time.After(exitWait):
				early = "the agent closed its " + lost
			}
		}
		a.kill(process)
		// Nothing that could write is left, unless it escaped the tree: then
		// the reads are ended here.
		_ = process.Stdout.SetReadDeadline(time.Now().Add(drainWait))
		_ = process.Stderr.SetReadDeadline(time.Now().Add(drainWait))
	})
	a.read(process.Stdout)
	close(ended)
	wg.Wait()
	_ = process.Close()
	select {
	case <-process.Done():
		a.exit = process.Wait().String()
	default: // it could not be ended, and that is in the log
		a.exit = "it did not end"
	}
	if early != "" {
		a.exit = early + "; " + a.exit
	}
	a.seen = written - unread
	a.log.Debug("agent process ended", "exit", a.exit)
}

// lastRead waits until all that an agent which has ended by itself has started is
// gone, too, and what it has said is read, as fast as the hub takes it. It returns
// how many bytes nobody has read of what the agent was told.
func (a *agent) lastRead(process *processtree.Process, ended <-chan struct{}) (unread int64) {
	select {
	case <-process.Done():
		unread = int64(process.Unread())
	case <-a.stop:
		return 0
	case <-time.After(exitWait):
		return 0
	}
	select {
	case <-ended:
	case <-a.stop:
	}
	return unread
}

// kill ends the tree; Stop has a bound of its own.
func (a *agent) kill(process *processtree.Process) {
	if err := process.Stop(context.Background()); err != nil {
		a.log.Error("agent process could not be ended", "pid", process.PID(), "error", err)
	}
}

// write passes messages on until the agent's end, and returns how many bytes it
// has written; false means that the agent has closed its stdin.
func (a *agent) write(pipe io.Writer, ended <-chan struct{}) (written int64, reads bool) {
	defer a.stdin.close()
	for {
		select {
		case <-a.stop:
			return written, true
		case <-ended:
			return written, true
		case <-a.stdin.ready:
		}
		for line := a.stdin.take(); line != nil; line = a.stdin.take() {
			n, err := pipe.Write(line)
			written += int64(n)
			if err != nil {
				a.log.Debug("agent does not read any more", "error", err)
				return written, false
			}
		}
	}
}

// read hands lines over until the end of stdout. After requestStop it goes on
// reading, so that a dying agent is not held by its pipe, and hands over nothing.
func (a *agent) read(stdout io.Reader) {
	lines := newLineReader(speech{stdout, &a.spoke}, maxLineBytes)
	for {
		line, err := lines.next()
		var m rpcMessage
		switch {
		case errors.Is(err, errLineTooLong):
			m = rpcMessage{kind: lineTooLong}
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				a.log.Debug("agent's stdout broke", "error", err)
			}
			return
		default:
			select {
			case <-a.stop:
				continue
			default:
			}
			m = parseLine(line)
			a.spoke.Store(time.Now().UnixNano()) // a huge line takes its time here
		}
		select {
		case a.in <- m:
		case <-a.stop:
		}
	}
}
