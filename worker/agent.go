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
	// exitWait is how long a process may take to end by itself after it has closed its
	// stdout, or its stdin with bytes unread. Its own exit code can then be told. The processes that it
	// has started have the same time to end.
	exitWait = 3 * time.Second
	// drainWait is how long the worker reads the rest in the pipes of a dead process.
	drainWait = time.Second
)

// agent is one agent process and the two ends of its conversation.
//
// The session's runner makes and owns it. The runner starts one goroutine, run. run owns
// the process, and three more goroutines while the process lives: writer, stderr and
// stopper. All of them have ended when gone is closed.
//
// run itself is the reader. It hands over every line in the order in which the agent wrote
// it, and waits while the runner takes none. So an agent that writes faster than the hub
// stores is held by its own full pipe.
type agent struct {
	spec processtree.Spec // immutable, but for Dir, which prepare may give before the process starts
	log  *slog.Logger     // immutable

	in    chan rpcMessage // unbuffered, from the reader; never closed
	stdin *stdin          // to the writer, which closes it
	stop  chan struct{}   // closed by requestStop
	gone  chan struct{}   // closed by run when all has ended

	stderr lastWords
	spoke  atomic.Int64 // unix nanoseconds of the last byte from it that is no white space; 0: none yet

	process atomic.Pointer[processtree.Process] // set by run once it is there

	// prepare gives the directory that the process starts in, if it has to be made; nil: it
	// is there. It is set before run begins. prepared is the time when it was made, in unix
	// nanoseconds; 0: not yet.
	prepare  func(context.Context) (string, error)
	prepared atomic.Int64

	// Written by run before gone is closed.
	startErr error
	exit     string
	seen     int64 // how many bytes of its input it can have read

	// Owned by the runner.
	stopped   bool
	nextID    int64
	waiting   map[int64]func(result json.RawMessage, err error)
	sessionID string    // the agent's own id of the session
	ready     bool      // the handshake is over
	settled   time.Time // no prompt goes to it before this time: see errorSettle
	replaying bool      // updates repeat the history of a loaded session
	modeSeen  string    // from the last current_mode_update
	options   *options  // set when the session is open
	guard     guard     // of options
	garbage   int       // garbage lines since the turn began
	failure   *protocol.TurnError
	started   agentStarted
	takes     promptCapabilities

	authMethods    []authMethod
	authenticated  bool   // authenticate was called
	authenticating string // the method that it has not answered yet; empty: none
	people         bool   // people were asked to log in: what it printed may have an address or a code
	login          bool   // people log in: they are asked how, or the agent has not answered what they chose

	helpers processtree.Below // its processes when it was ready: it needs them itself
	below   processtree.Below // its processes when the turn began
	heard   time.Time         // when a line of it was last handled; see lastSign
}

func newAgent(spec processtree.Spec, log *slog.Logger) *agent {
	return &agent{
		spec: spec, log: log,
		in: make(chan rpcMessage), stdin: newStdin(stdinBytes),
		stop: make(chan struct{}), gone: make(chan struct{}),
		stderr:  lastWords{limit: stderrTail},
		waiting: make(map[int64]func(json.RawMessage, error)),
	}
}

// requestStop begins the end of the agent, and does not wait: gone is closed when the end
// is complete. The worker drops later lines of the agent. Owned by the runner.
func (a *agent) requestStop() {
	if !a.stopped {
		a.stopped = true
		close(a.stop)
	}
}

// call sends a request. answer is called on the runner's goroutine, in the order of
// everything else that the agent says.
func (a *agent) call(method string, params any, answer func(result json.RawMessage, err error)) {
	a.nextID++
	a.waiting[a.nextID] = answer
	a.stdin.push(encodeRequest(a.nextID, method, params))
}

// lastSign is when the agent last showed a sign of life: a line, or a part of one, since a
// long line takes time. White space is no sign: an agent could send it for ever, while a
// line has a bound.
func (a *agent) lastSign() time.Time {
	if spoke := time.Unix(0, a.spoke.Load()); spoke.After(a.heard) {
		return spoke
	}
	return a.heard
}

// speech is an agent's stdout. It notes when a byte came.
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

// answered calls the function that waits for a response.
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

// lastWords describes the end of the process for people: its exit, and the end of its
// stderr. It may be called only after gone is closed.
func (a *agent) lastWords() string {
	text := a.exit
	if a.startErr != nil {
		text = a.startErr.Error()
	}
	if words := a.stderr.String(); words != "" && !a.people {
		text += ": " + words
	}
	return text
}

// run waits until the worker has capacity for another agent. It then starts the process and
// reads from it to its end. before is closed when an earlier agent of the session is gone.
func (a *agent) run(ctx context.Context, before <-chan struct{}, running chan struct{}) {
	defer close(a.gone)
	select {
	case <-before:
	case <-a.stop:
		a.startErr = errors.New("stopped before it started")
		return
	}
	select {
	case running <- struct{}{}:
		defer func() { <-running }()
	case <-a.stop:
		a.startErr = errors.New("stopped before it started")
		return
	}
	if err := a.prepareDir(ctx); err != nil {
		a.startErr = err
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
		written int64  // bytes that were written to the agent
		unread  int64  // of these, the bytes that were left when no process could read them
		early   string // why the worker ended the process
	)
	ended := make(chan struct{}) // stdout has ended
	deaf := make(chan struct{})  // the agent has closed its stdin
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
			// Otherwise a prompt that nobody will ever read would wait for the turn's
			// timeout.
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
		// No process is left that could write, unless one escaped the tree. In that case
		// the deadline ends the reads.
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

// prepareDir has the directory made that the process starts in.
func (a *agent) prepareDir(ctx context.Context) error {
	if a.prepare == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-a.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	dir, err := a.prepare(ctx)
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	a.spec.Dir = dir
	a.prepared.Store(time.Now().UnixNano())
	return nil
}

// lastRead waits for two things after an agent has ended by itself. All processes that it
// has started must be gone. All its lines must be read, as fast as the hub takes them. It
// returns how many bytes of the agent's stdin were never read.
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

// kill ends the process tree. Stop bounds its time itself.
func (a *agent) kill(process *processtree.Process) {
	if err := process.Stop(context.Background()); err != nil {
		a.log.Error("agent process could not be ended", "pid", process.PID(), "error", err)
	}
}

// write passes messages on until the agent's end. It returns how many bytes it has written.
// reads is false if the agent has closed its stdin.
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

// read hands over lines until the end of stdout. After requestStop it goes on reading and
// drops the lines, so that a dying agent is not held by its pipe.
func (a *agent) read(stdout io.Reader) {
	lines := newLineReader(speech{stdout, &a.spoke}, maxLineBytes)
	var halves halves
	hand := func(m rpcMessage) {
		select {
		case a.in <- m:
		case <-a.stop:
		}
	}
	for {
		line, err := lines.next()
		if err != nil { // the other half of a character cannot follow an error
			for _, l := range halves.end() {
				hand(parseLine(l))
			}
		}
		switch {
		case errors.Is(err, errLineTooLong):
			hand(rpcMessage{kind: lineTooLong})
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
			for _, l := range halves.lines(line) {
				m := parseLine(l)
				a.spoke.Store(time.Now().UnixNano()) // a huge line takes its time to hand over
				hand(m)
			}
		}
	}
}
