package valkey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
	"sessionhub/internal/backoff"
)

// Heartbeats of a link: one each beatEvery, heard within maxSilence.
const (
	beatEvery  = 300 * time.Millisecond
	maxSilence = 1500 * time.Millisecond
)

// primary is a server that takes writes.
type primary struct {
	id     string // in a cluster; otherwise empty
	addr   string // in a cluster, as the client knows it; otherwise empty
	ranges []hashSlotRange
}

// link is the subscription connection to one primary. It reconnects whenever the connection
// breaks. After that it tells the watchers where their logs end, as announcements were lost
// meanwhile.
//
// An open connection proves little. A frozen server keeps it open, and so does a primary
// that was demoted without notice. So each heartbeat takes the way of an append: through
// the client, to the server that the client takes for the primary. The heartbeat must then
// arrive on this connection.
//
// Goroutines: run, and below it deliver, which calls the watchers, and beat.
type link struct {
	relay   *relay
	primary primary
	channel string // of the heartbeat
	inbox   *inbox
	wake    chan struct{} // holds one token

	heard   atomic.Int64          // when the last heartbeat came in, unix nanoseconds
	refused atomic.Pointer[error] // the server's answer to the last heartbeat, if it takes no writes

	mu       sync.Mutex
	changed  map[string]struct{} // sessions whose subscription has to be put right
	dropping map[string]int      // channels that run has unsubscribed from, until the server confirms it
	broken   error               // why it is down; nil while it is up

	subscribed map[string]struct{} // sessions; of run alone
}

var (
	errSilent  = errors.New("no heartbeat came back")
	errMoved   = errors.New("the server ended a subscription: a slot has moved")
	errReplica = errors.New("the server is no primary")
	errStarted = errors.New("not connected yet")
)

func newLink(r *relay, p primary) *link {
	l := &link{
		relay: r, primary: p, inbox: newInbox(), wake: make(chan struct{}, 1),
		changed: make(map[string]struct{}), dropping: make(map[string]int), broken: errStarted,
	}
	// The channel is in one of the primary's own hash slots. When another of them moves
	// away, the connection stays, and nothing shows it until that slot is used.
	base := r.opt.Prefix + "beat:" + rand.Text()
	l.channel = base
	for k := 0; !l.owns(hashSlotOf(l.channel)); k++ {
		l.channel = fmt.Sprintf("%s:%d", base, k)
	}
	return l
}

func (l *link) owns(hashSlot uint16) bool {
	return slices.ContainsFunc(l.primary.ranges, func(r hashSlotRange) bool { return r.has(hashSlot) })
}

// change has run correct the session's subscription.
func (l *link) change(id string) {
	l.mu.Lock()
	l.changed[id] = struct{}{}
	l.mu.Unlock()
	l.kick()
}

func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

const broke = "the subscription connection broke"

// state says why the link is down, or nil.
func (l *link) state() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil && l.primary.addr != "" {
		return fmt.Errorf("%s: %w", l.primary.addr, l.broken)
	}
	return l.broken
}

func (l *link) set(broken error) {
	l.mu.Lock()
	l.broken = broken
	l.mu.Unlock()
	l.relay.report()
}

// down notes why the connection broke or was not made, or why the server stores nothing.
func (l *link) down(what string, err error) {
	if l.state() == nil {
		l.relay.opt.Log.Warn("valkey: "+what, "server", l.primary.addr, "error", err)
	}
	l.set(err)
}

// run keeps the link until ctx ends.
func (l *link) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.inbox.deliver(ctx, l.relay) })
	waits := backoff.Backoff{Base: 50 * time.Millisecond, Max: time.Second}
	for ctx.Err() == nil {
		began := time.Now()
		err := l.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		l.down(broke, err)
		if time.Since(began) > 10*time.Second {
			waits.Reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(waits.Next()):
		}
	}
}

