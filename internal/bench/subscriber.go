package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sessionhub/protocol"
)

// readBytes is the size of a read, in a buffer that is borrowed for it.
const readBytes = 64 << 10

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// subscriber follows a session, on a bare connection of its own or on a carrier. connect
// and read belong to its goroutine, or to the carrier's; the ledger's atomics may be read
// by others.
type subscriber struct {
	ledger
	line
	session *session
	sampled bool // its latencies are measured
	host    string
	way     *histogram // since the worker made the event; nil: since it was appended
	pair    *pair      // with a subscriber at another node; nil: there is none
	near    bool       // of the two, it is the one at the worker's node
	swarm   *swarm
	carrier *carrier // nil: it has the line

	live  bool // caught_up has been seen
	turns int  // complete events seen

	ended error // why it ended; owned by the reader until the swarm has waited
}

// connect opens the stream. It returns when the hub has said that the replay is
// over.
func (s *subscriber) connect(ctx context.Context, ws bool, local net.Addr) error {
	request := appendRequest(nil, ws, s.host, "/api/sessions/"+s.session.id, "?after=latest", "Authorization: Bearer "+s.session.token)
	return s.open(ctx, ws, s.host, local, request, s, &s.ledger, func() bool { return s.live })
}

// line is a bare connection with a stream on it. It belongs to one goroutine at a time.
type line struct {
	on    handler
	count *ledger // of reads and bytes

	conn   *net.TCPConn
	parser parser
	now    time.Time // of the present read
	pulse  pulse
	pong   []byte // to be written after the present read
	code   int    // of the close frame
}

// open sends the request, and reads until the stream has begun.
func (s *line) open(ctx context.Context, ws bool, host string, local net.Addr, request []byte, on handler, count *ledger, begun func() bool) error {
	s.on, s.count = on, count
	d := net.Dialer{LocalAddr: local, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s.conn = conn.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	head := &headParser{want: "HTTP/1.1 200 ", next: &sseParser{}}
	if ws {
		head.want, head.next = "HTTP/1.1 101 ", &wsParser{}
	}
	s.parser = head
	if _, err := conn.Write(request); err != nil {
		_ = conn.Close()
		return fmt.Errorf("open stream: %w", err)
	}
	for !begun() {
		if err := s.readOnce(); err != nil {
			_ = conn.Close()
			return fmt.Errorf("open stream: %w", err)
		}
	}
	s.parser = head.next // the head is done with
	return nil
}

// read follows the stream to its end.
func (s *line) read() error {
	for {
		if err := s.readOnce(); err != nil {
			if s.code != 0 {
				err = fmt.Errorf("closed with %d", s.code)
			}
			return err
		}
	}
}

// readOnce waits for bytes and takes them. The buffer is borrowed only when there
// are some: the runtime calls f first to try, then again when there is something.
func (s *line) readOnce() error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		buf := readBuffers.Get().(*[readBytes]byte)
		defer readBuffers.Put(buf)
		for {
			n, failure = unix.Read(int(fd), buf[:])
			if !errors.Is(failure, syscall.EINTR) {
				break
			}
		}
		if errors.Is(failure, syscall.EAGAIN) {
			failure = nil
			return false
		}
		if failure == nil && n > 0 {
			failure = s.take(buf[:n])
		}
		return true
	})
	switch {
	case err != nil:
		return err
	case failure != nil:
		return failure
	case n <= 0:
		return io.EOF
	}
	if s.pong != nil {
		_, err = s.conn.Write(s.pong)
		s.pong = nil
	}
	return err
}

func (s *line) take(p []byte) error {
	s.count.reads.Add(1)
	s.count.bytes.Add(uint64(len(p)))
	s.now = time.Now()
	s.pulse.hear(s.now)
	return s.parser.feed(p, s.on)
}

func (s *line) ping(payload []byte) {
	s.pulse.beats++
	s.pong = appendPong(s.pong, payload)
}

func (s *line) comment() { s.pulse.beats++ }

func (s *line) closed(code int) { s.code = code }

func (s *subscriber) frame(n notice) error {
	if n.seq == 0 {
		return s.control(n)
	}
	s.receive(n.first, n.seq)
	if s.pair != nil {
		s.pair.arrive(n.seq, s.now, s.near)
	}
	switch {
	case s.way != nil:
		if at, ok := n.made(); ok {
			s.way.add(s.now.Sub(at))
		}
	case s.sampled:
		if at, ok := n.time(); ok {
			s.swarm.latency.add(s.now.Sub(at))
		}
	}
	if string(n.kind) == string(protocol.EventComplete) {
		s.session.passed(s.turns)
		s.turns++
	}
	return nil
}

func (s *subscriber) control(n notice) error {
	switch protocol.ControlType(n.kind) {
	case protocol.ControlCaughtUp:
		seq, ok := n.field("seq")
		if !ok {
			return fmt.Errorf("not a caught_up: %.80q", n.json)
		}
		s.begin(seq)
		s.live = true
		if s.carrier != nil {
			s.carrier.began()
		}
	case protocol.ControlGap:
		s.gaps++
	}
	return nil
}

