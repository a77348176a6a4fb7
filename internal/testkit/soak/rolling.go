package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/internal/scrape"
	"sessionhub/protocol"
)

// RollOptions say who is there while the nodes of a cluster are restarted one after
// the other, each by SIGTERM, as an update does it.
type RollOptions struct {
	Cluster  *Cluster // behind a balancer that looks at /readyz
	APIKey   string
	Clients  int // over all sessions, half of them on each transport
	Sessions int
	Pause    time.Duration // before each restart, and behind the last
	Logf     func(format string, args ...any)
}

// Restart is one node's.
type Restart struct {
	Streams int           // that it had
	Spread  time.Duration // over which they are to come back
	Took    time.Duration // from SIGTERM to its end
	Begin   int           // second of the curve in which it began
	Most    int           // attempts in the worst second of it
}

// Limit is how many clients may come back in one second: twice what they would be
// if each second had as many as any other.
func (r Restart) Limit() int {
	return int(2 * float64(r.Streams) / r.Spread.Seconds())
}

// RollReport is what came of it.
type RollReport struct {
	Restarts []Restart
	Curve    []int // attempts of clients to come back, in each second
	Events   int   // that clients have read
	Turns    int
	Findings []string
}

func (r RollReport) String() string {
	var b strings.Builder
	for i, x := range r.Restarts {
		fmt.Fprintf(&b, "restart %d at second %d: %d streams over %s, %s in all; at most %d came back in a second (limit %d)\n",
			i, x.Begin, x.Streams, x.Spread, x.Took.Round(100*time.Millisecond), x.Most, x.Limit())
	}
	b.WriteString("attempts to come back in each second:")
	for i, n := range r.Curve {
		if i%10 == 0 {
			fmt.Fprintf(&b, "\n  %3d:", i)
		}
		fmt.Fprintf(&b, " %4d", n)
	}
	fmt.Fprintf(&b, "\n%d events read, %d turns, %d findings", r.Events, r.Turns, len(r.Findings))
	return b.String()
}

// roll is a run.
type roll struct {
	o     RollOptions
	began time.Time

	mu       sync.Mutex
	attempts []time.Time
	events   int
	turns    int
	findings []string
}

// rolled is one session of a run.
type rolled struct {
	*client.Session
	ended chan protocol.CompleteData // the turns' ends, as one of its clients reads them

	mu   sync.Mutex
	last []uint64 // what each client has read
}

// Roll makes the sessions and their clients, restarts each node once, and wants
// every client to have read everything at the end.
func Roll(ctx context.Context, o RollOptions) (RollReport, error) {
	r := &roll{o: o, began: time.Now()}
	report := RollReport{}
	through := &client.Client{BaseURL: o.Cluster.Balanced(), APIKey: o.APIKey}
	var sessions []*rolled
	for i := range o.Sessions {
		made, err := through.Create(ctx, protocol.CreateRequest{UserID: fmt.Sprint("user-", i)}, "")
		if err != nil {
			return RollReport{}, err
		}
		sessions = append(sessions, &rolled{
			Session: through.Session(made.SessionID, made.Token), ended: make(chan protocol.CompleteData, 16),
			last: make([]uint64, o.Clients/o.Sessions),
		})
	}
	reading, endReading := context.WithCancel(ctx)
	var readers, talkers sync.WaitGroup
	defer readers.Wait()
	defer endReading()
	var there sync.WaitGroup
	opening := make(chan struct{}, 32) // so many are opened at once
	for _, s := range sessions {
		for k := range s.last {
			there.Add(1)
			readers.Go(func() { r.read(reading, s, k, opening, sync.OnceFunc(there.Done)) })
		}
	}
	if !waitFor(ctx, &there, 5*time.Minute) {
		r.finish(&report)
		return report, errors.New("the clients do not get their streams")
	}
	o.Logf("%d clients are there", o.Clients)
	talking, endTalking := context.WithCancel(ctx)
	defer endTalking()
	for _, s := range sessions {
		talkers.Go(func() { r.talk(ctx, talking, s) })
	}

	r.mu.Lock()
	r.attempts, r.began = nil, time.Now()
	r.mu.Unlock()
	for _, n := range o.Cluster.nodes {
		sleep(ctx, o.Pause)
		restart, err := r.restart(ctx, n)
		if err != nil {
			endTalking()
			talkers.Wait()
			return report, err
		}
		report.Restarts = append(report.Restarts, restart)
	}
	sleep(ctx, o.Pause)
	endTalking()
	talkers.Wait()
	r.catchUp(ctx, sessions)
	r.finish(&report)
	return report, nil
}

// perStream is the time that a node's drain takes for each of its streams, up to
// --drain-timeout: 100 clients in a second.
const perStream = 10 * time.Millisecond