// serve holds one connection until it breaks or ctx ends.
func (l *link) serve(ctx context.Context) error {
	r := l.relay
	node := r.client
	if l.primary.addr != "" {
		if node = r.client.Nodes()[l.primary.addr]; node == nil {
			return errors.New("the client does not know the server")
		}
	}
	conn, release := node.Dedicate()
	defer release()
	defer conn.Close() // a connection with subscriptions is of no other use

	moved, beats := make(chan struct{}, 1), make(chan struct{}, 1)
	l.mu.Lock()
	clear(l.dropping)
	l.mu.Unlock()
	ended := conn.SetPubSubHooks(valkey.PubSubHooks{
		OnMessage: func(m valkey.PubSubMessage) {
			if m.Channel == l.channel {
				l.heard.Store(time.Now().UnixNano())
				select {
				case beats <- struct{}{}:
				default:
				}
				return
			}
			l.inbox.put(m, l.relay.session)
		},
		OnSubscription: func(s valkey.PubSubSubscription) {
			if strings.HasSuffix(s.Kind, "unsubscribe") && !l.dropped(s.Channel) {
				select {
				case moved <- struct{}{}:
				default:
				}
			}
		},
	})
	if err := l.begin(ctx, conn); err != nil {
		return err
	}
	l.refused.Store(nil)

	var wg sync.WaitGroup
	defer wg.Wait()
	beating, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { l.beat(beating) })

	tick := time.NewTicker(beatEvery / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if err == nil {
				err = errors.New("the connection ended")
			}
			return err
		case <-moved:
			return errMoved
		case <-beats:
			// Only now: a server that takes no writes also accepts a subscription.
			if l.state() != nil {
				l.set(nil)
				r.opt.Log.Info("valkey: subscribed", "server", l.primary.addr, "sessions", len(l.subscribed))
			}
		case <-l.wake:
			if err := l.reconcile(ctx, conn); err != nil {
				return err
			}
		case <-tick.C:
			if time.Since(time.Unix(0, l.heard.Load())) <= maxSilence {
				continue
			}
			if refused := l.refused.Load(); refused != nil {
				// The server lives and answers, so another connection to it would be no
				// better.
				l.down("the server takes no writes", *refused)
				continue
			}
			// Noted now: a frozen server also delays the end of the connection.
			l.down(broke, errSilent)
			return errSilent
		}
	}
}

// begin checks that the server is a primary, and subscribes to all sessions that are
// watched there.
func (l *link) begin(ctx context.Context, conn valkey.DedicatedClient) error {
	call, cancel := l.relay.deadline(ctx)
	defer cancel()
	// ROLE goes alone. If no connection was made, the client answers a lone command with
	// the reason. It answers a SUBSCRIBE among other commands with a message about RESP2.
	role, err := conn.Do(call, conn.B().Role().Build()).ToArray()
	if err != nil {
		return err
	}
	if name, _ := role[0].ToString(); name != "master" {
		return errReplica
	}
	if err := conn.Do(call, l.subscribe(conn, l.channel, l.relay.publish == "SPUBLISH")).Error(); err != nil {
		return err
	}
	l.heard.Store(time.Now().UnixNano())
	l.subscribed = make(map[string]struct{})
	l.mu.Lock()
	clear(l.changed)
	l.mu.Unlock()
	// A session that is watched from here on arrives as a change.
	for _, id := range l.relay.watchedBy(l) {
		l.change(id)
	}
	return l.reconcile(ctx, conn)
}

// doMulti sends commands over a dedicated connection. It pins the commands. Without the
// pin, the client reuses answered commands and then sends all of them again when a later
// one must be repeated. A server that is loading causes this: it takes a SUBSCRIBE and
// refuses the HGET after it. The client would panic or send another caller's command.
func doMulti(ctx context.Context, conn valkey.DedicatedClient, commands ...valkey.Completed) []valkey.ValkeyResult {
	for i := range commands {
		commands[i] = commands[i].Pin()
	}
	return conn.DoMulti(ctx, commands...)
}