// session is one session under load. Its turns are counted by its subscribers.
type session struct {
	id, token string
	user      string
	active    bool // it has events
	subs      []*subscriber
	pair      *pair // of the first two; nil unless they are compared

	turns []atomic.Int64 // how many subscribers have seen, or will never see, the end of each
	moved chan struct{}  // of capacity 1: a turn was seen by all
}

// passed counts one subscriber at the end of a turn. Turns beyond those that are
// counted are not ours.
func (s *session) passed(turn int) {
	if turn < len(s.turns) && s.turns[turn].Add(1) == int64(len(s.subs)) {
		select {
		case s.moved <- struct{}{}:
		default:
		}
	}
}

// gone counts a subscriber that will see no further turn.
func (s *session) gone(seen int) {
	for turn := seen; turn < len(s.turns); turn++ {
		s.passed(turn)
	}
}

// await waits until all subscribers have seen the end of a turn.
func (s *session) await(ctx context.Context, turn int) error {
	for s.turns[turn].Load() < int64(len(s.subs)) {
		select {
		case <-s.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// swarm is all subscribers of a run.
type swarm struct {
	net      byte // the connections come from 127.0.net.0/24
	subs     []*subscriber
	carriers []*carrier // of the subs, which have no connections of their own then
	latency  histogram
	patience *patience
	ended    time.Time // of close

	wg      sync.WaitGroup
	dropped atomic.Int64 // ended before close
	closing atomic.Bool
}

// perAddress is how many connections go out from one loopback address. The
// kernel has about 28,000 ports for each, and finds a free one fast only while
// few are taken.
const perAddress = 2_000

// localAddress spreads connections over 127.0.0.0/8; nil where the node is not
// there.
func (w *swarm) localAddress(i int) net.Addr {
	host, _, err := net.SplitHostPort(w.subs[i].host)
	ip := net.ParseIP(host)
	if err != nil || ip.To4() == nil || !ip.IsLoopback() {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, w.net, byte(1+i/perAddress))}
}

// connect opens all streams, so many at a time, and starts to read them. The
// first error ends it.
func (w *swarm) connect(ctx context.Context, transport string, atOnce int, done func(int)) error {
	if len(w.carriers) > 0 {
		return w.carry(ctx, transport, atOnce)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, opened atomic.Int64
	var dialers sync.WaitGroup
	for range min(atOnce, len(w.subs)) {
		dialers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(w.subs) || ctx.Err() != nil {
					return
				}
				ws := transport == TransportWebSocket || transport == TransportMixed && i%2 == 0
				err := w.patience.ask(ctx, func() error { return w.subs[i].connect(ctx, ws, w.localAddress(i)) })
				if err != nil {
					w.subs[i].conn = nil
					cancel(fmt.Errorf("subscriber %d: %w", i, err))
					return
				}
				w.follow(w.subs[i])
				done(int(opened.Add(1)))
			}
		})
	}
	dialers.Wait()
	if int(opened.Load()) < len(w.subs) {
		return context.Cause(ctx)
	}
	return nil
}

func (w *swarm) follow(s *subscriber) {
	w.wg.Go(func() {
		s.ended = s.read()
		if !w.closing.Load() {
			w.dropped.Add(1)
			s.session.gone(s.turns)
		}
	})
}

// close ends all connections and waits for their readers. It may be called twice
// by one goroutine.
func (w *swarm) close() {
	if w.closing.Swap(true) {
		return
	}
	w.ended = time.Now()
	for s := range w.lines() {
		if s.conn != nil {
			// A read that waits returns; the descriptor is closed after it.
			_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
	w.wg.Wait()
	for s := range w.lines() {
		if s.conn != nil {
			// By a reset: thousands of ports in TIME-WAIT would be missing in the
			// next run, and make its connects slow before that.
			_ = s.conn.SetLinger(0)
			_ = s.conn.Close()
		}
	}
}

// lines are all connections.
func (w *swarm) lines() iter.Seq[*line] {
	return func(yield func(*line) bool) {
		for _, c := range w.carriers {
			if !yield(&c.line) {
				return
			}
		}
		for _, s := range w.subs {
			if s.carrier == nil && !yield(&s.line) {
				return
			}
		}
	}
}

// firstDrop is why some subscriber ended before its time.
func (w *swarm) firstDrop() error {
	for _, s := range w.subs {
		if s.gone() {
			return s.ended
		}
	}
	return nil
}

// gone tells whether the subscriber ended before its time; the swarm is closed.
func (s *subscriber) gone() bool {
	return s.ended != nil && !errors.Is(s.ended, os.ErrDeadlineExceeded)
}

// delivered sums what has arrived so far.
func (w *swarm) delivered() (events, bytes, reads uint64) {
	for _, s := range w.subs {
		events += s.events.Load()
		bytes += s.bytes.Load()
		reads += s.reads.Load()
	}
	for _, c := range w.carriers {
		bytes += c.ledger.bytes.Load()
		reads += c.ledger.reads.Load()
	}
	return events, bytes, reads
}
