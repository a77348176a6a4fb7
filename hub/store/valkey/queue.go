package valkey

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// topicMark begins the names of what is watched beside the sessions. No session's id
// begins with it.
const topicMark = "\x00"

func isTopic(id string) bool { return strings.HasPrefix(id, topicMark) }

// queueTopic stands for the queue among the watched sessions.
const queueTopic = topicMark + "queue"

// workQueue is a store.WorkQueue.
type workQueue struct {
	*calls
	relay *relay
}

// laneKeys are the keys of the queue of one provider in one workspace. All lanes are in one
// hash slot, with the depths.
func (s *workQueue) laneKeys(provider, workspace string) []string {
	base := s.opt.Prefix + "{queue}:"
	lane := fmt.Sprintf("%s%d:%s:%s:", base, len(provider), provider, workspace)
	return []string{lane + "order", lane + "members", lane + "users", lane + "last", lane + "numbers", base + "depths"}
}

// Enqueue implements store.WorkQueue.
func (s *workQueue) Enqueue(ctx context.Context, w store.Waiting) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	text, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("enqueue session %s: %w", w.ID, err)
	}
	err = enqueueScript.Exec(call, s.client, s.laneKeys(w.Provider, w.Workspace),
		[]string{w.ID, w.User, w.Provider, s.publish, s.channel(queueTopic), string(text)}).Error()
	if err != nil {
		return s.unavailable(ctx, "enqueue", "enqueue session "+w.ID, err)
	}
	return nil
}

// Dequeue implements store.WorkQueue.
func (s *workQueue) Dequeue(ctx context.Context, w store.Waiting) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := dequeueScript.Exec(call, s.client, s.laneKeys(w.Provider, w.Workspace), []string{w.ID, w.Provider}).Error()
	if err != nil {
		return s.unavailable(ctx, "dequeue", "dequeue session "+w.ID, err)
	}
	return nil
}

// Queued implements store.WorkQueue.
func (s *workQueue) Queued(ctx context.Context, provider, workspace string, n int) ([]store.Waiting, error) {
	if n <= 0 {
		return nil, nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	keys := s.laneKeys(provider, workspace)
	v, err := queuedScript.Exec(call, s.client, []string{keys[0], keys[2]}, []string{strconv.Itoa(n)}).AsStrSlice()
	if err == nil && len(v)%2 != 0 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil {
		return nil, s.unavailable(ctx, "queued", "list what is queued", err)
	}
	out := make([]store.Waiting, 0, len(v)/2)
	for i := 0; i < len(v); i += 2 {
		out = append(out, store.Waiting{ID: v[i], User: v[i+1], Provider: provider, Workspace: workspace})
	}
	return out, nil
}

// WatchQueue implements store.WorkQueue. It also calls notify after a break of the
// connection, since a call may have been missed.
func (s *workQueue) WatchQueue(notify func(store.Waiting)) func() {
	return s.relay.watch(queueTopic, func(n store.Notice) {
		var w store.Waiting
		if len(n.Entries) == 1 && json.Unmarshal(n.Entries[0].Tail, &w) != nil {
			w = store.Waiting{}
		}
		notify(w)
	})
}

// parseQueued reads what enqueue.lua announces. The notice's one entry holds the waiting
// session as JSON. An older node sends no entry.
func parseQueued(message string) store.Notice {
	n := store.Notice{Changed: true}
	if _, session, _ := strings.Cut(message, "\n"); session != "" {
		n.Entries = []protocol.Entry{{Tail: []byte(session)}}
	}
	return n
}

// depths counts what waits, by provider.
func (s *workQueue) depths(ctx context.Context) (map[string]int, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	m, err := s.client.Do(call, s.client.B().Hgetall().Key(s.opt.Prefix+"{queue}:depths").Build()).AsIntMap()
	if err != nil {
		return nil, err
	}
	out := make(map[string]int, len(m))
	for provider, n := range m {
		out[strings.Clone(provider)] = int(n)
	}
	return out, nil
}
