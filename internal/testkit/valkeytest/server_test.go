package valkeytest

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerKeepsItsDataOverAKill(t *testing.T) {
	for _, program := range []string{Valkey(t), Redis(t)} {
		s := Start(t, program)
		s.must("SET", "k", "v")
		s.Kill()
		if _, err := s.Do("PING"); err == nil {
			t.Error("a killed server answers")
		}
		s.Restart()
		if v := s.must("GET", "k"); v != "v" {
			t.Errorf("after the restart the key is %q", v)
		}
		s.Stop()
		s.Cont()
		if s.must("PING") != "PONG" {
			t.Error("no answer after SIGCONT")
		}
	}
}

func TestCluster(t *testing.T) {
	c := StartCluster(t, Valkey(t))
	moved := 0
	for _, s := range c.Servers {
		if _, err := s.Do("SET", "k", "v"); err != nil {
			if !strings.HasPrefix(err.Error(), "MOVED ") {
				t.Error(err)
			}
			moved++
		}
	}
	if moved != 2 {
		t.Errorf("%d servers say that the key is elsewhere, want 2", moved)
	}
}

func TestSentinelsFailOver(t *testing.T) {
	set := StartSentinels(t, Valkey(t))
	old, next := set.Primary(), set.Replica()
	if old != set.Servers[0] {
		t.Error("the replica began as the primary")
	}
	old.Kill()
	set.AwaitPrimary(next)
	next.must("SET", "k", "v")
}
