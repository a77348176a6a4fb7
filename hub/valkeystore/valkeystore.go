// Package valkeystore keeps sessions in Valkey 8 (or Redis 7): one server, one
// with replicas under Sentinels, or a cluster. Any number of nodes may use it.
//
// # What lies where
//
// A session's keys share the hash tag {<id>}, so that what must be atomic lies in
// one slot:
//
//	<prefix>{<id>}:session   hash: the state with its version, the log's ends, ...
//	<prefix>{<id>}:events    stream: the ids are the seqs, the field e is Entry.Tail
//	<prefix>{<id>}:commands  hash: seq -> "type data"; gone when it is empty
//	<prefix>{<id>}:notes     hash: key -> "seq value"; gone when it is empty
//	<prefix>{<id>}:confirm   there for a second: see Confirm
//	<prefix>{<id>}           channel: what was appended
//
// Beside them are hints, which are verified when they are read: a crash between
// two keys leaves nothing that has to be put right first.
//
//	<prefix>{u:<user>}:open      sorted set: places of open sessions; score: -time
//	                             while pending, the time of creation once confirmed
//	<prefix>{u:<user>}:sessions  sorted set: the user's sessions by time of creation
//	<prefix>sessions             sorted set: all sessions by time of creation
//	<prefix>bucket:<name>        token bucket; expires when it is full
//
// What the nodes tell each other is in {due} (deadlines), {queue} (what waits for a
// worker), {workers} and held:<worker>, {nodes}, and the counts of open streams in
// <prefix>{<id>}:streams and <prefix>{u:<user>}:streams.
//
// # What holds
//
// An append is one script. It checks, numbers, stores, trims and announces, so
// nothing can come between; it asks the server for its replication id, and begins
// a new epoch when that is not the one that stored the session's last event. What
// it acknowledged survives a crash of the server as far as the server's own
// persistence goes: all of it with `appendfsync always`. A failover can lose what
// had not reached the replica; `min-replicas-to-write` narrows that, and the new
// epoch tells it.
//
// Every call ends by its deadline. Without an answer it is not known whether the
// change was made: errors then wrap hub.ErrUnavailable, and asking again is safe,
// since the version, the fence or the id tells a repeat.
package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
)

// Store is a hub.Store in Valkey. All methods may be called concurrently. The one
// who opened it closes it, when nothing uses it any more.
type Store struct {
	opt        Options
	client     valkey.Client
	publish    string // SPUBLISH in a cluster, where PUBLISH would go to every node
	relay      *relay
	node       node
	slots      *slots
	census     census
	confirming chan struct{} // holds one for each Confirm

	stop context.CancelFunc
	wg   sync.WaitGroup // run of the relay, live, tellSlots
}

var _ hub.Store = (*Store)(nil)

// Open connects to the server, and waits for it until ctx ends. It refuses one
// that would forget sessions when its memory is full, and one that is too old.
// ctx is for the opening alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("open valkey store: %w", err)
	}
	opt, err := clientOption(o.URL, o.CallTimeout)
	if err != nil {
		return nil, fmt.Errorf("open valkey store: %w", err)
	}
	client, err := connect(ctx, opt, o)
	if err != nil {
		return nil, fmt.Errorf("open valkey store: %w", err)
	}
	s := &Store{opt: o, client: client, publish: "PUBLISH", confirming: make(chan struct{}, maxConfirming)}
	if client.Mode() == valkey.ClientModeCluster {
		s.publish = "SPUBLISH"
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.relay, s.slots = newRelay(s), newSlots()
	s.node.name, s.node.gate = nodeName(), make(chan struct{}, 1)
	if err := s.sayAlive(ctx); err != nil {
		stop()
		client.Close()
		return nil, fmt.Errorf("open valkey store: %w: %w", hub.ErrUnavailable, err)
	}
	s.wg.Go(func() { s.relay.run(running) })
	s.wg.Go(func() { s.live(running) })
	s.wg.Go(func() { s.tellSlots(running) })
	s.relay.await(ctx, o.CallTimeout)
	return s, nil
}

// connect makes the client and has a look at the servers.
func connect(ctx context.Context, opt valkey.ClientOption, o Options) (valkey.Client, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		client, err := valkey.NewClient(opt)
		if err == nil {
			if err = inspect(ctx, client, o); err == nil {
				return client, nil
			}
			client.Close()
		}
		// What the server says itself does not change by waiting, except that
		// it is not ready yet.
		var refused *unfitError
		if errors.As(err, &refused) || isCredentials(err) {
			return nil, err
		}
		o.Log.Warn("valkey does not answer yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
		case <-time.After(jitter(wait)):
		}
	}
}

func isCredentials(err error) bool {
	e, ok := valkey.IsValkeyErr(err)
	return ok && (strings.HasPrefix(e.Error(), "WRONGPASS") || strings.HasPrefix(e.Error(), "NOAUTH") ||
		strings.HasPrefix(e.Error(), "NOPERM") || strings.HasPrefix(e.Error(), "ERR AUTH"))
}

// jitter spreads what many nodes would do at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// Close ends the connections. Watchers are not called any more when it returns.
func (s *Store) Close() {
	s.stop()
	s.wg.Wait()
	s.client.Close()
}

// Available implements hub.Store. It does not ask the servers: heartbeats over the
// connection to each primary tell within 2 s.
func (s *Store) Available() error { return s.relay.ready() }

// Shared implements hub.Store.
func (s *Store) Shared() bool { return true }

// keys of a session: the hash, the events, the commands, the notes. ok is false
// for what cannot be the id of one: braces would put its keys into several slots.
func (s *Store) keys(id string) (keys [4]string, ok bool) {
	if id == "" || id == queueTopic || strings.ContainsAny(id, "{}") {
		return keys, false
	}
	base := s.channel(id)
	return [4]string{base + ":session", base + ":events", base + ":commands", base + ":notes"}, true
}

// channel is where appends to a session are announced.
func (s *Store) channel(id string) string {
	if id == queueTopic {
		return s.opt.Prefix + "queue{queue}" // in the slot of the lanes
	}
	return s.opt.Prefix + "{" + id + "}"
}

func (s *Store) openKey(user string) string     { return s.opt.Prefix + "{u:" + user + "}:open" }
func (s *Store) sessionsKey(user string) string { return s.opt.Prefix + "{u:" + user + "}:sessions" }
func (s *Store) allKey() string                 { return s.opt.Prefix + "sessions" }

// deadline bounds one call.
func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opt.CallTimeout)
}

// unavailable makes the error of a call that got no answer, or one that is not an
// answer to it: the caller's own end of ctx, or a fault of the store.
func (s *Store) unavailable(ctx context.Context, op, what string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	s.opt.Failed(op)
	return fmt.Errorf("%s: %w: %w", what, unavailability(err), err)
}

// unavailability is what kind of error wraps a server's own answer, or its lack.
func unavailability(err error) error {
	if _, answered := valkey.IsValkeyErr(err); answered {
		return hub.ErrUnavailable
	}
	return hub.ErrUnreachable
}

func notFound(id string) error { return fmt.Errorf("session %s: %w", id, hub.ErrNotFound) }
