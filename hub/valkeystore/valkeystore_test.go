package valkeystore

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"sessionhub/hub"
	"sessionhub/hub/hubtest"
	"sessionhub/internal/valkeytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The client closes connections to servers that its cluster has left, or
		// that go by another name there, 5 s later, also when it is closed itself.
		goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*clusterClient)._refresh.func2"),
		// It puts off a look at the topology by up to a second, and does not take
		// that back when it is closed.
		goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

// never is a bound that no test reaches.
const never = 1 << 40

// spaces numbers the key spaces of the tests: several share a server.
var spaces atomic.Int64

func space() string { return fmt.Sprintf("test%d:", spaces.Add(1)) }

// open opens a store, and closes it with the test.
func open(tb testing.TB, url, prefix string, change ...func(*Options)) *Store {
	tb.Helper()
	o := Options{
		URL: url, Prefix: prefix, Retention: Retention{MaxEvents: never, MaxBytes: never},
		Log: slog.New(slog.NewTextHandler(tb.Output(), nil)),
	}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func conform(t *testing.T, url string) {
	hubtest.Run(t, func(t *testing.T, r hubtest.Retention) hub.Store {
		return open(t, url, space(), func(o *Options) {
			if r.MaxEvents > 0 {
				o.Retention.MaxEvents = r.MaxEvents
			}
			if r.MaxBytes > 0 {
				o.Retention.MaxBytes = r.MaxBytes
			}
		})
	})
}

func TestConformanceOnValkey(t *testing.T) {
	t.Parallel()
	conform(t, valkeytest.Start(t, valkeytest.Valkey(t)).URL())
}

func TestConformanceOnRedis(t *testing.T) {
	t.Parallel()
	conform(t, valkeytest.Start(t, valkeytest.Redis(t)).URL())
}

func TestConformanceOnCluster(t *testing.T) {
	t.Parallel()
	conform(t, valkeytest.StartCluster(t, valkeytest.Valkey(t)).URL())
}

func TestConformanceOnRedisCluster(t *testing.T) {
	t.Parallel()
	conform(t, valkeytest.StartCluster(t, valkeytest.Redis(t)).URL())
}

func TestConformanceOnSentinels(t *testing.T) {
	t.Parallel()
	conform(t, valkeytest.StartSentinels(t, valkeytest.Valkey(t)).URL())
}
