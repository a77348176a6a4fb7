package valkeystore

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// The kinds of streams, as counts name them. A user's are not told apart.
const (
	kindWebSocket = "w"
	kindSSE       = "s"
	kindAny       = "a"
)

// count names one number that this node keeps in the store: its streams of a kind
// under a session's or a user's key.
type count struct{ key, kind string }

// slots are this node's streams: the truth of which the store has a copy. A count
// in the store is always written whole, by one call at a time.
type slots struct {
	seed  maphash.Seed
	gates [64]chan struct{} // one is taken for a call about a count: by the count's hash

	mu    sync.Mutex
	have  map[count]int
	dirty map[count]struct{} // the store's copy is or may be another
	wake  chan struct{}      // holds one
}

func newSlots() *slots {
	t := &slots{
		seed: maphash.MakeSeed(), have: make(map[count]int), dirty: make(map[count]struct{}), wake: make(chan struct{}, 1),
	}
	for i := range t.gates {
		t.gates[i] = make(chan struct{}, 1)
	}
	return t
}

// enter waits until no call about the count is under way, or until ctx ends.
func (t *slots) enter(ctx context.Context, c count) (leave func(), err error) {
	gate := t.gates[maphash.Comparable(t.seed, c)%uint64(len(t.gates))]
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// add changes a count here; the store is told if tell says so.
func (t *slots) add(c count, n int, tell bool) {
	t.mu.Lock()
	if t.have[c] += n; t.have[c] <= 0 {
		delete(t.have, c)
	}
	if tell {
		t.dirty[c] = struct{}{}
	}
	t.mu.Unlock()
	if tell {
		t.kick()
	}
}

func (t *slots) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tellAll has the store told every count.
func (t *slots) tellAll() {
	t.mu.Lock()
	for c := range t.have {
		t.dirty[c] = struct{}{}
	}
	t.mu.Unlock()
	t.kick()
}

// next takes a count that the store has to be told.
func (t *slots) next() (c count, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.dirty {
		delete(t.dirty, c)
		return c, true
	}
	return count{}, false
}

func (t *slots) get(c count) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have[c]
}

func (s *Store) slotCounts(p hub.Slot) (session, user count) {
	session = count{s.channel(p.Session) + ":streams", kindWebSocket}
	if p.Encoding == hub.SSE {
		session.kind = kindSSE
	}
	return session, count{s.opt.Prefix + "{u:" + p.User + "}:streams", kindAny}
}

// TakeSlot implements hub.Slots.
func (s *Store) TakeSlot(ctx context.Context, p hub.Slot, perSession, perUser int) error {
	if _, ok := s.keys(p.Session); !ok {
		return notFound(p.Session)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	live, err := s.nodes(call)
	if err != nil {
		return s.unavailable(ctx, "take_slot", "take a slot", err)
	}
	session, user := s.slotCounts(p)
	for _, c := range []struct {
		count
		most int
		full error
	}{{session, perSession, hub.ErrSessionFull}, {user, perUser, hub.ErrUserFull}} {
		free, err := s.takeCount(call, c.count, c.most, live)
		if err == nil && free {
			continue
		}
		if c.count == user {
			s.slots.add(session, -1, true)
		}
		if err != nil {
			return s.unavailable(ctx, "take_slot", "take a slot", err)
		}
		return c.full
	}
	return nil
}

// takeCount counts one more, unless there are the most.
func (s *Store) takeCount(ctx context.Context, c count, most int, live []string) (bool, error) {
	leave, err := s.slots.enter(ctx, c)
	if err != nil {
		return false, err
	}
	defer leave()
	args := append([]string{strconv.Itoa(most), s.nodeNow(), c.kind, strconv.Itoa(s.slots.get(c))}, live...)
	got, err := slotScript.Exec(ctx, s.client, []string{c.key}, args).AsInt64()
	switch {
	case err != nil:
		s.slots.add(c, 0, true) // it may have counted
		return false, err
	case got == 0:
		return false, nil
	}
	s.slots.add(c, 1, false)
	return true, nil
}

// GiveSlot implements hub.Slots.
func (s *Store) GiveSlot(p hub.Slot) {
	session, user := s.slotCounts(p)
	s.slots.add(session, -1, true)
	s.slots.add(user, -1, true)
}

// slotRetry is how soon the store is told again what it did not take.
const slotRetry = 500 * time.Millisecond

// tellSlots tells the store the counts that changed, until ctx ends.
func (s *Store) tellSlots(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.slots.wake:
		}
		for c, ok := s.slots.next(); ok && ctx.Err() == nil; c, ok = s.slots.next() {
			if err := s.tellCount(ctx, c); err != nil {
				s.slots.add(c, 0, true)
				select {
				case <-ctx.Done():
				case <-time.After(slotRetry):
				}
			}
		}
	}
}

func (s *Store) tellCount(ctx context.Context, c count) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	leave, err := s.slots.enter(call, c)
	if err != nil {
		return err
	}
	defer leave()
	field := s.nodeNow() + " " + c.kind
	if n := s.slots.get(c); n > 0 {
		return s.client.Do(call, s.client.B().Hset().Key(c.key).FieldValue().FieldValue(field, strconv.Itoa(n)).Build()).Error()
	}
	return s.client.Do(call, s.client.B().Hdel().Key(c.key).Field(field).Build()).Error()
}

// Connections implements hub.Slots.
func (s *Store) Connections(ctx context.Context, sessions []string) ([]protocol.Connections, error) {
	out := make([]protocol.Connections, len(sessions))
	if len(sessions) == 0 {
		return out, nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	const what = "count connections"
	nodes, err := s.nodes(call)
	if err != nil {
		return nil, s.unavailable(ctx, "connections", what, err)
	}
	live := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		live[n] = true
	}
	commands := make(valkey.Commands, len(sessions))
	for i, id := range sessions {
		commands[i] = s.client.B().Hgetall().Key(s.channel(id) + ":streams").Build()
	}
	for i, r := range s.client.DoMulti(call, commands...) {
		all, err := r.AsStrMap()
		if err != nil {
			return nil, s.unavailable(ctx, "connections", what, err)
		}
		for field, value := range all {
			name, kind, _ := strings.Cut(field, " ")
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, s.unavailable(ctx, "connections", what, fmt.Errorf("session %s: %w", sessions[i], err))
			}
			if !live[name] {
				continue
			}
			if kind == kindSSE {
				out[i].SSE += n
			} else {
				out[i].WebSocket += n
			}
		}
	}
	return out, nil
}
