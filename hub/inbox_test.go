package hub_test

import (
	"strings"
	"testing"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// A user has more sessions than an inbox looks at. It says so, and shows what it has seen.
func TestInboxSaysItsBound(t *testing.T) {
	w := newWorld(t, roomy)
	oldest := w.create()
	w.say(oldest, "m1")
	var rest []string
	for range protocol.InboxScan + 300 { // a store may look at a page more
		rest = append(rest, w.create())
	}
	newest := w.create()
	w.say(newest, "m1")
	in, err := w.hub.Inbox.Read(w.ctx, "u1")
	if err != nil || !in.Truncated || len(in.Working) != 1 || in.Working[0].Session.SessionID != newest {
		t.Fatalf("truncated %v, %d work, %v; want the newest alone", in.Truncated, len(in.Working), err)
	}
	for _, id := range rest[:600] {
		if err := w.store.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if in, err = w.hub.Inbox.Read(w.ctx, "u1"); err != nil || in.Truncated || len(in.Working) != 2 {
		t.Errorf("truncated %v, %d work, %v; want both", in.Truncated, len(in.Working), err)
	}
}

// A search stops at its bounds, says where it goes on, and names the logs that it has not
// read to the end.
func TestSearchSaysItsBounds(t *testing.T) {
	w := newWorld(t, roomy)
	oldest := w.create()
	w.say(oldest, "m1")
	for range protocol.SearchScan + 150 {
		w.create()
	}
	long := w.create()
	for range 2*protocol.SearchTextBytes>>20 + 1 {
		w.append(long, strings.Repeat("x", 1<<20))
	}
	w.append(long, "the needle")
	search := func(q hub.SearchQuery, pages int) (found, unsearched []string) {
		t.Helper()
		q.User, q.Limit = "u1", 10
		for page := 1; ; page++ {
			out, err := w.hub.Inbox.Search(w.ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range out.Sessions {
				found = append(found, s.State.Info.SessionID)
			}
			unsearched = append(unsearched, out.Unsearched...)
			if q.After = out.Next; out.Next == "" {
				if page != pages {
					t.Errorf("%q was searched for in %d requests, want %d", q.Text, page, pages)
				}
				return found, unsearched
			}
		}
	}
	if found, _ := search(hub.SearchQuery{Text: "HI"}, 2); len(found) != 1 || found[0] != oldest {
		t.Errorf("the first message: %v, want %s", found, oldest)
	}
	found, unsearched := search(hub.SearchQuery{Text: "needle", InLogs: true}, 3)
	if len(found) != 0 || len(unsearched) != 1 || unsearched[0] != long {
		t.Errorf("found %v, unsearched %v: want %s unsearched", found, unsearched, long)
	}
}
