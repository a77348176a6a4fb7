package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// hostileWay is one way of speaking ACP wrongly, and what must come of it.
type hostileWay struct {
	name    string
	agent   func(*hostile) // the program; it ends with exit 0 when this returns
	users   users
	timeout time.Duration // of the start; 0: long
	want    outcome
}

// users is what people do meanwhile.
type users int

const (
	watch   users = iota
	cancels       // once there is output
	deletes       // once there is output
	rejects       // whatever they are asked
)

// outcome is how the message ends. The zero value is the end of a turn as it
// should be.
type outcome struct {
	stop  string   // end_turn if empty
	code  string   // of the error
	says  string   // in the error's message or, with end_turn, in the answer's text
	kinds []string // agent_updates, and events about the session, that the log must have in the end; and inBackground, before an event type
}

// inBackground stands before the type of an event without a message.
const inBackground = "background "

// probeMost is how long a hub full of bad agents may take to answer: all of them
// share this machine's processors with it.
const probeMost = time.Second

func hostileWays() []hostileWay {
	return slices.Concat(hostileStarts(), hostileTurns(), hostileProcesses())
}

const (
	// hostileAtOnce is how many ways run at the same time.
	hostileAtOnce = 12
	// hostileMost bounds one way: an agent may be silent for 40 s, take 10 s to
	// obey a cancel, and has 2 s between SIGTERM and SIGKILL. Megabytes take long
	// under the race detector, on a machine that is busy with other tests.
	hostileMost = 5 * time.Minute
	// heapMost is what this process may hold of it all. The log of a deleted
	// session stays for a minute, 16 MiB at most each.
	heapMost = 300 << 20
)

// Agents that speak ACP wrongly in many ways, all of them in one hub, harm
// nobody: a well-behaved session beside them loses nothing, the hub answers, each
// message has exactly one complete that says what was wrong, each session can be
// deleted, and no process is left.
func TestHostileAgentsHarmNobody(t *testing.T) {
	mark := "hostile-" + rand.Text()
	t.Run("hub", func(t *testing.T) {
		ways := hostileWays()
		h := startHub(t, "--providers-file", hostileProviders(t, ways, mark), "--turn-timeout", "40s", "--worker-buffer", "256KiB",
			"--worker-capacity", "100", "--max-sessions-per-user", "1000", "--max-connections-per-user", "1000")
		// Those that take long by a timeout come first.
		slices.SortStableFunc(ways, func(a, b hostileWay) int { return int(a.patience() - b.patience()) })

		good := h.create(protocol.CreateRequest{})
		sub, err := h.ws(t.Context(), good, "0")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.close()
		h.send(good, "/stream 3000 20 100")

		ctx, cancel := context.WithCancel(t.Context())
		var prober, cases sync.WaitGroup
		defer prober.Wait()
		defer cancel()
		prober.Go(func() { h.probe(ctx, good) })
		places := make(chan struct{}, hostileAtOnce)
		for _, w := range ways {
			s := h.create(protocol.CreateRequest{Provider: w.name})
			cases.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				if err := h.suffer(t.Context(), w, s); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
			})
		}
		judge.Within(t, 20*time.Second, "an agent runs", func() bool { return len(markedProcesses(t, mark)) > 0 })
		wholeStream(t, sub, 3000, 20)
		cases.Wait()
		cancel()
		prober.Wait()

		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		t.Logf("%d ways; heap %d MiB", len(ways), mem.HeapAlloc>>20)
		if mem.HeapAlloc > heapMost {
			t.Errorf("%d MiB are held after all is over", mem.HeapAlloc>>20)
		}
		runtime.KeepAlive(h)
	})
	// The hub has stopped.
	judge.Within(t, 5*time.Second, "every process is gone", func() bool { return len(markedProcesses(t, mark)) == 0 })
}

// patience orders the ways by how long they wait for a timeout.
func (w hostileWay) patience() int {
	switch {
	case w.users == cancels || w.want.code == protocol.TurnTimedOut:
		return 0
	case w.timeout != 0:
		return 1
	}
	return 2
}

