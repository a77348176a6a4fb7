package hub

import (
	"fmt"
	"sync"

	"sessionhub/metrics"
)

// slots counts the streams of this node, under their session and under their
// user. A place is taken before a stream starts and given back once.
type slots struct {
	mu       sync.Mutex
	sessions map[string]int
	users    map[string]int
	total    int
}

// slotLimits bound the streams; 0 is no limit.
type slotLimits struct{ perSession, perUser, perNode int }

// take takes a place, or refuses with ErrConnectionLimit and the limit that was
// reached.
func (s *slots) take(session, user string, most slotLimits) (metrics.Limit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range []struct {
		limit metrics.Limit
		who   string
		have  int
		most  int
	}{
		{metrics.LimitConnectionsPerSession, "the session", s.sessions[session], most.perSession},
		{metrics.LimitConnectionsPerUser, "the user", s.users[user], most.perUser},
		{metrics.LimitConnections, "this node", s.total, most.perNode},
	} {
		if l.most > 0 && l.have >= l.most {
			return l.limit, fmt.Errorf("%w: %s has %d, which is the most", ErrConnectionLimit, l.who, l.most)
		}
	}
	if s.sessions == nil {
		s.sessions, s.users = make(map[string]int), make(map[string]int)
	}
	s.sessions[session]++
	s.users[user]++
	s.total++
	return "", nil
}

func (s *slots) give(session, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	count(s.sessions, session)
	count(s.users, user)
}

// count takes one off, and the entry with the last one.
func count(by map[string]int, key string) {
	if by[key]--; by[key] == 0 {
		delete(by, key)
	}
}
