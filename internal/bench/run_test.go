package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/protocol"
)

// faulty is a hub of one session, over SSE, that does one thing wrong.
type faulty struct {
	fault func(seqs []uint64) []uint64 // what a subscriber gets of a turn
	cut   bool                         // and then its connection ends

	mu   sync.Mutex
	last uint64
	subs []chan []uint64
}

func (h *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/sessions")
	switch path {
	case "POST ":
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(protocol.CreateResponse{SessionID: "s1", Token: "t"})
	case "GET /s1":
		h.mu.Lock()
		defer h.mu.Unlock()
		_ = json.NewEncoder(w).Encode(protocol.Session{SessionID: "s1", LastSeq: h.last})
	case "POST /s1/messages":
		h.turn(r)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("{}"))
	case "GET /s1/events":
		h.stream(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (h *faulty) turn(r *http.Request) {
	var m protocol.MessageRequest
	_ = json.NewDecoder(r.Body).Decode(&m)
	n, _, _ := streamArgs(m.Content)
	h.mu.Lock()
	defer h.mu.Unlock()
	var seqs []uint64
	for range n + 1 { // one for complete
		h.last++
		seqs = append(seqs, h.last)
	}
	for i, s := range h.subs {
		if i == 0 {
			s <- h.fault(slices.Clone(seqs))
		} else {
			s <- seqs
		}
	}
}

func (h *faulty) stream(w http.ResponseWriter, r *http.Request) {
	turns := make(chan []uint64, 100)
	h.mu.Lock()
	first := len(h.subs) == 0
	h.subs = append(h.subs, turns)
	last := h.last
	h.mu.Unlock()
	w.Header().Set("Connection", "close") // as the hub does: the stream ends with it
	fmt.Fprintf(w, "data: %s\n\n", protocol.AppendControl(nil, protocol.ControlCaughtUp, time.Now(), protocol.CaughtUp{Seq: last}))
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case seqs := <-turns:
			for i, seq := range seqs {
				kind := protocol.EventOutput
				if i == len(seqs)-1 {
					kind = protocol.EventComplete
				}
				e := protocol.Entry{Seq: seq, Type: kind, Tail: protocol.AppendEventTail(nil, kind, time.Now(), []byte("{}"))}
				_, _ = w.Write(protocol.AppendEventSSE(nil, "e1", e))
			}
			w.(http.Flusher).Flush()
			if first && h.cut {
				return
			}
		}
	}
}

func TestRunFindsEveryFault(t *testing.T) {
	none := func(s []uint64) []uint64 { return s }
	for name, tc := range map[string]struct {
		fault func([]uint64) []uint64
		cut   bool
		want  Loss
	}{
		"none":   {fault: none},
		"loss":   {fault: func(s []uint64) []uint64 { return slices.Delete(s, 3, 5) }, want: Loss{Lost: 2}},
		"repeat": {fault: func(s []uint64) []uint64 { return slices.Insert(s, 4, s[3]) }, want: Loss{Repeated: 1}},
		"order":  {fault: func(s []uint64) []uint64 { s[3], s[4] = s[4], s[3]; return s }, want: Loss{Reordered: 1}},
		// It has seen the first turn of three.
		"cut": {fault: none, cut: true, want: Loss{Lost: 22, Dropped: 1, Reason: "EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			once := false
			hub := &faulty{cut: tc.cut, fault: func(s []uint64) []uint64 {
				if once {
					return s
				}
				once = true
				return tc.fault(s)
			}}
			server := httptest.NewServer(hub)
			defer server.Close()
			o, err := Preset(ModeFanout)
			if err != nil {
				t.Fatal(err)
			}
			o.Subscribers, o.Events, o.Window, o.Transport, o.Settle, o.Hub = 5, 30, 10, TransportSSE, 0, server.URL
			got, err := Run(t.Context(), o, nil, func(string) {})
			if got.Loss.Reason != "" && strings.Contains(got.Loss.Reason, "EOF") {
				got.Loss.Reason = "EOF"
			}
			if got.Loss != tc.want || errors.Is(err, ErrLoss) != (tc.want != Loss{}) || err != nil && !errors.Is(err, ErrLoss) {
				t.Errorf("got %+v, %v; want %+v", got.Loss, err, tc.want)
			}
			if got.Traffic == nil || !tc.cut && tc.want.Lost+tc.want.Repeated == 0 && got.Traffic.Delivered != 5*33 || got.Traffic.Latency.Samples == 0 {
				t.Errorf("traffic: %+v", got.Traffic)
			}
		})
	}
}

func TestRunSaysWhyAHubCannotBeReached(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // its port refuses
	o, err := Preset(ModeIdle)
	if err != nil {
		t.Fatal(err)
	}
	o.Subscribers, o.Sessions, o.Hub = 1, 1, server.URL
	if _, err := Run(t.Context(), o, nil, func(string) {}); err == nil || !strings.Contains(err.Error(), "create session") {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	hub := &faulty{fault: func([]uint64) []uint64 { return nil }} // the end of the turn never comes
	server := httptest.NewServer(hub)
	defer server.Close()
	o, err := Preset(ModeFanout)
	if err != nil {
		t.Fatal(err)
	}
	o.Subscribers, o.Events, o.Window, o.Transport, o.Settle, o.Hub = 2, 10, 10, TransportSSE, 0, server.URL
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, o, nil, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	o := Options{
		Mode: "x", Subscribers: 1 << 30, Sessions: -1, Events: -1, Bytes: 0, Rate: -1, Window: 0, Connecting: 0,
		Transport: "pigeon", Hub: "https://example.org", Admin: "localhost",
	}
	err := o.Check()
	for _, name := range []string{
		"subscribers", "sessions", "events", "bytes", "rate", "window", "connecting", "transport", "timeout", "hub", "admin",
	} {
		if err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("--%s is not named in: %v", name, err)
		}
	}
	for _, mode := range []string{ModeIdle, ModeFanout, ModeSessions} {
		o, err := Preset(mode)
		if err != nil || o.Check() != nil {
			t.Errorf("preset %s: %v, %v", mode, err, o.Check())
		}
	}
	relay, err := Preset(ModeRelay)
	if err != nil {
		t.Fatal(err)
	}
	relay.Valkey = "redis://127.0.0.1:6379"
	if err := relay.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Options){
		"nodes": func(o *Options) { o.Nodes = 1 }, "valkey-url": func(o *Options) { o.Valkey = "rediss://h:1" }, "both": func(o *Options) { o.Both = true },
		"bytes": func(o *Options) { o.Bytes = stampBytes - 1 }, "events": func(o *Options) { o.Events = 0 }, "hub": func(o *Options) { o.Hub = "http://h:1" },
		"mode relay": func(o *Options) { o.Mode = ModeFanout },
	} {
		o := relay
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("--%s is not named in: %v", name, err)
		}
	}
	if _, err := Preset("x"); err == nil {
		t.Error("an unknown mode passed")
	}
}

func TestOwnUsageIsReadFromProc(t *testing.T) {
	if _, _, err := cpuTime(1 << 30); err == nil {
		t.Error("a process that is not there has CPU time")
	}
	var sink int
	for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until); {
		sink++
	}
	user, system, err := cpuTime(os.Getpid())
	if err != nil || user+system < 10*time.Millisecond {
		t.Errorf("after %d rounds: %s, %s, %v", sink, user, system, err)
	}
	if n, err := rss(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("rss %d, %v", n, err)
	}
}