// restart puts a new process into a node's place.
func (r *roll) restart(ctx context.Context, n *node) (Restart, error) {
	n.fault.Lock()
	defer n.fault.Unlock()
	streams, err := openStreams(ctx, n.hub.AdminURL)
	if err != nil {
		return Restart{}, err
	}
	began := time.Now()
	x := Restart{Streams: streams, Begin: int(began.Sub(r.began).Seconds())}
	x.Spread = min(r.o.Cluster.o.Drain, time.Duration(streams)*perStream)
	limit, cancel := context.WithTimeout(ctx, r.o.Cluster.o.Drain+30*time.Second)
	defer cancel()
	if err := n.drain(limit); err != nil {
		return x, err
	}
	x.Took = time.Since(began)
	return x, r.o.Cluster.again(n)
}

// openStreams is how many streams of clients a node has.
func openStreams(ctx context.Context, admin string) (n int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	series, err := scrape.Read(resp.Body)
	return int(series[`sessionhub_connections{transport="websocket"}`] + series[`sessionhub_connections{transport="sse"}`]), err
}

// read is one client: it reads the log and finds what is missing.
func (r *roll) read(ctx context.Context, s *rolled, k int, opening chan struct{}, there func()) {
	o := client.StreamOptions{Transport: client.WebSocket, OnRetry: func(_ error, wait time.Duration) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.attempts = append(r.attempts, time.Now().Add(wait))
	}}
	if k%2 == 1 {
		o.Transport = client.SSE
	}
	stream := s.Stream(o)
	defer stream.Close()
	opening <- struct{}{}
	opened := sync.OnceFunc(func() { <-opening; there() })
	defer opened()
	next, first := uint64(1), false // whether the next event is the first one of a stream
	for {
		f, err := stream.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.find("client %d of %s: %v", k, s.ID(), err)
			return
		}
		switch {
		case f.Control() == protocol.ControlConnected:
			first = true
		case f.Control() == protocol.ControlCaughtUp:
			opened()
		case f.Control() == protocol.ControlGap:
			r.find("client %d of %s was told of a gap: %s", k, s.ID(), f.Data)
		case f.Seq == 0:
		case f.First() > next || f.First() < next && !first || f.Seq < next:
			r.find("client %d of %s: %d to %d came where %d was next", k, s.ID(), f.First(), f.Seq, next)
			return
		default:
			next, first = f.Seq+1, false
			r.mu.Lock()
			r.events++
			r.mu.Unlock()
			s.mu.Lock()
			s.last[k] = f.Seq
			s.mu.Unlock()
			if k == 0 && f.Type == protocol.EventComplete {
				var end protocol.CompleteData
				read(f.Event, &end)
				s.ended <- end
			}
		}
	}
}

// talk has one turn follow the other until talking ends. The last one is finished.
func (r *roll) talk(ctx, talking context.Context, s *rolled) {
	for n := 0; talking.Err() == nil; n++ {
		id := fmt.Sprint("m", n)
		text := fmt.Sprintf("/stream %d 60 2", 5+rand.IntN(10))
		for {
			_, err := s.Message(ctx, text, id) // which may be said again
			var refused *client.Error
			if err == nil {
				break
			}
			if ctx.Err() != nil || errors.As(err, &refused) && !refused.Temporary() {
				r.find("the message %s of %s was refused: %v", id, s.ID(), err)
				return
			}
			sleep(ctx, 100*time.Millisecond)
		}
		select {
		case end := <-s.ended:
			if end.MessageID != id || end.StopReason != protocol.StopEndTurn {
				r.find("the turn %s of %s ended with %s", id, s.ID(), protocol.Marshal(end))
			}
			r.mu.Lock()
			r.turns++
			r.mu.Unlock()
		case <-time.After(time.Minute):
			r.find("the turn %s of %s does not end", id, s.ID())
			return
		case <-ctx.Done():
			return
		}
	}
}

// catchUp waits until every client has read the whole log.
func (r *roll) catchUp(ctx context.Context, sessions []*rolled) {
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, s := range sessions {
		for {
			view, err := s.Get(limit)
			behind := 0
			s.mu.Lock()
			for _, seq := range s.last {
				if seq != view.LastSeq {
					behind++
				}
			}
			s.mu.Unlock()
			if err == nil && behind == 0 {
				break
			}
			if limit.Err() != nil {
				r.find("%d clients of %s have not read up to %d (%v)", behind, s.ID(), view.LastSeq, err)
				break
			}
			sleep(limit, 100*time.Millisecond)
		}
	}
}

func (r *roll) find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.findings) < mostFindings {
		r.findings = append(r.findings, fmt.Sprintf(format, args...))
	}
}

// finish makes the curve.
func (r *roll) finish(report *RollReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Events, report.Turns, report.Findings = r.events, r.turns, r.findings
	report.Curve = make([]int, int(time.Since(r.began).Seconds())+1)
	for _, at := range r.attempts {
		if i := int(at.Sub(r.began).Seconds()); i >= 0 && i < len(report.Curve) {
			report.Curve[i]++
		}
	}
	for i := range report.Restarts {
		x := &report.Restarts[i]
		end := len(report.Curve)
		if i+1 < len(report.Restarts) {
			end = report.Restarts[i+1].Begin
		}
		for _, n := range report.Curve[x.Begin:end] {
			x.Most = max(x.Most, n)
		}
	}
}
