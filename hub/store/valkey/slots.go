package valkey

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// The kinds of streams in the names of counts. A user's streams are not told apart.
const (
	kindWebSocket = "w"
	kindSSE       = "s"
	kindAny       = "a"
)

// count names one number that this node keeps in the store: its streams of a kind under a
// session's or a user's key.
type count struct{ key, kind string }

// slots is a store.Slots. It holds this node's counts; the store has a copy of them. The
// node always writes a count whole, with one call at a time for each count.
type slots struct {
	*calls
	node *node

	seed  maphash.Seed
	gates [64]chan struct{} // a call about a count holds one gate: by the count's hash

	mu    sync.Mutex
	have  map[count]int
	dirty map[count]struct{} // counts that may differ from the store's copy
	wake  chan struct{}      // holds one token
}

func newSlots(c *calls, n *node) *slots {
	t := &slots{
		calls: c, node: n,
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

// add changes a count here. If tell is set, tellChanged sends the count to the store.
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

// tellAll has every count sent to the store.
func (t *slots) tellAll() {
	t.mu.Lock()
	for c := range t.have {
		t.dirty[c] = struct{}{}
	}
	t.mu.Unlock()
	t.kick()
}

// next takes a count that must be sent to the store.
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

func (t *slots) slotCounts(p store.Slot) (session, user count) {
	session = count{t.channel(p.Session) + ":streams", kindWebSocket}
	if p.Encoding.EventStream() {
		session.kind = kindSSE
	}
	return session, count{t.opt.Prefix + "{u:" + p.User + "}:streams", kindAny}
}

// TakeSlot implements store.Slots.
func (t *slots) TakeSlot(ctx context.Context, p store.Slot, perSession, perUser int) error {
	if _, ok := t.keys(p.Session); !ok && p.Session != "" {
		return notFound(p.Session)
	}
	call, cancel := t.deadline(ctx)
	defer cancel()
	live, err := t.node.nodes(call)
	if err != nil {
		return t.unavailable(ctx, "take_slot", "take a slot", err)
	}
	session, user := t.slotCounts(p)
	for _, c := range []struct {
		count
		most int
		full error
		of   string
	}{{session, perSession, store.ErrSessionFull, p.Session}, {user, perUser, store.ErrUserFull, p.User}} {
		if c.of == "" {
			continue
		}
		free, err := t.takeCount(call, c.count, c.most, live)
		if err == nil && free {
			continue
		}
		if c.count == user && p.Session != "" {
			t.add(session, -1, true)
		}
		if err != nil {
			return t.unavailable(ctx, "take_slot", "take a slot", err)
		}
		return c.full
	}
	return nil
}

// takeCount counts one more stream, unless the most are there already.
func (t *slots) takeCount(ctx context.Context, c count, most int, live []string) (bool, error) {
	leave, err := t.enter(ctx, c)
	if err != nil {
		return false, err
	}
	defer leave()
	args := append([]string{strconv.Itoa(most), t.node.nodeNow(), c.kind, strconv.Itoa(t.get(c))}, live...)
	got, err := slotScript.Exec(ctx, t.client, []string{c.key}, args).AsInt64()
	switch {
	case err != nil:
		t.add(c, 0, true) // the store may have counted it
		return false, err
	case got == 0:
		return false, nil
	}
	t.add(c, 1, false)
	return true, nil
}

// GiveSlot implements store.Slots.
func (t *slots) GiveSlot(p store.Slot) {
	session, user := t.slotCounts(p)
	if p.Session != "" {
		t.add(session, -1, true)
	}
	if p.User != "" {
		t.add(user, -1, true)
	}
}

// slotRetry is how soon a count is sent again after the store did not take it.
const slotRetry = 500 * time.Millisecond

// tellChanged sends the changed counts to the store, until ctx ends.
func (t *slots) tellChanged(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		for c, ok := t.next(); ok && ctx.Err() == nil; c, ok = t.next() {
			if err := t.tellCount(ctx, c); err != nil {
				t.add(c, 0, true)
				select {
				case <-ctx.Done():
				case <-time.After(slotRetry):
				}
			}
		}
	}
}

func (t *slots) tellCount(ctx context.Context, c count) error {
	call, cancel := t.deadline(ctx)
	defer cancel()
	leave, err := t.enter(call, c)
	if err != nil {
		return err
	}
	defer leave()
	field := t.node.nodeNow() + " " + c.kind
	if n := t.get(c); n > 0 {
		return t.client.Do(call, t.client.B().Hset().Key(c.key).FieldValue().FieldValue(field, strconv.Itoa(n)).Build()).Error()
	}
	return t.client.Do(call, t.client.B().Hdel().Key(c.key).Field(field).Build()).Error()
}

// Connections implements store.Slots.
func (t *slots) Connections(ctx context.Context, sessions []string) ([]protocol.Connections, error) {
	out := make([]protocol.Connections, len(sessions))
	if len(sessions) == 0 {
		return out, nil
	}
	call, cancel := t.deadline(ctx)
	defer cancel()
	const what = "count connections"
	nodes, err := t.node.nodes(call)
	if err != nil {
		return nil, t.unavailable(ctx, "connections", what, err)
	}
	live := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		live[n] = true
	}
	commands := make(valkey.Commands, len(sessions))
	for i, id := range sessions {
		commands[i] = t.client.B().Hgetall().Key(t.channel(id) + ":streams").Build()
	}
	for i, r := range t.client.DoMulti(call, commands...) {
		all, err := r.AsStrMap()
		if err != nil {
			return nil, t.unavailable(ctx, "connections", what, err)
		}
		for field, value := range all {
			name, kind, _ := strings.Cut(field, " ")
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, t.unavailable(ctx, "connections", what, fmt.Errorf("session %s: %w", sessions[i], err))
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
