package app

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
	"sessionhub/worker"
	"sessionhub/worker/wslink"
)

// The worker's link is with one node, the client with another, and the link has every fault
// that a network has: each request for a file, a change or a diff is answered or refused in
// bounded time, and nothing of it stays behind.
func TestFilesOverTwoNodesAndAFaultyLink(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := map[string]string{"SESSIONHUB_TOKEN_SECRET": clusterEnv["SESSIONHUB_TOKEN_SECRET"], "SESSIONHUB_WORKER_KEY": testWorkerKey}
	near := startHubEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	far := startHubEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	proxy, err := faultproxy.New(near.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	root := t.TempDir()
	text := make([]byte, 700_000)
	for i := range text {
		text[i] = byte('a' + i%26)
	}
	if err := os.WriteFile(filepath.Join(root, "long.txt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "-C", root, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git: %v: %s", err, out)
	}
	w, err := worker.New(worker.Config{Root: root, Providers: map[string]worker.Provider{"demo": {Command: "true"}}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	hub, err := wslink.ParseHub("http://" + proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	dialer := wslink.NewDialer(hub, testWorkerKey)
	t.Cleanup(dialer.Close)
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(t.Context(), dialer.Dial) })
	t.Cleanup(running.Wait)

	s := far.create(protocol.CreateRequest{})
	// wanted has each request, and whether an answer is whole.
	type wanted struct {
		path  string
		whole func(body string) bool
	}
	wants := []wanted{
		{"/files/content?path=long.txt", func(body string) bool { return body == string(text) }},
		{"/changes", func(body string) bool {
			return strings.Contains(body, `"path":"long.txt"`) && strings.HasSuffix(body, "}")
		}},
		{"/changes/diff?path=long.txt", func(body string) bool {
			var d protocol.FileDiff
			return protocol.Decode([]byte(body), &d) == nil && d.Size > len(text) && d.NextOffset == len(d.Diff)
		}},
	}
	ask := func(h *hubUnderTest, want wanted) (status int, code protocol.Code) {
		t.Helper()
		began := time.Now()
		resp, err := http.Get(h.url + "/api/sessions/" + s.SessionID + want.path)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		body, broken := io.ReadAll(resp.Body)
		if took := time.Since(began); took > patience {
			t.Errorf("an answer came after %s", took)
		}
		if resp.StatusCode == http.StatusOK {
			if broken == nil && !want.whole(string(body)) {
				t.Errorf("%s: %d bytes that are not its", want.path, len(body))
			}
			if broken != nil { // its worker did not answer in time behind the first part
				return 0, protocol.CodeWorkerTimeout
			}
			return resp.StatusCode, ""
		}
		var p protocol.Problem
		if err := protocol.Decode(body, &p); err != nil {
			t.Errorf("%d: %s", resp.StatusCode, body)
		}
		return resp.StatusCode, p.Code
	}
	works := func(what string) {
		t.Helper()
		judge.Within(t, patience, what, func() bool {
			for _, want := range wants {
				one, _ := ask(near, want)
				two, _ := ask(far, want)
				if one != http.StatusOK || two != http.StatusOK {
					return false
				}
			}
			return true
		})
	}
	works("both nodes read a file and its changes")

	refusals := map[string]int{}
	var mu sync.Mutex
	during := func(name string, begin, end func()) {
		t.Helper()
		begin()
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				status, code := ask([]*hubUnderTest{near, far}[i%2], wants[i%3])
				switch {
				case status == http.StatusOK:
				case code == protocol.CodeNoWorker, code == protocol.CodeWorkerTimeout:
				default:
					t.Errorf("%s: %d %s", name, status, code)
				}
				mu.Lock()
				defer mu.Unlock()
				refusals[fmt.Sprintf("%s %d %s", name, status, code)]++
			})
		}
		wg.Wait()
		end()
		works("after " + name)
	}
	during("slow", func() { proxy.Slow(200_000) }, proxy.Heal)
	during("cut", proxy.Cut, func() {})
	during("refused", func() { proxy.Refuse(true); proxy.Cut() }, proxy.Heal)
	during("frozen", func() { proxy.Freeze(true) }, proxy.Heal)
	t.Log(refusals)
}
