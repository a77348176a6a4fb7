package valkey

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// confirmer asks servers whether they are still the primaries. The goroutines of its calls
// end by their deadlines.
type confirmer struct {
	*calls
	confirming chan struct{} // holds one token for each call of Confirm
	wg         sync.WaitGroup
}

// Confirm implements store.Reader. It makes a write, and waits until min-replicas-to-write
// replicas have it, over the connection that then reads the session. A primary that was
// replaced cannot do this: its replicas follow another server. Confirm proves nothing if
// that setting is 0, or if the server does not let it be read.
//
// The write begins the epoch of this server, if it has not begun. A reader that is told of
// a loss relies on this. Another server can come back that still has the lost events, for
// example one that was killed and restarts before the Sentinels notice. The new epoch keeps
// it from going on with them.
//
// https://valkey.io/commands/wait/
func (s *confirmer) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Snapshot{}, notFound(id)
	}
	call, cancel := s.deadline(ctx)
	select {
	case s.confirming <- struct{}{}:
	case <-call.Done():
		defer cancel()
		return store.Snapshot{}, s.unavailable(ctx, "confirm", "confirm session "+id, call.Err())
	}
	// In a goroutine of its own: the client opens a new connection without a look at the
	// deadline.
	var snap store.Snapshot
	var found bool
	answer := make(chan error, 1)
	s.wg.Go(func() {
		defer cancel()
		defer func() { <-s.confirming }()
		answer <- s.client.Dedicated(func(c valkey.DedicatedClient) (err error) {
			if err = appendScript.Exec(call, c, keys[:], s.args("confirm", "", store.Batch{})).Error(); err != nil {
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
		return store.Snapshot{}, s.unavailable(ctx, "confirm", "confirm session "+id, err)
	case !found:
		return store.Snapshot{}, notFound(id)
	}
	return snap, nil
}

// maxConfirming bounds the connections that Confirm uses. After a failover, readers of
// every log may ask at once.
const maxConfirming = 16

// proven makes a write that expires a moment later. It waits until as many replicas have
// the write as the server's settings ask of any write.
func proven(ctx context.Context, c valkey.DedicatedClient, key string, most time.Duration) error {
	r := c.DoMulti(ctx, c.B().Set().Key(key).Value("").Px(time.Second).Build(),
		c.B().ConfigGet().Parameter("min-replicas-to-write").Build())
	if err := r[0].Error(); err != nil {
		return err
	}
	need := 0
	if set, err := r[1].AsStrMap(); err == nil { // some providers do not let it be asked
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
