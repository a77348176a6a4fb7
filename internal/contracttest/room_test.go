package contracttest

import (
	"net/http"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// gone waits until a session is not found any more.
func (s session) gone(n *node) {
	n.t.Helper()
	judge.Within(n.t, time.Minute, "the session is gone", func() bool {
		return n.call("GET", s.path, "", s.bearer()...).StatusCode == http.StatusNotFound
	})
}

// A store on disk keeps so many sessions: those that have slept longest expire, and are
// gone soon. One that is at work stays, however old it is.
func TestSessionsThatHaveSleptLongestExpire(t *testing.T) {
	t.Parallel()
	n := serve(t, "--data-dir", t.TempDir(), "--data-max-sessions", "3", "--agent-idle", "100ms", "--rate-sessions", "100/s:100")
	busy := n.create(`{}`)
	busy.send("/slow 600")
	busy.ws("").until("agent_started")
	oldest, next, last := n.create(`{}`), n.create(`{}`), n.create(`{}`)
	watched := oldest.ws("")
	if f := watched.until("closed"); string(f.Data) != `{"reason":"expired"}` {
		t.Errorf("closed with %s", f.Data)
	}
	oldest.gone(n)
	for _, s := range []session{busy, next, last} {
		if got := s.view().Status; got == protocol.StatusEnded {
			t.Errorf("a session that had room is %s", got)
		}
	}
	// What was used last is not what slept longest.
	if got := next.turn(next.ws(""), "hello").StopReason; got != protocol.StopEndTurn {
		t.Errorf("a turn ended with %s", got)
	}
	n.create(`{}`)
	last.gone(n)
	if next.view().Status == protocol.StatusEnded || busy.view().Status == protocol.StatusEnded {
		t.Error("a session went that was used later, or is at work")
	}
}

// The same for bytes.
func TestSessionsExpireForTheirBytes(t *testing.T) {
	t.Parallel()
	n := serve(t, "--data-dir", t.TempDir(), "--data-max-bytes", "1MiB", "--agent-idle", "100ms", "--rate-sessions", "100/s:100")
	var all []session
	for range 4 { // some 400 KiB each
		s := n.create(`{}`)
		if got := s.turn(s.ws(""), "/stream 100 4000 10000").StopReason; got != protocol.StopEndTurn {
			t.Fatalf("a turn ended with %s", got)
		}
		all = append(all, s)
	}
	all[0].gone(n)
	all[1].gone(n)
	if all[3].view().Status == protocol.StatusEnded {
		t.Error("the session that was used last has expired")
	}
}

// With --data-dir, sessions count for the limit of their user while they have an agent,
// or something to do: they can sleep for long.
func TestSleepingSessionsDoNotCount(t *testing.T) {
	t.Parallel()
	n := serve(t, "--data-dir", t.TempDir(), "--max-sessions-per-user", "2", "--agent-idle", "100ms", "--rate-sessions", "100/s:100")
	var all []session
	for range 5 {
		all = append(all, n.create(`{}`))
	}
	all[0].send("/slow 600")
	all[1].send("/slow 600")
	n.refused(http.StatusTooManyRequests, protocol.CodeSessionLimit, "POST", all[2].path+"/messages", `{"content":"hello","messageId":"m1"}`, all[2].bearer()...)
	n.refused(http.StatusTooManyRequests, protocol.CodeSessionLimit, "POST", "/api/sessions", `{}`)
	if events := all[2].history(); len(events) != 1 {
		t.Errorf("a refused message left %d events", len(events))
	}
	// One that is at work takes more messages, and an ended turn makes room.
	all[0].send("and more")
	ok[struct{}](n, http.StatusAccepted, "POST", all[1].path+"/cancel", `{}`, all[1].bearer()...)
	judge.Within(t, time.Minute, "the next one may wake up", func() bool {
		return n.call("POST", all[2].path+"/messages", `{"content":"hello","messageId":"m1"}`, all[2].bearer()...).StatusCode == http.StatusAccepted
	})
	if got := n.call("POST", "/api/sessions", `{}`).StatusCode; got != http.StatusCreated && got != http.StatusTooManyRequests {
		t.Errorf("create: %d", got)
	}
}
