package valkey

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// Bounds of an inbox.
const (
	maxInbox      = 8192
	maxInboxBytes = 16 << 20
)

// inbox holds what a link has received and its watchers have not been told yet. When it is
// full, it remembers only the session: its watchers are told where the log ends, and read.
type inbox struct {
	wake chan struct{} // holds one token

	mu     sync.Mutex
	queue  []valkey.PubSubMessage
	bytes  int
	behind map[string]struct{} // sessions whose watchers must be told where the log ends
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), behind: make(map[string]struct{})}
}

// put takes a message. It never blocks: its caller reads the connection.
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

// markBehind marks sessions: deliver will tell their watchers where the log ends.
func (b *inbox) markBehind(ids ...string) {
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

// take removes everything from the inbox and returns it.
func (b *inbox) take(spare []valkey.PubSubMessage) (queue []valkey.PubSubMessage, behind []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, b.queue, b.bytes = b.queue, spare[:0], 0
	behind = slices.Collect(maps.Keys(b.behind))
	clear(b.behind)
	return queue, behind
}

// retryEnds is how soon deliver asks again for the end of a log that it could not read.
const retryEnds = 100 * time.Millisecond

// deliver tells the watchers what arrives, until ctx ends.
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
			switch {
			case id == queueTopic:
				r.tell(id, parseQueued(m.Message))
				continue
			case strings.HasPrefix(id, boxTopic), isUser(id):
				r.tell(id, noticeOf(m.Message))
				continue
			}
			n, err := parseNotice(m.Message)
			if err != nil {
				r.opt.Log.Error("an announcement cannot be read", "session", id, "error", err)
				behind = append(behind, id)
				continue
			}
			if at, ok := appendedAt(n); ok {
				r.opt.Relayed(time.Since(at))
			}
			r.tell(id, n)
		}
		clear(queue)
		spare = queue
		if left := r.tellEnds(ctx, behind); len(left) > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryEnds):
			}
			b.markBehind(left...)
		}
	}
}

// appendedAt is when the first event of a notice was stored, by the server's clock.
func appendedAt(n store.Notice) (time.Time, bool) {
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

// endsPage is how many ends of logs are read with one call.
const endsPage = 256

// tellEnds tells the watchers of sessions where their logs end. It returns the sessions whose
// end could not be read. Users have no end to read: their watchers read everything.
func (r *relay) tellEnds(ctx context.Context, ids []string) (left []string) {
	for _, id := range ids {
		if isUser(id) {
			r.tell(id, store.Notice{})
		}
	}
	ids = slices.DeleteFunc(ids, isUser)
	for page := range slices.Chunk(ids, endsPage) {
		commands := make(valkey.Commands, len(page))
		for i, id := range page {
			commands[i] = r.client.B().Hget().Key(r.channel(id) + ":session").Field("head").Build()
		}
		call, cancel := r.deadline(ctx)
		for i, answer := range r.client.DoMulti(call, commands...) {
			if !r.tellEnd(page[i], answer) {
				left = append(left, page[i])
			}
		}
		cancel()
	}
	return left
}

// tellEnd takes the answer to a read of a log's end, and tells the session's watchers that
// the log may have changed. It returns false if the read got no answer.
func (r *relay) tellEnd(id string, answer valkey.ValkeyResult) bool {
	n := store.Notice{Changed: true}
	text, err := answer.ToString()
	if err == nil {
		h, err := parseHead(text)
		if err != nil {
			return false
		}
		n.Last, n.Epoch = h.last, h.epoch
	} else if !valkey.IsValkeyNil(err) { // nil: the session is gone, which its watchers find out
		return false
	}
	r.tell(id, n)
	return true
}
