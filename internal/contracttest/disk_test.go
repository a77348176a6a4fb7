package contracttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// kill ends the node as kill -9 does.
func (n *node) kill() {
	n.t.Helper()
	if err := n.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
	<-n.Ended
}

// on is the session on another node that has the same store.
func (s session) on(n *node) session {
	s.n = n
	s.EventsURL, s.WebsocketURL = n.URL+s.path+"/events", "ws://"+n.Host()+s.path+"/ws"
	return s
}

// history is a session's log, event by event, and where it ends.
func (s session) history() (events []json.RawMessage) {
	s.n.t.Helper()
	for after := "0"; ; {
		page := ok[struct {
			Events    []json.RawMessage
			NextAfter string
		}](s.n, http.StatusOK, "GET", s.path+"/history?limit=1000&after="+after, "", s.bearer()...)
		events = append(events, page.Events...)
		if page.NextAfter == "" {
			return events
		}
		after = page.NextAfter
	}
}

// reader is what a client has of a log.
type reader struct {
	t       *testing.T
	have    []hubtest.Frame
	resumed bool // the next event is the first one of a stream
}

func (r *reader) last() (seq uint64) {
	if n := len(r.have); n > 0 {
		seq = r.have[n-1].Seq
	}
	return seq
}

// take adds the next event. The first one of a stream can be a compacted one that takes
// the place of what is there of it, and of nothing else.
func (r *reader) take(f hubtest.Frame) {
	r.t.Helper()
	last := r.last()
	if first := f.First(); first != last+1 && (!r.resumed || first > last || f.Seq <= last) {
		r.t.Fatalf("event %d to %d came behind %d", first, f.Seq, last)
	}
	r.resumed = false
	for r.last() >= f.First() {
		r.have = r.have[:len(r.have)-1]
	}
	if r.last() != f.First()-1 {
		r.t.Fatalf("event %d to %d takes the place of a part of one that ends at %d", f.First(), f.Seq, last)
	}
	r.have = append(r.have, f)
}

// segments are the events, with the pieces of a text put together: in this form it is
// the same whether they are compacted or not.
func segments(t *testing.T, events []hubtest.Frame) (out []string) {
	t.Helper()
	of := ""
	for _, f := range events {
		if f.Type != protocol.EventOutput {
			out, of = append(out, f.Raw), ""
			continue
		}
		d := hubtest.Decode[protocol.OutputData](t, f.Data)
		if is := "output " + d.Kind + " of " + d.MessageID + ": "; is != of {
			out, of = append(out, is), is
		}
		out[len(out)-1] += d.Text
	}
	return out
}

// compacted waits until each text is in one event, or in so few as have room for it, and
// gives the log.
func (s session) compacted() (log []hubtest.Frame) {
	s.n.t.Helper()
	judge.Within(s.n.t, 30*time.Second, "a compacted log", func() bool {
		log = nil
		for _, raw := range s.history() {
			log = append(log, hubtest.Frame{Event: hubtest.Decode[protocol.Event](s.n.t, raw), Raw: string(raw)})
		}
		for i := 1; i < len(log); i++ {
			if len(segments(s.n.t, log[i-1:i+1])) == 1 && len(log[i-1].Raw)+len(log[i].Raw) <= compactedBytes {
				return false
			}
		}
		return true
	})
	return log
}

// compactedBytes is what an event of compacted ones has room for: docs/PROTOCOL.md.
const compactedBytes = 64 << 10

// in ends the test unless a log has all that the client has.
func (r *reader) in(log []hubtest.Frame) {
	r.t.Helper()
	type form struct{ from, seq uint64 }
	forms := make(map[form]string)
	for _, f := range log {
		forms[form{f.First(), f.Seq}] = f.Raw
	}
	for _, f := range r.have {
		if raw, same := forms[form{f.First(), f.Seq}]; same && raw != f.Raw {
			r.t.Fatalf("event %d was delivered as %s, and is %s", f.Seq, f.Raw, raw)
		}
	}
	have, all := segments(r.t, r.have), segments(r.t, log)
	for i, text := range have {
		if i >= len(all) || all[i] != text && (i < len(have)-1 || !strings.HasPrefix(all[i], text)) {
			r.t.Fatalf("up to event %d was delivered; part %d, %.200q, is not in the log of %d", r.last(), i, text, len(all))
		}
	}
}

