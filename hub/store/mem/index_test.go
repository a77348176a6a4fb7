package mem

import (
	"fmt"
	"testing"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

type numbered struct {
	order uint64
	user  string
}

func (n numbered) Order() uint64 { return n.order }

// A listing of a user's sessions looks at no other user's, and holds no lock while it
// looks: a session can be added and removed from inside.
func TestListLooksAtOneUsersSessions(t *testing.T) {
	var x Index[numbered]
	last := uint64(0)
	add := func(user string) numbered {
		last++
		s := numbered{last, user}
		x.Add(user, s)
		return s
	}
	for i := range 4 * pageSize {
		add(fmt.Sprint("u", i%4))
	}
	state := &session.State{Status: protocol.StatusData{Status: protocol.StatusIdle}}
	looks := 0
	_, next, err := x.List(store.ListQuery{User: "u1", Limit: 10}, func(s numbered) (store.Snapshot, bool) {
		looks++
		if s.user != "u1" {
			t.Errorf("a session of %s", s.user)
		}
		x.Remove("u2", add("u2"))
		return store.Snapshot{State: state}, true
	})
	if err != nil || next == "" || looks != 11 {
		t.Errorf("%d looks for 10 sessions, next %q, %v", looks, next, err)
	}
	var c store.Census
	x.Count(&c, func(s numbered) (*session.State, bool) {
		x.Remove("u3", s)
		return state, s.user != "u0"
	})
	if got := c.Sessions[protocol.StatusIdle]; got != 3*pageSize {
		t.Errorf("%d sessions are counted, want %d", got, 3*pageSize)
	}
}
