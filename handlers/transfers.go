package handlers

import (
	"fmt"
	"net"
	"sync"
	"time"

	"sessionhub/hub"
	"sessionhub/metrics"
)

// transfers counts the long bodies of one kind that are on their way, by their connections.
// Its methods may be called concurrently.
type transfers struct {
	what          string // they are, in a refusal
	most, perUser int

	mu      sync.Mutex
	stopped bool
	conns   map[net.Conn]string // with the user
}

// take takes a place of most, of which one user has at most perUser. Or it refuses with
// ErrConnectionLimit. release gives the place back, and may be called twice.
func (t *transfers) take(user string, conn net.Conn, m *metrics.Set) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := 0
	for _, u := range t.conns {
		if u == user {
			own++
		}
	}
	switch {
	case t.stopped:
		return nil, errStopping
	case len(t.conns) >= t.most:
		m.LimitRejected(metrics.LimitConnections)
		return nil, fmt.Errorf("%w: this node has %d %s on their way, which is the most", hub.ErrConnectionLimit, t.most, t.what)
	case own >= t.perUser:
		m.LimitRejected(metrics.LimitConnectionsPerUser)
		return nil, fmt.Errorf("%w: the user has %d %s on their way, which is the most", hub.ErrConnectionLimit, t.perUser, t.what)
	}
	if t.conns == nil {
		t.conns = make(map[net.Conn]string)
	}
	t.conns[conn] = user
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, conn)
	}), nil
}

// extend gives a connection more time. fasthttp sets one deadline for the whole answer;
// extend sets one for each piece.
func (t *transfers) extend(conn net.Conn, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return errStopping
	}
	return conn.SetWriteDeadline(now.Add(answerTimeout))
}

// cut ends all answers for good, also those whose reader takes nothing.
func (t *transfers) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for conn := range t.conns {
		_ = conn.SetWriteDeadline(time.Unix(1, 0)) // it fails on a connection that has ended
	}
}