func (l *link) subscribe(conn valkey.DedicatedClient, channel string, sharded bool) valkey.Completed {
	if sharded {
		return conn.B().Ssubscribe().Channel(channel).Build()
	}
	return conn.B().Subscribe().Channel(channel).Build()
}

func (l *link) unsubscribe(conn valkey.DedicatedClient, channel string, sharded bool) valkey.Completed {
	if sharded {
		return conn.B().Sunsubscribe().Channel(channel).Build()
	}
	return conn.B().Unsubscribe().Channel(channel).Build()
}

// dropped reports whether the link itself has ended a subscription.
func (l *link) dropped(channel string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropping[channel] == 0 {
		return false
	}
	if l.dropping[channel]--; l.dropping[channel] == 0 {
		delete(l.dropping, channel)
	}
	return true
}

// reconcilePage bounds the commands of one call.
const reconcilePage = 250

// reconcile corrects the subscriptions of the changed sessions. It reads the end of each
// log after the subscription, over the same connection. So every later append is announced
// here.
func (l *link) reconcile(ctx context.Context, conn valkey.DedicatedClient) error {
	l.mu.Lock()
	changed := slices.Collect(maps.Keys(l.changed))
	clear(l.changed)
	l.mu.Unlock()
	for page := range slices.Chunk(changed, reconcilePage) {
		if err := l.reconcilePage(ctx, conn, page); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) reconcilePage(ctx context.Context, conn valkey.DedicatedClient, ids []string) error {
	r := l.relay
	var commands valkey.Commands
	var fresh, users []string
	for _, id := range ids {
		_, have := l.subscribed[id]
		sharded := r.publish == "SPUBLISH" && !isUser(id)
		switch want := r.watched(id); {
		case want && !have:
			if isUser(id) {
				users = append(users, id)
			} else {
				fresh = append(fresh, id)
			}
			l.subscribed[id] = struct{}{}
			commands = append(commands, l.subscribe(conn, r.channel(id), sharded))
		case !want && have:
			delete(l.subscribed, id)
			channel := r.channel(id)
			l.mu.Lock()
			l.dropping[channel]++
			l.mu.Unlock()
			commands = append(commands, l.unsubscribe(conn, channel, sharded))
		}
	}
	if len(commands) == 0 {
		return nil
	}
	reads := len(commands)
	for _, id := range fresh {
		commands = append(commands, conn.B().Hget().Key(r.channel(id)+":session").Field("head").Build())
	}
	call, cancel := r.deadline(ctx)
	defer cancel()
	answers := doMulti(call, conn, commands...)
	for _, a := range answers[:reads] {
		if err := a.Error(); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	for _, id := range users {
		r.tell(id, store.Notice{})
	}
	for i, id := range fresh {
		if !r.tellEnd(id, answers[reads+i]) {
			return fmt.Errorf("look at session %s: %w", id, answers[reads+i].Error())
		}
	}
	return nil
}

// takesNoWrites reports whether a primary lives but can store nothing for now: its memory
// or its disk is full, or its replicas are away.
func takesNoWrites(err error) bool {
	e, ok := valkey.IsValkeyErr(err)
	return ok && slices.ContainsFunc([]string{"OOM ", "MISCONF ", "NOREPLICAS "}, func(code string) bool {
		return strings.HasPrefix(e.Error(), code)
	})
}

// beat sends heartbeats until ctx ends. It ignores errors: a heartbeat that failed does not
// arrive.
func (l *link) beat(ctx context.Context) {
	r := l.relay
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, maxSilence)
		err := beatScript.Exec(call, r.client, []string{l.channel}, []string{r.publish}).Error()
		cancel()
		if err != nil && ctx.Err() == nil {
			r.opt.Log.Debug("valkey: heartbeat", "server", l.primary.addr, "error", err)
		}
		var refused *error
		if takesNoWrites(err) {
			refused = &err
		}
		l.refused.Store(refused)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
