package valkey

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

func do(t *testing.T, s *valkeytest.Server, args ...string) string {
	t.Helper()
	reply, err := s.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// create makes a session of a user who may have two.
func create(t *testing.T, s *Store, id, user string) error {
	t.Helper()
	c, err := session.NewState(session.Info{SessionID: id, UserID: user, CreatedAt: time.Now()}, session.Policy{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(t.Context(), id, store.Batch{State: c.State, Events: c.Events}, 2)
	return err
}

// What nodes that died in the middle of a Create have left takes no seat of the
// user's, and is not listed.
func TestLeftoversOfDeadNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	ago := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(-d).UnixMicro(), 10) }

	// A seat that was taken just now: its session may be about to be made.
	do(t, server, "ZADD", s.openKey("u"), "-"+ago(time.Second), "young")
	if err := create(t, s, "s1", "u"); err != nil {
		t.Fatal(err)
	}
	if err := create(t, s, "s2", "u"); !errors.Is(err, store.ErrSessionLimit) {
		t.Errorf("beside a young seat: %v, want ErrSessionLimit", err)
	}
	// An old one, and a confirmed one whose session is gone.
	for _, score := range []string{"-" + ago(time.Minute), ago(time.Hour)} {
		do(t, server, "DEL", s.openKey("u"))
		do(t, server, "ZADD", s.openKey("u"), score, "gone", ago(time.Second), "s1")
		if err := create(t, s, "s2", "u"); err != nil {
			t.Errorf("beside a seat with the score %s of no session: %v", score, err)
		}
		if err := s.Delete(t.Context(), "s2"); err != nil {
			t.Fatal(err)
		}
	}
	// A session that was made, but whose seat was not confirmed, has it.
	do(t, server, "ZADD", s.openKey("u"), "-"+ago(time.Hour), "s1")
	if err := create(t, s, "s2", "u"); err != nil {
		t.Fatal(err)
	}
	if err := create(t, s, "s3", "u"); !errors.Is(err, store.ErrSessionLimit) {
		t.Errorf("a third one: %v, want ErrSessionLimit", err)
	}
	// An id that another user has takes no seat of this one's.
	if err := create(t, s, "s1", "v"); !errors.Is(err, store.ErrExists) {
		t.Errorf("create of another user's id: %v", err)
	}
	if n := do(t, server, "ZCARD", s.openKey("v")) + do(t, server, "ZCARD", s.sessionsKey("v")); n != "00" {
		t.Errorf("it left %s lines", n)
	}

	do(t, server, "ZADD", s.allKey(), ago(time.Hour), "never made", ago(time.Second), "being made")
	got, next, err := s.List(t.Context(), store.ListQuery{Limit: 1})
	if err != nil || len(got) != 1 || next == "" {
		t.Fatalf("listed %d, %q, %v", len(got), next, err)
	}
	got, next, err = s.List(t.Context(), store.ListQuery{Limit: 10, After: next})
	if err != nil || len(got) != 1 || next != "" {
		t.Errorf("listed %d, %q, %v", len(got), next, err)
	}
	if n := do(t, server, "ZCARD", s.allKey()); n != "3" {
		t.Errorf("%s lines are left, want 3: the old one is dropped", n)
	}
}