// A node with --data-dir is killed in the middle of turns, several times. Its clients
// come back with their cursors: each gets every event once, in order, and what it had
// seen before is in the log, in the form that it saw or in another. Tokens work, titles, rules and questions are there, a
// message that ran ends with worker_lost, and the next one is answered.
func TestKilledWithSessionsOnDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	root := t.TempDir()
	start := func() *node {
		return serve(t, "--data-dir", dir, "--workspace-root", root, "--log-max-events", "1000000", "--compact-after", "10ms")
	}
	n := start()
	const sessions, kills = 4, 5
	var all []session
	seen := make([]*reader, sessions)
	sent := make([][]string, sessions) // messages that were accepted
	for i := range sessions {
		seen[i] = &reader{t: t}
		all = append(all, n.create(fmt.Sprintf(`{"provider":"demo","title":"number %d"}`, i)))
	}
	for round := range kills {
		if round%2 == 1 { // what ran when it was killed last: its reader stands within it
			all[round%sessions].on(n).compacted()
		}
		var streams []*stream
		for i, s := range all {
			s = s.on(n)
			query := ""
			if n := len(seen[i].have); n > 0 {
				query = "?after=" + seen[i].have[n-1].ID
			}
			seen[i].resumed = true
			st := s.sse(query)
			st.until("connected")
			streams = append(streams, st)
			sent[i] = append(sent[i], s.send("/stream 100000 20 2000").MessageID)
		}
		for i, st := range streams {
			for range 30 + 20*i + 10*round { // in mid-stream, each somewhere else
				seen[i].take(st.nextEvent())
			}
		}
		n.kill()
		for i, st := range streams { // what was still under way to the clients
			at := len(st.seen)
			_ = st.rest()
			for _, f := range st.seen[at:] {
				if f.Seq != 0 {
					seen[i].take(f)
				}
			}
		}
		n = start()
	}
	for i, s := range all {
		s = s.on(n)
		judge.Within(t, 30*time.Second, "the end of what ran", func() bool { return s.view().Status == protocol.StatusIdle })
		if got := s.view().Title; got != fmt.Sprint("number ", i) {
			t.Errorf("title %q", got)
		}
		whole := reader{t: t}
		var log strings.Builder
		for _, f := range s.compacted() {
			whole.take(f)
			log.WriteString(f.Raw)
		}
		seen[i].in(whole.have)
		for _, id := range sent[i] {
			if !strings.Contains(log.String(), `"messageId":"`+id+`","content"`) {
				t.Errorf("session %d: message %s was accepted, and is not in the log", i, id)
			}
		}
		if got := strings.Count(log.String(), `"type":"complete"`); got != len(sent[i]) {
			t.Errorf("session %d: %d messages have %d ends", i, len(sent[i]), got)
		}
		if !strings.Contains(log.String(), `"worker_lost"`) {
			t.Errorf("session %d: no message ended with worker_lost", i)
		}
	}
	s := all[0].on(n)
	if got := s.turn(s.ws(""), "hello").StopReason; got != protocol.StopEndTurn {
		t.Errorf("the next message ended with %s", got)
	}
}

// Over a clean end cursors stay in their epoch, and an "always" holds.
func TestRestartedWithSessionsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := t.TempDir()
	n := serve(t, "--data-dir", dir, "--workspace-root", root)
	s := n.create(`{"provider":"demo"}`)
	st := s.ws("")
	s.send("/approve one")
	var asked protocol.ToolApprovalData
	if err := json.Unmarshal(st.until("tool_approval").Data, &asked); err != nil {
		t.Fatal(err)
	}
	ok[protocol.ApproveResponse](n, http.StatusOK, "POST", s.path+"/approve", string(protocol.Marshal(map[string]string{
		"interactionId": asked.InteractionID, "decision": "allow_always",
	})), s.bearer()...)
	st.until("complete")
	epoch := s.view().Epoch
	n.Terminate()
	<-n.Ended
	n = serve(t, "--data-dir", dir, "--workspace-root", root)
	s = s.on(n)
	if got := s.view().Epoch; got != epoch {
		t.Errorf("epoch %s after %s", got, epoch)
	}
	st = s.ws("?after=latest")
	s.send("/approve one")
	if f := st.until("approval_resolved"); !strings.Contains(string(f.Data), `"by":"rule"`) {
		t.Errorf("the rule is forgotten: %s", f.Data)
	}
}

// What is wrong with the directory is said in one line, with an exit of 1, and two
// processes never share one.
func TestDataDirThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	n := serve(t, "--data-dir", dir)
	if !strings.Contains(n.Banner, "sessions   "+dir) {
		t.Errorf("the banner does not say where sessions are kept:\n%s", n.Banner)
	}
	refused := func(dir, text string) {
		t.Helper()
		code, out := run(t, nil, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir)
		if code != 1 || !strings.Contains(out, "--data-dir") || !strings.Contains(out, text) {
			t.Errorf("exit %d: %s", code, out)
		}
	}
	refused(dir, "another sessionhub has it: end that process, or name another directory")
	strange := t.TempDir()
	if err := os.WriteFile(filepath.Join(strange, "thesis.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(strange, "it is not empty")
	if os.Getuid() != 0 {
		locked := t.TempDir()
		if err := os.Chmod(locked, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(filepath.Join(locked, "data"), "it cannot be written: give this user the right to")
	}
	if m := serve(t); !strings.Contains(m.Banner, "in memory, until this process ends (--data-dir keeps them)") {
		t.Errorf("the banner does not say that sessions are in memory:\n%s", m.Banner)
	}
}
