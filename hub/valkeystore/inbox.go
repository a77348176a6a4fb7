package valkeystore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
)

// Bounds of an inbox.
const (
	maxInbox      = 8192
	maxInboxBytes = 16 << 20
)

// inbox is what a link has heard and its watchers have not been told yet. When it
// is full, only the session is remembered: its watchers are told how far the log
// is, and read.
type inbox struct {
	wake chan struct{} // holds one

	mu     sync.Mutex
	queue  []valkey.PubSubMessage
	bytes  int
	behind map[string]struct{} // sessions whose log has to be looked at
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), behind: make(map[string]struct{})}
}

// put takes a message. It never blocks: the connection is read by its caller.
func (b *inbox) put(m valkey.PubSubMessage, session func(channel string) string) {
	b.mu.Lock()
	if len(b.queue) >= maxInbox || b.bytes+len(m.Message) > maxInboxBytes && len(b.queue) > 0 {
		b.behind[session(m.Channel)] = struct{}{}
	} else {
		b.queue = append(b.queue, m)
		b.bytes += len(m.Message)
	}
	b.mu.Unlock()
	b.kick()
}

// look has a session's log looked at.
func (b *inbox) look(ids ...string) {
	b.mu.Lock()
	for _, id := range ids {
		b.behind[id] = struct{}{}
	}
	b.mu.Unlock()
	b.kick()
}

func (b *inbox) kick() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take gives all that is there.
func (b *inbox) take(spare []valkey.PubSubMessage) (queue []valkey.PubSubMessage, behind []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, b.queue, b.bytes = b.queue, spare[:0], 0
	behind = slices.Collect(maps.Keys(b.behind))
	clear(b.behind)
	return queue, behind
}

// lookAgain is how soon a log is looked at again that could not be looked at.
const lookAgain = 100 * time.Millisecond

// deliver tells the watchers what comes in, until ctx ends.
func (b *inbox) deliver(ctx context.Context, r *relay) {
	var spare []valkey.PubSubMessage
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		queue, behind := b.take(spare)
		for _, m := range queue {
			id := r.session(m.Channel)
			n, err := parseNotice(m.Message)
			if err != nil {
				r.store.opt.Log.Error("an announcement cannot be read", "session", id, "error", err)
				behind = append(behind, id)
				continue
			}
			if at, ok := appendedAt(n); ok {
				r.store.opt.Relayed(time.Since(at))
			}
			r.tell(id, n)
		}
		clear(queue)
		spare = queue
		if left := r.look(ctx, behind); len(left) > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookAgain):
			}
			b.look(left...)
		}
	}
}

// appendedAt is when the first event of a notice was stored, by the server's clock.
func appendedAt(n hub.Notice) (time.Time, bool) {
	if len(n.Entries) == 0 {
		return time.Time{}, false
	}
	const before, layout = `","time":"`, "2006-01-02T15:04:05.000Z"
	_, rest, ok := bytes.Cut(n.Entries[0].Tail, []byte(before))
	if !ok || len(rest) < len(layout) {
		return time.Time{}, false
	}
	at, err := time.Parse(layout, string(rest[:len(layout)]))
	return at, err == nil
}

// lookPage is how many logs are looked at with one call.
const lookPage = 256

// look tells the watchers of sessions how far their logs are. It gives those that
// could not be looked at.
func (r *relay) look(ctx context.Context, ids []string) (left []string) {
	for page := range slices.Chunk(ids, lookPage) {
		commands := make(valkey.Commands, len(page))
		for i, id := range page {
			commands[i] = r.store.client.B().Hget().Key(r.store.channel(id) + ":session").Field("head").Build()
		}
		call, cancel := r.store.deadline(ctx)
		for i, answer := range r.store.client.DoMulti(call, commands...) {
			if !r.tellEnd(page[i], answer) {
				left = append(left, page[i])
			}
		}
		cancel()
	}
	return left
}

// tellEnd tells a session's watchers that its log may have changed, from the
// answer to a read of its end. It returns false if there was none.
func (r *relay) tellEnd(id string, answer valkey.ValkeyResult) bool {
	n := hub.Notice{Changed: true}
	text, err := answer.ToString()
	if err == nil {
		h, err := parseHead(text)
		if err != nil {
			return false
		}
		n.Last, n.Epoch = h.last, h.epoch
	} else if !valkey.IsValkeyNil(err) { // nil: the session is gone, which they find out
		return false
	}
	r.tell(id, n)
	return true
}
