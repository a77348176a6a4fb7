package contracttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// command runs the program and wants this exit code and these texts.
func command(t *testing.T, code int, texts []string, args ...string) {
	t.Helper()
	got, out := run(t, nil, args...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("sessionhub %s does not say %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
	if got != code {
		t.Errorf("sessionhub %s: exit %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
}

// A node is copied in the middle of turns, goes on, and is lost with its directory. The
// copy is served: sessions, history, titles and tokens are there. What was delivered
// before the backup is in it, and what it has is a beginning of what was delivered.
// Clients that have seen more get a gap, and no event twice.
func TestBackupOfARunningNode(t *testing.T) {
	t.Parallel()
	dir, root := filepath.Join(t.TempDir(), "data"), t.TempDir()
	flags := []string{"--workspace-root", root, "--log-max-events", "1000000", "--data-dir"}
	n := serve(t, append(flags, dir)...)
	const sessions = 3
	var all []session
	var streams []*stream
	seen := make([][]hubtest.Frame, sessions)
	for i := range sessions {
		s := n.create(fmt.Sprintf(`{"provider":"demo","title":"number %d"}`, i))
		st := s.sse("")
		s.send("/stream 1000000 20 1000")
		all, streams = append(all, s), append(streams, st)
	}
	more := func(count int) {
		for i, st := range streams {
			for range count {
				seen[i] = append(seen[i], st.nextEvent())
			}
		}
	}
	more(50)
	command(t, 1, []string{"another sessionhub has it", "`sessionhub backup` makes a copy"}, "check", "--data-dir", dir)
	command(t, 1, []string{"another sessionhub has it"}, "upgrade", "--data-dir", dir)
	before := make([]int, sessions)
	for i := range before {
		before[i] = len(seen[i])
	}
	copied := filepath.Join(t.TempDir(), "copy")
	command(t, 0, []string{"made by the node that has the store", "the secret that signs tokens", "sessionhub serve --data-dir " + copied}, "backup", "--data-dir", dir, "--to", copied)
	made := time.Now()
	command(t, 0, []string{"sessions  3", "faults    0", "begins a new epoch"}, "check", "--data-dir", copied)
	command(t, 1, []string{"it holds a store already"}, "backup", "--data-dir", dir, "--to", copied)
	// What is stored from now on is not in the copy.
	for i, st := range streams {
		for at := len(seen[i]); !seen[i][at-1].Time.After(made); at++ {
			seen[i] = append(seen[i], st.nextEvent())
		}
	}
	n.kill()
	command(t, 0, []string{"sessions  3", "faults    0", "not clean"}, "check", "--data-dir", dir)
	second := filepath.Join(t.TempDir(), "second")
	command(t, 0, []string{"no node has the store"}, "backup", "--data-dir", dir, "--to", second)
	command(t, 0, []string{"sessions  3", "faults    0"}, "check", "--data-dir", second)

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	n = serve(t, append(flags, copied)...)
	for i, s := range all {
		s = s.on(n) // with its token
		judge.Within(t, 30*time.Second, "the end of what ran", func() bool { return s.view().Status == protocol.StatusIdle })
		if got := s.view().Title; got != fmt.Sprint("number ", i) {
			t.Errorf("title %q", got)
		}
		events := s.history()
		kept := 0 // events of the original
		for kept < len(events) && kept < len(seen[i]) && string(events[kept]) == seen[i][kept].Raw {
			kept++
		}
		if kept < before[i] {
			t.Fatalf("session %d: %d events were delivered before, the copy has %d", i, before[i], kept)
		}
		if kept == len(seen[i]) {
			t.Fatalf("session %d: the copy has all %d events: nobody has seen more", i, kept)
		}
		rest := make([]string, 0, len(events)-kept) // of the copy alone
		for _, raw := range events[kept:] {
			rest = append(rest, string(raw))
			if strings.Contains(string(raw), `"type":"output"`) {
				t.Errorf("session %d: the copy has an output that the original has not: %s", i, raw)
			}
		}
		// A client that has seen more than the copy has.
		last := seen[i][len(seen[i])-1]
		st := s.sse("?after=" + last.ID)
		gap := hubtest.Decode[protocol.Gap](t, json.RawMessage(st.until("gap").Data))
		if gap.Reason != protocol.GapEpochChanged || gap.FromSeq != uint64(kept+1) || gap.ToSeq != last.Seq || gap.Epoch != s.view().Epoch {
			t.Errorf("session %d: gap %+v; the copy has %d events and the client %d", i, gap, kept, last.Seq)
		}
		for _, want := range rest {
			if got := st.nextEvent(); got.Raw != want {
				t.Fatalf("session %d: behind the gap comes %s, want %s", i, got.Raw, want)
			}
		}
		// One that has not.
		st = s.sse("?after=" + seen[i][before[i]-1].ID)
		st.until("connected")
		for at := before[i]; at < len(events); at++ {
			if got := st.nextEvent(); got.Raw != string(events[at]) {
				t.Fatalf("session %d: event %d is %s, want %s", i, at+1, got.Raw, events[at])
			}
		}
		if got := s.turn(s.ws(""), "hello").StopReason; got != protocol.StopEndTurn {
			t.Errorf("the next message ended with %s", got)
		}
	}
}

// The copy of a store that had ended cleanly begins a new epoch, too: the original may
// go on in the old one before it is lost.
func TestBackupOfAnEndedNode(t *testing.T) {
	t.Parallel()
	dir, root := filepath.Join(t.TempDir(), "data"), t.TempDir()
	n := serve(t, "--workspace-root", root, "--data-dir", dir)
	s := n.create(`{"provider":"demo"}`)
	s.turn(s.ws(""), "hello")
	n.Terminate()
	<-n.Ended
	copied := filepath.Join(t.TempDir(), "copy")
	command(t, 0, []string{"clean: the next start goes on in the same epoch"}, "check", "--data-dir", dir)
	command(t, 0, []string{"nothing to do: format 1 is the newest"}, "upgrade", "--data-dir", dir)
	command(t, 0, nil, "backup", "--data-dir", dir, "--to", copied)
	// It goes on.
	n = serve(t, "--workspace-root", root, "--data-dir", dir)
	st := s.on(n).ws("?after=latest")
	s.on(n).turn(st, "this is lost")
	lost := st.last()
	epoch := s.on(n).view().Epoch
	n.kill()
	n = serve(t, "--workspace-root", root, "--data-dir", copied)
	s = s.on(n)
	if got := s.view().Epoch; got == epoch {
		t.Error("the copy goes on in the epoch of the original")
	}
	gap := hubtest.Decode[protocol.Gap](t, json.RawMessage(s.sse(fmt.Sprintf("?after=%s-%d", epoch, lost.Seq)).until("gap").Data))
	if gap.Reason != protocol.GapEpochChanged || gap.ToSeq != lost.Seq {
		t.Errorf("gap %+v", gap)
	}
}

// What is wrong is said, with the exit code for it.
func TestCommandsForAStore(t *testing.T) {
	for _, name := range []string{"check", "backup", "upgrade"} {
		command(t, 2, []string{"--data-dir: is not set"}, name)
		command(t, 2, []string{"unknown flag"}, name, "--nonsense", "x")
		command(t, 0, []string{"Usage: sessionhub " + name, "SESSIONHUB_DATA_DIR"}, name, "--help")
		args := []string{name, "--data-dir", filepath.Join(t.TempDir(), "nothing")}
		if name == "backup" {
			command(t, 2, []string{"--to: is not set"}, args...)
			args = append(args, "--to", filepath.Join(t.TempDir(), "copy"))
		}
		command(t, 1, []string{"there is no store of sessionhub in it"}, args...)
	}
	dir, root := filepath.Join(t.TempDir(), "data"), t.TempDir()
	n := serve(t, "--workspace-root", root, "--data-dir", dir)
	s := n.create(`{"provider":"demo"}`)
	s.turn(s.ws(""), "hello")
	n.Terminate()
	<-n.Ended
	tables, err := filepath.Glob(filepath.Join(dir, "sessions", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, table := range tables { // a bit in the middle of each
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(table, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, 1, []string{"fault in the store: the table ", "what to do: ", "the store has faults"}, "check", "--data-dir", dir)
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check"}, {"upgrade"}, {"backup", "--to", filepath.Join(t.TempDir(), "copy")},
		{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"},
	} {
		command(t, 1, []string{"a newer sessionhub wrote it: its format is 99, and this version reads 1; start a version at least as new as that one"},
			append(args, "--data-dir", dir)...)
	}
}