// hostileProviders writes a providers file with one provider for each way.
func hostileProviders(t *testing.T, ways []hostileWay, mark string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	providers := make(map[string]any)
	for _, w := range ways {
		timeout := w.timeout
		if timeout == 0 {
			timeout = 30 * time.Second
		}
		if providers[w.name] != nil {
			t.Fatalf("two ways are called %s", w.name)
		}
		providers[w.name] = map[string]any{
			"command": self, "args": []string{"hostile-agent", w.name, mark}, "startTimeout": timeout.String(),
		}
	}
	file := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(file, protocol.Marshal(providers), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wholeStream reads a /stream turn: every piece once, in order, and its end.
func wholeStream(t *testing.T, sub stream, pieces, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hostileMost)
	defer cancel()
	var all []hubtest.Frame
	for started := time.Now(); ; {
		f, err := sub.next(ctx)
		if err != nil {
			t.Fatalf("the well-behaved session, after %d frames: %v", len(all), err)
		}
		if f.Type == protocol.EventType(protocol.ControlGap) {
			t.Errorf("the well-behaved session has a gap: %s", f.Raw)
		}
		if f.Seq != 0 {
			all = append(all, f)
		}
		if n := len(all); f.Seq != 0 && f.Seq != uint64(n) {
			t.Fatalf("event %d of the well-behaved session has seq %d", n, f.Seq)
		}
		if f.Type == protocol.EventComplete {
			t.Logf("the well-behaved turn took %v", time.Since(started))
			break
		}
	}
	if c := completeOf(t, all); c.StopReason != protocol.StopEndTurn {
		t.Errorf("the well-behaved session ends with %+v", c)
	}
	lines := strings.Split(strings.TrimSuffix(text(t, all), "\n"), "\n")
	if len(lines) != pieces {
		t.Fatalf("the well-behaved session has %d pieces, want %d", len(lines), pieces)
	}
	for i, line := range lines {
		if number, _, _ := strings.Cut(line, " "); number != fmt.Sprint(i+1) || len(line) != size-1 {
			t.Fatalf("piece %d is %q", i+1, line)
		}
	}
}

// probe asks again and again whether the hub is well, until ctx ends.
func (h *hubUnderTest) probe(ctx context.Context, s protocol.CreateResponse) {
	var worst time.Duration
	var peak uint64
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	n := 0
	for ; ctx.Err() == nil; n++ {
		for _, path := range []string{"/healthz", "/api/sessions/" + s.SessionID} {
			started := time.Now()
			status, _, err := h.request(ctx, s, "GET", path, nil)
			took := time.Since(started)
			switch {
			case ctx.Err() != nil:
			case err != nil || status != http.StatusOK:
				h.t.Errorf("GET %s: %d, %v", path, status, err)
			}
			worst = max(worst, took)
		}
		metrics.Read(heap)
		peak = max(peak, heap[0].Value.Uint64())
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	h.t.Logf("%d probes; at most %d MiB of heap", n, peak>>20)
	judge.AtMost(h.t, "the slowest probe", worst, probeMost)
}

// request is call for goroutines: it returns what goes wrong.
func (h *hubUnderTest) request(ctx context.Context, s protocol.CreateResponse, method, path string, body any) (int, []byte, error) {
	var reader io.Reader
	if body != nil {
		reader = strings.NewReader(string(protocol.Marshal(body)))
	}
	req, err := http.NewRequestWithContext(ctx, method, h.url+path, reader)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, raw, err
}

// victim is a session of a bad agent, seen by its users. One goroutine owns it.
type victim struct {
	h    *hubUnderTest
	s    protocol.CreateResponse
	way  hostileWay
	sub  stream
	text strings.Builder // of the answer, its beginning

	completes []protocol.CompleteData
	kinds     map[string]bool
	open      map[string]bool // questions
	acted     bool            // the users have cancelled or deleted
	closed    bool
}

// suffer runs one way from its message to the end of its session.
func (h *hubUnderTest) suffer(ctx context.Context, w hostileWay, s protocol.CreateResponse) error {
	ctx, cancel := context.WithTimeout(ctx, hostileMost)
	defer cancel()
	v := &victim{h: h, s: s, way: w, kinds: make(map[string]bool), open: make(map[string]bool)}
	if err := v.subscribe(ctx); err != nil {
		return err
	}
	defer v.sub.close()
	if err := v.post(ctx, http.StatusAccepted, "/messages", protocol.MessageRequest{Content: protocol.Marshal("do your worst")}); err != nil {
		return err
	}
	err := v.until(ctx, func() bool {
		missing := func(kind string) bool { return !v.kinds[kind] }
		return len(v.completes) > 0 && !slices.ContainsFunc(w.want.kinds, missing)
	})
	if err != nil {
		return fmt.Errorf("%w; completes %+v, agent updates %v", err, v.completes, slices.Sorted(maps.Keys(v.kinds)))
	}
	if w.users != deletes {
		if err := v.remove(ctx); err != nil {
			return err
		}
	}
	if err := v.until(ctx, func() bool { return v.closed }); err != nil {
		return fmt.Errorf("after the delete: %w", err)
	}
	return v.judge()
}

// subscribe opens a stream of either transport.
func (v *victim) subscribe(ctx context.Context) error {
	if len(v.way.name)%2 == 0 {
		sub, err := v.h.ws(ctx, v.s, "0")
		v.sub = sub
		return err
	}
	sub, err := v.h.sse(ctx, v.s, "")
	v.sub = sub
	return err
}

func (v *victim) post(ctx context.Context, want int, path string, body any) error {
	status, raw, err := v.h.request(ctx, v.s, "POST", "/api/sessions/"+v.s.SessionID+path, body)
	if err == nil && status != want {
		err = fmt.Errorf("%d %.500s", status, raw)
	}
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return nil
}

func (v *victim) remove(ctx context.Context) error {
	path := "/api/sessions/" + v.s.SessionID
	status, raw, err := v.h.request(ctx, v.s, "DELETE", path, nil)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("%d %.500s", status, raw)
	}
	if err == nil {
		if status, _, err = v.h.request(ctx, v.s, "GET", path, nil); err == nil && status != http.StatusNotFound {
			err = fmt.Errorf("it is still there: %d", status)
		}
	}
	if err != nil {
		return fmt.Errorf("DELETE: %w", err)
	}
	return nil
}

// until reads the stream, and does what the users do, up to a state of things.
func (v *victim) until(ctx context.Context, enough func() bool) error {
	for !enough() {
		f, err := v.sub.next(ctx)
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		if err := v.take(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (v *victim) take(ctx context.Context, f hubtest.Frame) error {
	var data struct { // of output, agent_update, tool_approval and approval_resolved
		Text          string `json:"text"`
		Kind          string `json:"kind"`
		InteractionID string `json:"interactionId"`
		MessageID     string `json:"messageId"`
	}
	if err := json.Unmarshal(f.Data, &data); err != nil {
		return fmt.Errorf("%.500s: %w", f.Raw, err)
	}
	if data.MessageID == "" {
		v.kinds[inBackground+string(f.Type)] = true
	}
	switch f.Type {
	case protocol.EventOutput:
		if v.text.Len() < 64<<10 {
			v.text.WriteString(data.Text)
		}
		return v.act(ctx)
	case protocol.EventToolApproval:
		if data.MessageID != "" {
			v.open[data.InteractionID] = true
		}
		if v.way.users == rejects {
			return v.post(ctx, http.StatusOK, "/approve", protocol.ApproveRequest{InteractionID: data.InteractionID, Decision: protocol.RejectOnce})
		}
	case protocol.EventApprovalResolved:
		delete(v.open, data.InteractionID)
	case protocol.EventAgentUpdate:
		v.kinds[data.Kind] = true
	case protocol.EventNotice, protocol.EventCommands, protocol.EventUsage, protocol.EventSessionInfo:
		v.kinds[string(f.Type)] = true
	case protocol.EventComplete:
		var c protocol.CompleteData
		if err := json.Unmarshal(f.Data, &c); err != nil {
			return fmt.Errorf("%.500s: %w", f.Raw, err)
		}
		if v.completes = append(v.completes, c); len(v.open) > 0 {
			return fmt.Errorf("%d questions are open at the turn's end", len(v.open))
		}
	case protocol.EventClosed:
		v.closed = true
	}
	return nil
}

// act is what the users do when they see output.
func (v *victim) act(ctx context.Context) error {
	if v.acted {
		return nil
	}
	v.acted = true
	switch v.way.users {
	case cancels:
		return v.post(ctx, http.StatusAccepted, "/cancel", protocol.CancelRequest{})
	case deletes:
		return v.remove(ctx)
	}
	return nil
}

// judge compares the whole record with what was wanted.
func (v *victim) judge() error {
	want := v.way.want
	if want.stop == "" {
		want.stop = protocol.StopEndTurn
	}
	if len(v.completes) != 1 {
		return fmt.Errorf("%d completes: %+v", len(v.completes), v.completes)
	}
	c := v.completes[0]
	said, code := v.text.String(), ""
	if c.Error != nil {
		said, code = c.Error.Message, c.Error.Code
		if strings.ContainsAny(said, "\x00\x1b") || said == "" || len(said) > 64<<10 {
			return errors.New("the error's message is not fit to be shown")
		}
	}
	if c.StopReason != want.stop || code != want.code || !strings.Contains(said, want.says) {
		return fmt.Errorf("it ended with %s %s %.300q, want %s %s %q", c.StopReason, code, said, want.stop, want.code, want.says)
	}
	return nil
}

// markedProcesses are those with the mark in their command line.
func markedProcesses(t *testing.T, mark string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), mark) {
			found = append(found, file+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
