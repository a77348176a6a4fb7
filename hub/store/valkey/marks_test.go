package valkey

import (
	"fmt"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// atRest makes a session of the user u.
func atRest(tb testing.TB, s *Store, id string) {
	tb.Helper()
	c, err := session.NewState(session.Info{SessionID: id, UserID: "u", CreatedAt: time.Now()}, session.DefaultPolicy, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Create(tb.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
		tb.Fatal(err)
	}
}

// mark makes a session's state another one, as a rule would.
func mark(tb testing.TB, s *Store, id string, in session.Input) {
	tb.Helper()
	snap, err := s.Load(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := session.Step(snap.State, in, session.DefaultPolicy, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	b := store.Batch{State: c.State, Expect: snap.Version, Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes}
	if _, err := s.Append(tb.Context(), id, b); err != nil {
		tb.Fatal(err)
	}
}

// A node of an earlier version writes a state without marks, and leaves the field with their
// letters. The state counts. A session that such a node has made has no letters.
func TestMarksBesideAnEarlierVersion(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	for _, id := range []string{"stale", "without", "marked"} {
		atRest(t, s, id)
	}
	key := func(id string) string { keys, _ := s.keys(id); return keys[0] }
	do(t, server, "HSET", key("stale"), "marks", "au")
	do(t, server, "HDEL", key("without"), "marks")
	mark(t, s, "marked", session.InMark{Archived: new(true)})
	for _, c := range []struct {
		q    store.ListQuery
		want string
	}{
		{store.ListQuery{User: "u", Archived: new(true)}, "[marked]"},
		{store.ListQuery{User: "u", Archived: new(false)}, "[without stale]"},
		{store.ListQuery{User: "u", Class: store.News}, "[]"},
	} {
		c.q.Limit = 10
		got, _, err := s.List(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, snap := range got {
			ids = append(ids, snap.State.Info.SessionID)
		}
		if fmt.Sprint(ids) != c.want {
			t.Errorf("%+v: %v, want %s", c.q, ids, c.want)
		}
	}
}

// BenchmarkInboxOf10000 lists what an inbox needs of a user with 10,000 sessions at rest, of
// which three are unread.
func BenchmarkInboxOf10000(b *testing.B) {
	server := valkeytest.Start(b, valkeytest.Valkey(b))
	s := open(b, server.URL(), space(), func(o *Options) { o.Log = nil })
	const n = protocol.InboxScan
	for i := range n {
		id := fmt.Sprintf("s%05d", i)
		atRest(b, s, id)
		if i%(n/3) == 1 {
			for _, in := range []session.Input{
				session.InMessage{Data: protocol.MessageData{MessageID: "m1", Content: []byte(`"hi"`), UserID: "u"}}, session.InAssign{Worker: "w", Workspace: "ws"},
				session.InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}},
			} {
				mark(b, s, id, in)
			}
		}
	}
	for name, q := range map[string]store.ListQuery{
		"working": {User: "u", Class: store.Working, Limit: 300, Scan: n},
		"news":    {User: "u", Class: store.News, Archived: new(false), Limit: 50, Scan: n},
		"all":     {User: "u", Limit: 200},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.List(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
