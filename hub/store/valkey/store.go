// Package valkey keeps sessions in Valkey 8 (or Redis 7): one server, one with replicas
// under Sentinels, or a cluster. Any number of nodes may use it.
//
// # What lies where
//
// A session's keys share the hash tag {<id>}, so that everything that must be atomic is in
// one hash slot:
//
//	<prefix>{<id>}:session    hash: the state with its version, the log's ends, ...
//	<prefix>{<id>}:events     stream: the ids are the seqs, the field e is Entry.Tail
//	<prefix>{<id>}:compacted  stream: the beginning of the log, once it is compacted. Its
//	                          ids are the last seqs, the field e is Entry.From, if there
//	                          is one, and Entry.Tail; gone when it is empty
//	<prefix>{<id>}:commands   hash: seq -> "type data"; gone when it is empty
//	<prefix>{<id>}:notes      hash: key -> "seq value", and "part:"key -> a part of a
//	                          question; gone when it is empty
//	<prefix>{<id>}:confirm    there for a second: see Confirm
//	<prefix>{<id>}            channel: what was appended
//
// Beside them are hints. The store verifies a hint when it reads it. So a crash between two
// keys needs no repair before the next start.
//
//	<prefix>{u:<user>}:open      sorted set: seats of open sessions; score: -time
//	                             while pending, the time of creation once confirmed
//	<prefix>{u:<user>}:sessions  sorted set: the user's sessions by time of creation
//	<prefix>user:<user>          channel: which of the user's sessions changed in a list
//	<prefix>sessions             sorted set: all sessions by time of creation
//	<prefix>{u:<user>}:account   hash: version and record of the user's account; no hint
//	<prefix>bucket:<name>        token bucket; expires when it is full
//
// The nodes tell each other about deadlines in {due}, about waiting sessions in {queue},
// about workers in {workers} and held:<worker>, and about themselves in {nodes}. The counts
// of open streams are in <prefix>{<id>}:streams and <prefix>{u:<user>}:streams.
//
// # What holds
//
// An append is one script. It checks, numbers, stores, trims and announces, so nothing can
// come between. It asks the server for its replication id. If that is not the id that
// stored the session's last event, the script begins a new epoch.
//
// An acknowledged append survives a crash of the server as far as the server's own
// persistence goes: all of it with `appendfsync always`. A failover can lose appends that
// had not reached the replica. `min-replicas-to-write` narrows that, and the new epoch
// shows the loss.
//
// Every call ends by its deadline. Without an answer, the caller does not know whether the
// change was made. The error then wraps store.ErrUnavailable. Asking again is safe, since
// the version, the fence or the id marks a repeat.
package valkey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
	"sessionhub/internal/backoff"
)

// Store is a store.Store in Valkey, made of parts that share their calls. All methods may
// be called concurrently. The caller of Open calls Close when nothing uses the store any
// more.
type Store struct {
	*calls
	*relay
	*node
	*sessions
	*compacter
	*confirmer
	*lists
	*dueIndex
	*workQueue
	*registry
	*slots
	*limiter
	*mail
	*userWatcher
	*accounts
	*census

	stop context.CancelFunc
	wg   sync.WaitGroup // relay.run, node.live, slots.tellChanged, userWatcher.tellOfSilentNodes
}

var _ store.Store = (*Store)(nil)

// Open connects to the server, and waits for it until ctx ends. It refuses a server that
// would drop sessions when its memory is full, and one that is too old. ctx bounds the
// opening alone.
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
	c := &calls{opt: o, client: client, publish: "PUBLISH"}
	if client.Mode() == valkey.ClientModeCluster {
		c.publish = "SPUBLISH"
	}
	s := newStore(c)
	if err := s.sayAlive(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("open valkey store: %w: %w", store.ErrUnavailable, err)
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.relay.run(running) })
	s.wg.Go(func() { s.node.live(running) })
	s.wg.Go(func() { s.slots.tellChanged(running) })
	s.wg.Go(func() { s.userWatcher.tellOfSilentNodes(running) })
	s.await(ctx, o.CallTimeout)
	return s, nil
}

// newStore joins the parts.
func newStore(c *calls) *Store {
	relay, node := newRelay(c), newNode(c)
	node.relay, node.slots = relay, newSlots(c, node)
	lists, queue := &lists{c}, &workQueue{calls: c, relay: relay}
	return &Store{
		calls: c, relay: relay, node: node, slots: node.slots, lists: lists, workQueue: queue,
		sessions:  &sessions{calls: c, seats: &seats{c}},
		compacter: &compacter{calls: c, node: node},
		confirmer: &confirmer{calls: c, confirming: make(chan struct{}, maxConfirming)},
		dueIndex:  &dueIndex{c}, registry: &registry{c},
		limiter: &limiter{calls: c, relay: relay},
		mail:    &mail{calls: c, relay: relay}, userWatcher: &userWatcher{calls: c, relay: relay, node: node},
		accounts: &accounts{c},
		census:   &census{calls: c, node: node, queue: queue, lists: lists},
	}
}

// connect makes the client and inspects the servers.
func connect(ctx context.Context, opt valkey.ClientOption, o Options) (valkey.Client, error) {
	for waits := (backoff.Backoff{Base: 50 * time.Millisecond, Max: 2 * time.Second}); ; {
		client, err := valkey.NewClient(opt)
		if err == nil {
			if err = inspect(ctx, client, o); err == nil {
				return client, nil
			}
			client.Close()
		}
		// Waiting does not change what the server says about itself, unless it says that it
		// is not ready yet.
		var refused *unfitError
		if errors.As(err, &refused) || isCredentials(err) {
			return nil, err
		}
		o.Log.Warn("valkey does not answer yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		case <-time.After(waits.Next()):
		}
	}
}

func isCredentials(err error) bool {
	e, ok := valkey.IsValkeyErr(err)
	return ok && (strings.HasPrefix(e.Error(), "WRONGPASS") || strings.HasPrefix(e.Error(), "NOAUTH") ||
		strings.HasPrefix(e.Error(), "NOPERM") || strings.HasPrefix(e.Error(), "ERR AUTH"))
}

// Close ends the connections. After it has returned, no watcher is called.
func (s *Store) Close() {
	s.stop()
	s.wg.Wait()
	s.confirmer.wg.Wait()
	s.client.Close()
}

// Shared implements store.Store.
func (s *Store) Shared() bool { return true }
