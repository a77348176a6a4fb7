package disk

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/store"
)

// A listing of a user's sessions looks at no other user's, and neither it nor a census
// waits for who has the lock of all sessions: both took it, and looked at every session.
func TestListTouchesOneUsersSessions(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	for _, id := range []string{"s1", "other", "s2"} {
		create(t, s, id)
	}
	x, h, err := s.find("other")
	if err != nil {
		t.Fatal(err)
	}
	s.ages.Remove("u", x)
	s.ages.Add("another", x)
	x.head.Store(new(head)) // whoever looks at its state panics
	s.mu.Lock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		got, next, err := s.List(t.Context(), store.ListQuery{User: "u", Limit: 5})
		if err != nil || next != "" || len(got) != 2 || got[0].State.Info.SessionID != "s2" || got[1].State.Info.SessionID != "s1" {
			t.Errorf("%d sessions of the user, next %q, %v", len(got), next, err)
		}
		x.head.Store(h)
		c, _, err := s.Census(t.Context())
		if err != nil || c.Sessions[h.state.Status.Status] != 3 {
			t.Errorf("census %v, %v", c, err)
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("a listing waits for the lock of all sessions")
	}
	s.mu.Unlock()
	<-ended
}
