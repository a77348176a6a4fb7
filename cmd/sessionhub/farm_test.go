package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/protocol"
)

const workerKey = "the-key-of-the-workers"

// farm is a hub with real workers, each a process of its own.
type farm struct {
	t    *testing.T
	hub  *soak.Hub
	root string // the workspace of all workers

	trees string // their worktrees
	wg    sync.WaitGroup
	key   string // API key
}

func newFarm(t *testing.T, env []string, flags ...string) *farm {
	t.Helper()
	f := &farm{t: t, root: t.TempDir(), trees: t.TempDir()}
	if env == nil {
		env = []string{"SESSIONHUB_WORKER_KEY=" + workerKey}
	}
	var err error
	f.hub, err = soak.Binary(binary).Serve(t.Context(), env, append([]string{
		"--worker", "none", "--rate-sessions", "100/s:100", "--rate-messages", "100/s:100", "--drain-timeout", "1s",
	}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.hub.Kill()
		f.wg.Wait() // the watchers' context ended before the cleanups
		http.DefaultClient.CloseIdleConnections()
		if strings.Contains(f.hub.Said(), workerKey) {
			t.Error("the hub's log has the worker key")
		}
		if t.Failed() {
			t.Logf("the hub's log:\n%s", f.hub.Said())
		}
	})
	return f
}

// worker starts a worker and waits for its link.
func (f *farm) worker(flags ...string) *soak.Process {
	f.t.Helper()
	return f.workerWith(f.hub.URL, workerKey, flags...)
}

func (f *farm) workerWith(hub, key string, flags ...string) *soak.Process {
	f.t.Helper()
	p, err := soak.Binary(binary).Worker(hub, key, append([]string{"--workspace-root", f.root, "--worktrees", f.trees, "--admin-listen", "127.0.0.1:0"}, flags...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		p.Kill()
		if strings.Contains(p.Said(), key) {
			f.t.Error("the worker's log has its key")
		}
		if f.t.Failed() {
			f.t.Logf("a worker's log:\n%s", p.Said())
		}
	})
	ctx, cancel := context.WithTimeout(f.t.Context(), judge.Patience)
	defer cancel()
	if _, err := p.Find(ctx, "linked to the hub"); err != nil {
		f.t.Fatal(err)
	}
	return p
}

// holds is how many sessions a worker has, by its own metrics.
func (f *farm) holds(p *soak.Process) int {
	f.t.Helper()
	url, err := p.Find(f.t.Context(), `metrics +(http://\S+)`)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.Get(url)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^sessionhub_link_sessions (\d+)$`).FindSubmatch(page)
	if m == nil {
		f.t.Fatalf("no link_sessions in\n%s", page)
	}
	count, _ := strconv.Atoi(string(m[1]))
	return count
}

// watched is a session with a client that watches it.
type watched struct {
	*client.Session
	f      *farm
	record *soak.Record
}

func (f *farm) session(r protocol.CreateRequest) *watched {
	f.t.Helper()
	c := &client.Client{BaseURL: f.hub.URL, APIKey: f.key}
	made, err := c.Create(f.t.Context(), r, "")
	if err != nil {
		f.t.Fatal(err)
	}
	s := &watched{c.Session(made.SessionID, made.Token), f, soak.NewRecord(made.SessionID)}
	f.wg.Go(func() { soak.Watch(f.t.Context(), f.hub.URL, made.SessionID, made.Token, s.record) })
	return s
}

func (s *watched) say(text, id string) {
	s.f.t.Helper()
	if _, err := s.Message(s.f.t.Context(), text, id); err != nil {
		s.f.t.Fatal(err)
	}
}

// end waits for the complete of a message.
func (s *watched) end(id string, most time.Duration) protocol.CompleteData {
	s.f.t.Helper()
	var end protocol.CompleteData
	judge.Within(s.f.t, most, "the complete of "+id, func() bool {
		turn, _ := s.record.Turn(id)
		if turn.End != nil {
			end = *turn.End
		}
		return turn.End != nil
	})
	return end
}

func (s *watched) endsWell(id string) {
	s.f.t.Helper()
	if c := s.end(id, 30*time.Second); c.StopReason != protocol.StopEndTurn {
		s.f.t.Errorf("%s ended with %+v %+v", id, c, c.Error)
	}
}

// runs waits until a message's output comes.
func (s *watched) runs(id string) {
	s.f.t.Helper()
	judge.Within(s.f.t, 30*time.Second, id+" runs", func() bool { turn, _ := s.record.Turn(id); return turn.Text != "" })
}

func (s *watched) is(want protocol.Status) bool { return s.record.Status() == want }

// fine wants nothing wrong in what the client saw.
func (s *watched) fine() {
	s.f.t.Helper()
	for _, finding := range s.record.Findings() {
		s.f.t.Error(finding)
	}
}
