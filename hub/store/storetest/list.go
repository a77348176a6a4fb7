package storetest

import (
	"errors"
	"fmt"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// list reads all pages and returns the ids in order.
func (f *fixture) list(q store.ListQuery) []string {
	f.Helper()
	var ids []string
	for range 1000 {
		page, next, err := f.store.List(f.ctx, q)
		if err != nil {
			f.Fatalf("list %+v: %v", q, err)
		}
		if len(page) > q.Limit {
			f.Fatalf("%d sessions in a page of %d", len(page), q.Limit)
		}
		for _, s := range page {
			ids = append(ids, s.State.Info.SessionID)
		}
		if next == "" {
			return ids
		}
		if len(page) == 0 {
			f.Fatalf("an empty page of %+v that goes on", q)
		}
		q.After = next
	}
	f.Fatal("the list does not end")
	return nil
}

func testList(f *fixture) {
	if got, next, err := f.store.List(f.ctx, store.ListQuery{Limit: 10}); len(got) != 0 || next != "" || err != nil {
		f.Errorf("an empty store lists %d, %q, %v", len(got), next, err)
	}
	var want []string
	for i := range 23 {
		id := fmt.Sprintf("s%02d", (i*7)%23) // the ids' order is not that of age
		f.create(id, "u1")
		want = append([]string{id}, want...)
	}
	for _, limit := range []int{1, 2, 5, 22, 23, 24, 1000} {
		if got := f.list(store.ListQuery{Limit: limit}); !slices.Equal(got, want) {
			f.Errorf("pages of %d: %v\nwant %v", limit, got, want)
		}
	}
	// A full snapshot, not only a name.
	f.message(want[0], "m1")
	page, next, err := f.store.List(f.ctx, store.ListQuery{Limit: 1})
	if err != nil || len(page) != 1 || next == "" {
		f.Fatalf("%d sessions, next %q, %v", len(page), next, err)
	}
	if a, b := page[0], f.load(want[0]); a.Last != b.Last || a.First != b.First || a.Version != b.Version || a.Epoch() != b.Epoch() || !a.LastActivity.Equal(b.LastActivity) {
		f.Errorf("listed %+v, loaded %+v", a, b)
	}
	// Activity does not move a session. Sessions that come and go between two pages move no
	// other session.
	f.create("newest", "u1")
	if err := f.store.Delete(f.ctx, want[3]); err != nil {
		f.Fatal(err)
	}
	if err := f.store.Delete(f.ctx, want[0]); err != nil {
		f.Fatal(err)
	}
	rest := f.list(store.ListQuery{Limit: 4, After: next})
	if w := slices.Concat(want[1:3], want[4:]); !slices.Equal(rest, w) {
		f.Errorf("after the first page: %v\nwant %v", rest, w)
	}
}

func testListFilters(f *fixture) {
	for i := range 12 {
		id, user := fmt.Sprintf("s%02d", i), fmt.Sprintf("u%d", i%3)
		f.create(id, user)
		if i%2 == 0 {
			f.message(id, "m1")
		}
	}
	f.change("s03", session.InClose{Reason: protocol.ClosedExpired})
	f.change("s05", session.InClose{Reason: protocol.ClosedFailed, Detail: "no"})
	f.change("s07", session.InClose{Reason: protocol.ClosedDeleted}) // gone for all who list
	for _, c := range []struct {
		name string
		q    store.ListQuery
		want []string
	}{
		{"user", store.ListQuery{User: "u0"}, []string{"s09", "s06", "s03", "s00"}},
		{"status", store.ListQuery{Status: protocol.StatusQueued}, []string{"s10", "s08", "s06", "s04", "s02", "s00"}},
		{"both", store.ListQuery{User: "u1", Status: protocol.StatusQueued}, []string{"s10", "s04"}},
		{"ended", store.ListQuery{Status: protocol.StatusEnded}, []string{"s03"}},
		{"failed", store.ListQuery{Status: protocol.StatusFailed}, []string{"s05"}},
		{"none", store.ListQuery{Status: protocol.StatusRunning}, nil},
		{"nobody", store.ListQuery{User: "u"}, nil},
		{"all but the deleted", store.ListQuery{}, []string{"s11", "s10", "s09", "s08", "s06", "s05", "s04", "s03", "s02", "s01", "s00"}},
	} {
		for _, limit := range []int{1, 2, 100} {
			c.q.Limit = limit
			if got := f.list(c.q); !slices.Equal(got, c.want) {
				f.Errorf("%s, pages of %d: %v, want %v", c.name, limit, got, c.want)
			}
		}
	}
}

// Marks and classes choose sessions. A scan ends early, and goes on where it ended.
func testListClasses(f *fixture) {
	for i := range 40 {
		f.create(fmt.Sprintf("s%02d", i), "u1")
	}
	f.create("other", "u2")
	for _, id := range []string{"s05", "s11", "s30"} {
		f.change(id, session.InMark{Archived: new(true)})
	}
	f.change("s11", session.InMark{Archived: new(false)})
	f.message("s03", "m1")
	for _, id := range []string{"s05", "s20", "s21"} { // a finished turn each
		f.message(id, "m1")
		f.change(id, session.InAssign{Worker: "w", Workspace: "ws"})
		f.change(id, session.InActivity{})
		f.change(id, session.InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}})
	}
	f.change("s05", session.InMark{Archived: new(true)})
	f.change("s21", &session.InSeen{Seq: 100})
	yes, no := true, false
	for _, c := range []struct {
		name string
		q    store.ListQuery
		want []string
	}{
		{"archived", store.ListQuery{User: "u1", Archived: &yes}, []string{"s30", "s05"}},
		{"working", store.ListQuery{User: "u1", Class: store.Working}, []string{"s03"}},
		{"news", store.ListQuery{User: "u1", Class: store.News}, []string{"s20", "s05"}},
		{"news that are not archived", store.ListQuery{Class: store.News, Archived: &no}, []string{"s20"}},
		{"another user's", store.ListQuery{User: "u2", Class: store.News}, nil},
	} {
		for _, limit := range []int{1, 2, 100} {
			c.q.Limit = limit
			if got := f.list(c.q); !slices.Equal(got, c.want) {
				f.Errorf("%s, pages of %d: %v, want %v", c.name, limit, got, c.want)
			}
		}
		var got []string // by scans that find little
		c.q.Scan, c.q.After = 7, ""
		scans := 0
		for ; ; scans++ {
			page, next, err := f.store.List(f.ctx, c.q)
			if err != nil || scans > 100 {
				f.Fatalf("scan %d: %v", scans, err)
			}
			for _, s := range page {
				got = append(got, s.State.Info.SessionID)
			}
			if c.q.After = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, c.want) {
			f.Errorf("%s, by scans: %v, want %v", c.name, got, c.want)
		}
	}
	if got := len(f.list(store.ListQuery{User: "u1", Archived: &no, Limit: 9})); got != 38 {
		f.Errorf("%d sessions are not archived, want 38", got)
	}
}

func testListBadCursor(f *fixture) {
	f.create("s1", "u1")
	for _, after := range []string{"-", "!", " ", "a b", "\x00", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		if _, _, err := f.store.List(f.ctx, store.ListQuery{Limit: 10, After: after}); !errors.Is(err, session.ErrInvalid) {
			f.Errorf("cursor %q: %v, want ErrInvalid", after, err)
		}
	}
}
