package valkeystore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
)

// Confirm implements hub.Store. What the server says counts once min-replicas-to-write
// of its replicas have taken a write that was made just before, over the same
// connection: those of a primary whose place was taken follow another one. Without
// that setting, or where a server does not let it be asked, there is nothing to go
// by.
//
// The write begins the epoch of this server, if it has not begun. Who is told of a
// loss counts on in that, so that a server which still has what was lost (one that
// was killed, and is back before the Sentinels have seen it) does not go on with it.
//
// https://valkey.io/commands/wait/
func (s *Store) Confirm(ctx context.Context, id string) (hub.Snapshot, error) {
	keys, ok := s.keys(id)
	if !ok {
		return hub.Snapshot{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	select {
	case s.confirming <- struct{}{}:
	case <-call.Done():
		defer cancel()
		return hub.Snapshot{}, s.unavailable(ctx, "confirm", "confirm session "+id, call.Err())
	}
	// In a goroutine of its own, since the client makes a new connection without
	// looking at the deadline.
	var snap hub.Snapshot
	var found bool
	answer := make(chan error, 1)
	s.wg.Go(func() {
		defer cancel()
		defer func() { <-s.confirming }()
		answer <- s.client.Dedicated(func(c valkey.DedicatedClient) (err error) {
			if err = appendScript.Exec(call, c, keys[:], s.args("confirm", "", hub.Batch{})).Error(); err != nil {
				return err
			}
			if err = proven(call, c, s.channel(id)+":confirm", s.opt.CallTimeout/2); err != nil {
				return err
			}
			snap, found, err = parseSnapshot(c.Do(call, c.B().Hmget().Key(keys[0]).Field(snapshotFields...).Build()))
			return err
		})
	})
	var err error
	select {
	case err = <-answer:
	case <-call.Done():
		err = call.Err()
	}
	switch {
	case err != nil:
		return hub.Snapshot{}, s.unavailable(ctx, "confirm", "confirm session "+id, err)
	case !found:
		return hub.Snapshot{}, notFound(id)
	}
	return snap, nil
}

// maxConfirming bounds the connections that are used for it: after a failover every
// log may be asked for.
const maxConfirming = 16

// proven makes a write, which is gone a moment later, and waits until as many
// replicas have it as a write needs.
func proven(ctx context.Context, c valkey.DedicatedClient, key string, most time.Duration) error {
	r := c.DoMulti(ctx, c.B().Set().Key(key).Value("").Px(time.Second).Build(),
		c.B().ConfigGet().Parameter("min-replicas-to-write").Build())
	if err := r[0].Error(); err != nil {
		return err
	}
	need := 0
	if set, err := r[1].AsStrMap(); err == nil { // not every provider lets it be asked
		need, _ = strconv.Atoi(set["min-replicas-to-write"])
	}
	if need == 0 {
		return nil
	}
	have, err := c.Do(ctx, c.B().Wait().Numreplicas(int64(need)).Timeout(most.Milliseconds()).Build()).AsInt64()
	if err == nil && have < int64(need) {
		err = fmt.Errorf("%d of %d replicas have taken a write", have, need)
	}
	return err
}
