package app

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// A subscriber that is cut 200 times at random, and comes back over the other
// transport as often as over the same, has each of 20,000 events once and in
// order, with the same bytes.
func TestSubscriberHopsBetweenTransports(t *testing.T) {
	const pieces, cuts = 20_000, 200
	h := startHub(t, "--log-max-events", "100000", "--log-max-bytes", "64MiB")
	s := h.create(protocol.CreateRequest{})
	h.send(s, fmt.Sprintf("/stream %d 40 8000", pieces))

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var (
		record []hubtest.Frame
		cursor = "0"
		epoch  string
		hops   int
	)
	for done := false; !done; hops++ {
		var (
			sub stream
			err error
		)
		if rnd.IntN(2) == 0 {
			sub, err = h.ws(ctx, s, cursor)
		} else {
			sub, err = h.sse(ctx, s, cursor)
		}
		if err != nil {
			t.Fatalf("hop %d from %s: %v", hops, cursor, err)
		}
		most := 1 + rnd.IntN(3*pieces/(2*cuts)) // on average three quarters of an even share
		if hops >= cuts {
			most = 2 * pieces
		}
		for n := 0; n < most && !done; {
			f, err := sub.next(ctx)
			if err != nil {
				t.Fatalf("hop %d from %s: %v", hops, cursor, err)
			}
			if f.Seq == 0 {
				switch f.Type {
				case protocol.EventType(protocol.ControlConnected):
					epoch = hubtest.Decode[protocol.Connected](t, f.Data).Epoch
				case protocol.EventType(protocol.ControlGap):
					t.Fatalf("hop %d from %s: a gap: %s", hops, cursor, f.Raw)
				}
				continue
			}
			n++
			record = append(record, f)
			cursor = fmt.Sprintf("%s-%d", epoch, f.Seq)
			if f.ID != "" && f.ID != cursor {
				t.Fatalf("the id of %s is %q", f.Raw, f.ID)
			}
			done = f.Type == protocol.EventComplete
		}
		sub.close()
	}
	if hops < cuts {
		t.Errorf("the stream was over after %d cuts: too few", hops)
	}
	for i, f := range record {
		if f.Seq != uint64(i+1) {
			t.Fatalf("event %d of the record has seq %d", i+1, f.Seq)
		}
	}
	checkPieces(t, record, pieces)
	checkHistory(t, h, s, record)
}

// checkPieces checks that the demo agent's numbered pieces are all there.
func checkPieces(t *testing.T, record []hubtest.Frame, pieces int) {
	t.Helper()
	next := 1
	for _, f := range record {
		if f.Type != protocol.EventOutput {
			continue
		}
		var n int
		piece := hubtest.Decode[protocol.OutputData](t, f.Data).Text
		if _, err := fmt.Sscanf(piece, "%d", &n); err != nil {
			t.Fatalf("piece %q has no number", piece)
		}
		if n != next {
			t.Fatalf("piece %d came where %d should be", n, next)
		}
		next++
	}
	if next != pieces+1 {
		t.Fatalf("%d pieces came, want %d", next-1, pieces)
	}
}

// checkHistory checks that history has the same events, byte for byte.
func checkHistory(t *testing.T, h *hubUnderTest, s protocol.CreateResponse, record []hubtest.Frame) {
	t.Helper()
	after, i := "", 0
	for {
		var page protocol.History
		h.call("GET", "/api/sessions/"+s.SessionID+"/history?limit=5000&after="+after, nil, &page, "Authorization", "Bearer "+s.Token)
		if len(page.Events) > 1000 {
			t.Fatalf("a page has %d events: limit is not clamped", len(page.Events))
		}
		for _, e := range page.Events {
			if i < len(record) && string(e) != string(record[i].Raw) {
				t.Fatalf("history has %s, the stream had %s", e, record[i].Raw)
			}
			i++
		}
		if after = page.NextAfter; after == "" {
			break
		}
	}
	if i < len(record) {
		t.Fatalf("history has %d events, the streams had %d", i, len(record))
	}
}

