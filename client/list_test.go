package client

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestSessionListIsWhatTheFeedSays(t *testing.T) {
	listed := func(change, id string, seq, asked int) string {
		return fmt.Sprintf(`{"type":"listed","data":{"change":%q,"session":{"sessionId":%q,"lastSeq":%d,"pendingApprovals":%d}}}`, change, id, seq, asked)
	}
	const complete = `{"type":"list_complete","data":{"sessions":0}}`
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		hub.list = [][]string{
			{
				listed("snapshot", "a", 1, 0), listed("snapshot", "b", 1, 1), listed("snapshot", "c", 1, 1), complete, listed("created", "d", 1, 0),
				listed("finished", "a", 2, 0), `{"type":"unlisted","data":{"sessionId":"a"}}`, `{"type":"unlisted","data":{"sessionId":"a"}}`,
			},
			{listed("snapshot", "x", 1, 0)}, // it is gone before this snapshot is over
			{listed("snapshot", "b", 1, 1), listed("snapshot", "c", 7, 1), listed("snapshot", "d", 1, 1), listed("snapshot", "e", 1, 0), complete},
		}
		ch := c.Channel(ChannelOptions{List: true, Stream: o})
		defer ch.Close()
		var list SessionList
		var got []string
		for completes := 0; completes < 2; {
			u, err := ch.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			changes, err := list.Take(u)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				got = append(got, c.What+" "+c.Session.SessionID)
			}
			if u.Type == "list_complete" {
				completes++
			}
			if last := strings.Join(got, ","); len(changes) > 0 && (strings.HasSuffix(last, "gone a") || strings.HasSuffix(last, "created x")) {
				hub.mu.Lock()
				hub.conns[len(hub.conns)-1].cut()
				hub.mu.Unlock()
			}
		}
		want := []string{
			"snapshot a", "snapshot b", "snapshot c", "created d", "finished a", "gone a", "created x",
			"changed b", "needs_you c", "needs_you d", "created e", "gone x",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if len(list.Sessions) != 4 || !list.Complete {
			t.Errorf("left: %v", list.Sessions)
		}
	})
}

func TestSessionListLeavesOtherUpdatesAlone(t *testing.T) {
	var list SessionList
	for _, u := range []Update{{SessionID: "a"}, {Frame: Frame{Event: protocol.Event{Type: "draining"}}}} {
		if changes, err := list.Take(u); len(changes) > 0 || err != nil {
			t.Errorf("%v: %v, %v", u, changes, err)
		}
	}
}
