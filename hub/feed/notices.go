package feed

import (
	"sync"
	"time"

	"sessionhub/hub/store"
)

// notices holds what a user's watch has said and the list has not dealt with. It is bounded:
// each session is in it once, and too many of them stand for all.
type notices struct {
	wake chan struct{} // holds one token

	mu    sync.Mutex
	lost  bool                 // everything must be read again
	named map[string]time.Time // sessions, and when each may be read
	read  map[string]time.Time // when sessions were read last, within restTime
	swept time.Time            // when read was last freed of what is older
}

func newNotices() *notices {
	return &notices{wake: make(chan struct{}, 1), named: make(map[string]time.Time), read: make(map[string]time.Time)}
}

// take is what the store calls. It does not block.
func (n *notices) take(u store.UserNotice) {
	if u.Session == "" && !u.Lost {
		return // of the account
	}
	n.mu.Lock()
	switch {
	case u.Lost:
		n.lost = true
	case len(n.named) >= maxDirty:
		n.lost = true
		clear(n.named)
	default:
		n.nameLocked(u.Session)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// nameLocked has a session read: at once, unless it was read a moment ago.
func (n *notices) nameLocked(id string) {
	if _, there := n.named[id]; !there {
		n.named[id] = n.read[id].Add(restTime)
	}
}

// name has sessions read that a listing did not have, or that could not be read.
func (n *notices) name(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.nameLocked(id)
	}
}

// loseAll has everything read again.
func (n *notices) loseAll() { n.take(store.UserNotice{Lost: true}) }

// isLost reports whether everything must be read again. found says that a listing begins.
func (n *notices) isLost() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

func (n *notices) found() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = false
}

// due takes at most most sessions that may be read now. wait is how long it takes until one
// of the others may be read; 0 if there is none.
func (n *notices) due(now time.Time, most int) (ids []string, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.swept) > restTime {
		n.swept = now
		for id, at := range n.read {
			if now.Sub(at) > restTime {
				delete(n.read, id)
			}
		}
	}
	for id, at := range n.named {
		if left := at.Sub(now); left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		if len(ids) == most {
			wait = 1
			break
		}
		ids = append(ids, id)
		delete(n.named, id)
		n.read[id] = now
	}
	return ids, wait
}