// A subscriber that reads nothing is cut after --write-timeout, holds little,
// and 29 others beside it do not notice.
func TestStalledSubscriberIsCutAndOthersKeepPace(t *testing.T) {
	const pieces, others = 200, 29
	h := startHub(t, "--write-timeout", "2s", "--log-max-events", "100000", "--log-max-bytes", "64MiB")
	s := h.create(protocol.CreateRequest{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	// First without it, so that the same machine in the same minute says what
	// "no difference" is.
	calm := startReaders(ctx, t, h, s, others)
	h.send(s, fmt.Sprintf("/stream %d 8000 20", pieces/2))
	baseline := calm()

	stalled := dialRaw(t, h, s)
	beside := startReaders(ctx, t, h, s, others)
	connections := func() int {
		var view protocol.Session
		h.call("GET", "/api/sessions/"+s.SessionID, nil, &view)
		return view.Connections.WebSocket + view.Connections.SSE
	}
	judge.Within(t, 10*time.Second, "all streams are counted", func() bool { return connections() == others+1 })
	h.send(s, fmt.Sprintf("/stream %d 8000 20", pieces))

	// The kernel's receive buffer at this end fills, then the hub's send
	// buffer; from then on the clock runs.
	deadline := time.Now().Add(patience)
	var queued int64
	for gone := false; !gone; {
		_, unsent, _ := hubtest.Queues(t, stalled)
		queued = max(queued, unsent)
		if time.Now().After(deadline) {
			t.Fatal("the stalled subscriber was not cut")
		}
		gone = connections() <= others
		time.Sleep(50 * time.Millisecond)
	}
	// The socket is gone: what the kernel still had for us ends in a reset.
	_ = stalled.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := io.Copy(io.Discard, stalled)
	if err == nil || isTimeout(err) {
		t.Errorf("after %d bytes the connection of the stalled subscriber ended with %v, want a reset", n, err)
	}
	// What it held of its own: the kernel's queue, and one write of at most a tail.
	const most = 256 << 10
	if t.Logf("the kernel held %d bytes for it", queued); queued < 64<<10 || queued+maxTail > most {
		t.Errorf("the kernel held %d bytes for the stalled subscriber: with one write of %d that is over %d, or nothing was seen", queued, maxTail, most)
	}
	slowest := beside()
	t.Logf("the slowest delivery took %v without the stalled subscriber, %v beside it", baseline, slowest)
	judge.AtMost(t, "a delivery beside the stalled subscriber", slowest, max(2*time.Second, 3*baseline))
	if got := metric(t, h, "sessionhub_slow_subscribers_closed_total"); got != 1 {
		t.Errorf("slow_subscribers_closed_total is %v", got)
	}
}

// startReaders starts n subscribers of both transports. The function that it
// returns waits for the end of the next turn, checks that each has every event
// once and in order, and gives the longest time from an append to a reader.
func startReaders(ctx context.Context, t *testing.T, h *hubUnderTest, s protocol.CreateResponse, n int) func() time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	for i := range n {
		var sub stream
		var err error
		if i%2 == 0 {
			sub, err = h.ws(ctx, s, "latest")
		} else {
			var view protocol.Session
			h.call("GET", "/api/sessions/"+s.SessionID, nil, &view)
			sub, err = h.sse(ctx, s, fmt.Sprintf("%s-%d", view.Epoch, view.LastSeq))
		}
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer sub.close()
			var worst time.Duration
			var last uint64
			for {
				f, err := sub.next(ctx)
				if err != nil {
					t.Errorf("subscriber %d after event %d: %v", i, last, err)
					return
				}
				if f.Seq == 0 {
					continue
				}
				if last != 0 && f.Seq != last+1 {
					t.Errorf("subscriber %d: event %d came after %d", i, f.Seq, last)
					return
				}
				last = f.Seq
				worst = max(worst, time.Since(f.Time))
				if f.Type == protocol.EventComplete {
					break
				}
			}
			mu.Lock()
			slowest = max(slowest, worst)
			mu.Unlock()
		})
	}
	return func() time.Duration { wg.Wait(); return slowest }
}

// maxTail is the most that a write which waits can hold (hub.maxWrite), beside
// what it shares with others.
const maxTail = 64 << 10

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// dialRaw opens a WebSocket by hand with a small receive buffer and never reads
// more than the handshake.
func dialRaw(t *testing.T, h *hubUnderTest, s protocol.CreateResponse) net.Conn {
	t.Helper()
	host := strings.TrimPrefix(h.url, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(c, "GET /api/sessions/%s/ws?after=0 HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", s.SessionID, host, s.Token)
	var head [12]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || string(head[9:]) != "101" {
		t.Fatalf("%q %v", head, err)
	}
	return c
}

// clientFrame encodes a masked client frame (RFC 6455, section 5.3).
func clientFrame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}