// What a dead node has counted is forgotten; a node that was only thought to be
// dead tells it again.
func TestStreamsOfDeadNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	prefix := space()
	s, other := open(t, server.URL(), prefix), open(t, server.URL(), prefix)
	slot := store.Slot{Session: "s1", User: "u", Encoding: protocol.SSE}
	sessionKey, userKey := s.channel("s1")+":streams", s.opt.Prefix+"{u:u}:streams"
	count := func(on *Store) protocol.Connections {
		t.Helper()
		c, err := on.Connections(t.Context(), []string{"s1"})
		if err != nil {
			t.Fatal(err)
		}
		return c[0]
	}

	// One that has been silent for too long is found dead within a heartbeat.
	do(t, server, "ZADD", s.nodeKeys()[0], strconv.FormatInt(time.Now().Add(-nodeDead).UnixMicro(), 10), "dead")
	do(t, server, "HSET", sessionKey, "dead w", "7")
	do(t, server, "HSET", userKey, "dead a", "7")
	judge.Within(t, 2*nodeEvery, "end of the dead node", func() bool { return count(s) == protocol.Connections{} })
	if err := s.TakeSlot(t.Context(), slot, 1, 1); err != nil {
		t.Errorf("beside the streams of a dead node: %v", err)
	}
	if err := other.TakeSlot(t.Context(), slot, 1, 1); !errors.Is(err, store.ErrSessionFull) {
		t.Errorf("one more on another node: %v, want ErrSessionFull", err)
	}
	if n := do(t, server, "HLEN", sessionKey) + do(t, server, "HLEN", userKey); n != "11" {
		t.Errorf("%s counts are left, want 1 each", n)
	}

	name := s.nodeNow()
	do(t, server, "ZREM", s.nodeKeys()[0], name)
	if c := count(other); c != (protocol.Connections{}) {
		t.Errorf("of a node that is thought to be dead there are %+v", c)
	}
	judge.Within(t, 3*nodeEvery, "the count of a node that is back", func() bool { return count(other) == protocol.Connections{SSE: 1} })
	if s.nodeNow() == name {
		t.Error("it came back under its old name")
	}
	// One node takes the census, and when it leaves, the other one does.
	if s.takesCensus() == other.takesCensus() {
		t.Errorf("both or none take the census: %v", s.takesCensus())
	}
	s.GiveSlot(slot)
	judge.Within(t, 10*time.Second, "end of the stream", func() bool { return count(other) == protocol.Connections{} })
}

// A node that is gone without a word leaves the census to another one.
func TestCensusIsTakenOver(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space(), func(o *Options) {})
	judge.Within(t, 10*time.Second, "census", s.takesCensus)
	do(t, server, "SET", s.nodeKeys()[1], "dead")
	if err := s.sayAlive(t.Context()); err != nil || !s.takesCensus() {
		t.Errorf("a dead node takes the census: %v", err)
	}
	do(t, server, "SET", s.nodeKeys()[1], "lives")
	do(t, server, "ZADD", s.nodeKeys()[0], strconv.FormatInt(time.Now().UnixMicro(), 10), "lives")
	if err := s.sayAlive(t.Context()); err != nil || s.takesCensus() {
		t.Errorf("two take the census: %v", err)
	}
}

// A full inbox holds no more than its bound, and no session is forgotten.
func TestInboxOverflows(t *testing.T) {
	session := func(channel string) string { return channel }
	b := newInbox()
	for i := range maxInbox + 100 {
		b.put(valkey.PubSubMessage{Channel: fmt.Sprint("c", i%150)}, session)
	}
	queue, behind := b.take(nil)
	if len(queue) != maxInbox || len(behind) != 100 {
		t.Errorf("%d messages and %d sessions to look at, want %d and 100", len(queue), len(behind), maxInbox)
	}
	large := string(make([]byte, maxInboxBytes/2+1))
	for i := range 3 {
		b.put(valkey.PubSubMessage{Channel: fmt.Sprint("c", i), Message: large}, session)
	}
	if queue, behind := b.take(nil); len(queue) != 1 || len(behind) != 2 {
		t.Errorf("%d large messages and %d sessions to look at, want 1 and 2", len(queue), len(behind))
	}

	// Who has been left behind is told how far the log is.
	s := open(t, valkeytest.Start(t, valkeytest.Valkey(t)).URL(), space())
	benchSession(t, s, "s1")
	told := make(chan store.Notice, 100)
	defer s.Watch("s1", func(n store.Notice) {
		select {
		case told <- n:
		default:
		}
	})()
	<-told // the subscription's own
	s.relay.links[""].inbox.markBehind("s1")
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if n := <-told; n.Last != snap.Last || !n.Changed || len(n.Entries) != 0 {
		t.Errorf("told %+v of a log that ends at %d", n, snap.Last)
	}
}

// The slot of a key is the cluster's own.
func TestHashSlots(t *testing.T) {
	t.Parallel()
	server := valkeytest.StartCluster(t, valkeytest.Valkey(t)).Servers[0]
	for _, key := range []string{"", "a", "123456789", "{a}b", "x{a}b", "{}a", "{a", "a}", "{{a}}", "p:{u:x}y}:open", "sessionhub:beat:ABC:17", "ü€"} {
		if got := do(t, server, "CLUSTER", "KEYSLOT", key); got != fmt.Sprint(hashSlotOf(key)) {
			t.Errorf("slot of %q: %d, the cluster says %s", key, hashSlotOf(key), got)
		}
	}
}
