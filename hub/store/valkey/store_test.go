package valkey

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/storetest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
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
		URL: url, Prefix: prefix,
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

// silence is how long a server may answer nothing in a test of what the store does while
// all is well: a busy machine stands still for seconds.
const silence = time.Minute

func conform(t *testing.T, url string) {
	storetest.Run(t, func(t *testing.T, r store.Retention) store.Store {
		return open(t, url, space(), func(o *Options) { o.Retention, o.CallTimeout = r, silence })
	})
}

// steadyCluster is a cluster whose servers do not call each other down.
func steadyCluster(t *testing.T, program string) *valkeytest.Cluster {
	return valkeytest.StartCluster(t, program, fmt.Sprintf("cluster-node-timeout %d", silence.Milliseconds()))
}

// A crash is a kill -9 of the server, in some of the runs: it takes a while each time.
func TestModel(t *testing.T) {
	t.Parallel()
	storetest.RunModel(t, func(t *testing.T, r store.Retention) (store.Store, storetest.Crash) {
		server := valkeytest.Start(t, valkeytest.Valkey(t))
		s := open(t, server.URL(), space(), func(o *Options) { o.Retention = r })
		if r.MaxBytes == 0 {
			return s, nil
		}
		return s, func(t *testing.T) store.Store {
			server.Restart()
			judge.Within(t, 20*time.Second, "word that the server is back", func() bool {
				_, err := s.Load(t.Context(), "none")
				return s.Available("") == nil && errors.Is(err, session.ErrNotFound)
			})
			return s
		}
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
	conform(t, steadyCluster(t, valkeytest.Valkey(t)).URL())
}

func TestConformanceOnRedisCluster(t *testing.T) {
	t.Parallel()
	conform(t, steadyCluster(t, valkeytest.Redis(t)).URL())
}

func TestConformanceOnSentinels(t *testing.T) {
	t.Parallel()
	set := valkeytest.StartSentinels(t, valkeytest.Valkey(t))
	set.Wait(silence)
	conform(t, set.URL())
}
