package valkey

import (
	"strconv"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// A server that reads its files takes a SUBSCRIBE and refuses the HGET behind it.
// The client then repeated both, after it had given the first one's memory to other
// commands, and the node panicked. The soak found it with a server that was killed.
func TestServerThatLoadsTakesSubscriptions(t *testing.T) {
	// 40,000 lines with 100 us each; it listens in between, every 1,024 of them.
	const lines, delay = 40_000, 100
	server := valkeytest.Start(t, valkeytest.Valkey(t), "key-load-delay "+strconv.Itoa(delay))
	fill := "for i = 1, ARGV[1] do redis.call('SET', 'line', i) end"
	if _, err := server.Do("EVAL", fill, "0", strconv.Itoa(lines)); err != nil {
		t.Fatal(err)
	}
	s := open(t, server.URL(), space())
	state := &session.State{Status: protocol.StatusData{Status: protocol.StatusIdle}}
	state.Info.SessionID, state.Info.UserID = "loading", "ann"
	batch := store.Batch{State: state, Events: []session.NewEvent{{Type: protocol.EventStatus, Data: protocol.Marshal(state.Status)}}}
	if _, err := s.Create(t.Context(), "loading", batch, 0); err != nil {
		t.Fatal(err)
	}
	news := make(chan struct{}, 1)
	defer s.Watch("loading", func(store.Notice) {
		select {
		case news <- struct{}{}:
		default:
		}
	})()
	server.Kill()
	server.Restart()
	judge.Within(t, 20*time.Second, "the store", func() bool { return s.Available("") == nil })
	for len(news) > 0 {
		<-news
	}
	batch.Expect = 1
	if _, err := s.Append(t.Context(), "loading", batch); err != nil {
		t.Fatal(err)
	}
	select {
	case <-news:
	case <-time.After(judge.Patience):
		t.Error("no notice of an append")
	}
}
