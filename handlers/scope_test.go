package handlers

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// A token with the scope write alone writes. The answers to its commands say nothing of what
// others have written, and a refused command changes nothing.
func TestWriterReadsNothing(t *testing.T) {
	set := metrics.New(prometheus.NewRegistry(), metrics.Build{}, []string{"demo"})
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.Config{
		Node: "n1", Policy: hub.DefaultPolicy, Timers: hub.DefaultTimers,
		MaxEventBytes: 1 << 20, MaxConnectionsPerSession: 1, DefaultProvider: "demo", Providers: []string{"demo"}, Metrics: set, Log: log,
	}, mem.New(store.Retention{MaxEvents: 100, MaxBytes: 1 << 20}))
	snap, err := h.Create(t.Context(), "ana", "", protocol.CreateRequest{Title: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	id := snap.State.Info.SessionID
	s := &Server{cfg: Config{Hub: h, Metrics: set, Log: log}}
	as := func(scope auth.Scope, kind protocol.CommandType, data string) error {
		_, err := s.run(t.Context(), caller{user: "ana", scope: scope, remote: nowhere{}}, id, kind, []byte(data), hub.Admission{})
		return err
	}
	if err := as(auth.ScopeWrite, protocol.CommandMessage, `{"content":"secret","messageId":"m1"}`); err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[protocol.CommandType]string{protocol.CommandQueue: `{"action":"hold"}`, protocol.CommandRename: `{"title":"mine"}`} {
		if err := as(auth.ScopeWrite, kind, data); toAnswer(err).code != protocol.CodeScope {
			t.Errorf("%s by a writer: %v", kind, err)
		}
		now, err := h.Load(t.Context(), id)
		if err != nil || now.State.Title() != "secret" || now.State.Messages[0].Held {
			t.Fatalf("%s has changed the session: %v", kind, err)
		}
		if err := as(auth.ScopeRead|auth.ScopeWrite, kind, data); err != nil {
			t.Errorf("%s by a reader and writer: %v", kind, err)
		}
		if err := as(auth.ScopeRead|auth.ScopeWrite, protocol.CommandQueue, `{"action":"release"}`); err != nil {
			t.Fatal(err)
		}
		if err := as(auth.ScopeAll, protocol.CommandRename, `{"title":"secret"}`); err != nil {
			t.Fatal(err)
		}
	}
}

// nowhere is the address of a caller without a connection.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "nowhere" }
