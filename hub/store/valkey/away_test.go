package valkey

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// A frozen server is told within 2 s, as Available promises, although the client
// takes a second more to end a connection to it.
func TestFrozenServerIsToldInTime(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	best := time.Hour // of a few: what a busy machine adds is in none of them always
	for range 4 {
		judge.Within(t, 20*time.Second, "word that it is there", func() bool { return s.Available("") == nil })
		server.Stop()
		began := time.Now()
		judge.Within(t, 20*time.Second, "word that it is frozen", func() bool { return s.Available("") != nil })
		best = min(best, time.Since(began))
		server.Cont()
	}
	judge.AtMost(t, "word of a frozen server, at the soonest,", best, 2*time.Second)
}

// What is told of a server that is gone is what the network says.
func TestServerThatIsGoneIsNamed(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	server.Kill()
	judge.Within(t, 20*time.Second, "word that it is gone", func() bool { return s.Available("") != nil })
	judge.Within(t, 10*time.Second, "reason for it", func() bool { return errors.Is(s.Available(""), syscall.ECONNREFUSED) })
	for range 20 {
		if err := s.Available(""); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("a server that is gone: %v, want a refused connection", err)
		}
		pass(50 * time.Millisecond)
	}
}

// A server that takes no writes for now is told as such for as long as that lasts,
// over the connection that is there: each new one would be subscribed to all that is
// watched.
func TestServerThatTakesNoWrites(t *testing.T) {
	for name, setting := range map[string][2]string{ // what takes its writes away, and what gives them back
		"memory": {"maxmemory 1", "maxmemory 0"}, "replicas": {"min-replicas-to-write 1", "min-replicas-to-write 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := valkeytest.Start(t, valkeytest.Valkey(t))
			set := func(what string) {
				t.Helper()
				if _, err := server.Do(append([]string{"CONFIG", "SET"}, strings.Fields(what)...)...); err != nil {
					t.Fatal(err)
				}
			}
			var ups atomic.Int32
			s := open(t, server.URL(), space(), func(o *Options) {
				o.Up = func(up bool) {
					if up {
						ups.Add(1)
					}
				}
			})
			judge.Within(t, 10*time.Second, "word that it is there", func() bool { return s.Available("") == nil })
			set(setting[0])
			judge.Within(t, 10*time.Second, "word that it takes no writes", func() bool { return s.Available("") != nil })
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); pass(5 * time.Millisecond) {
				if err := s.Available(""); err == nil || errors.Is(err, errSilent) {
					t.Fatalf("of a server that takes no writes: %v", err)
				}
			}
			set(setting[1])
			judge.Within(t, 10*time.Second, "word that it takes writes again", func() bool { return s.Available("") == nil })
			if n := ups.Load(); n != 2 {
				t.Errorf("it was told to be there %d times, want 2", n)
			}
		})
	}
}
