package valkeytest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Cluster is three primaries that share the slots.
type Cluster struct{ Servers []*Server }

// StartCluster starts three primaries without replicas: while one of them is
// down, the cluster takes no writes, unless the settings say otherwise. settings are
// lines of the configuration of each.
func StartCluster(tb testing.TB, program string, settings ...string) *Cluster {
	tb.Helper()
	c := &Cluster{}
	const slots, primaries = 16384, 3
	for range primaries {
		c.Servers = append(c.Servers, Start(tb, program, append([]string{"cluster-enabled yes", "cluster-node-timeout 2000",
			"cluster-config-file nodes.conf", fmt.Sprintf("cluster-port %d", freePort(tb))}, settings...)...))
	}
	first := c.Servers[0]
	for i, s := range c.Servers {
		s.must("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.must("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/primaries), strconv.Itoa((i+1)*slots/primaries-1))
	}
	for _, s := range c.Servers[1:] {
		s.must("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(first.port), first.busPort())
	}
	for _, s := range c.Servers {
		s.until("whole cluster", func(info string) bool {
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		}, "CLUSTER", "INFO")
	}
	return c
}

func (s *Server) busPort() string {
	s.tb.Helper()
	_, port, _ := strings.Cut(s.must("CONFIG", "GET", "cluster-port"), "\n")
	return port
}

// URL names all primaries, as --valkey-url takes them.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr())
	}
	return "redis://" + strings.Join(addrs, ",")
}

// Sentinels are a primary and its replicas under three Sentinels, which know them
// as Name. Which of the servers is the primary changes with a failover.
type Sentinels struct {
	Name    string
	Servers []*Server // the primary of the beginning, then its replicas
	Watch   []*Server // the Sentinels
}

// StartSentinels starts a primary with one replica and waits until a failover
// would succeed.
func StartSentinels(tb testing.TB, program string) *Sentinels {
	tb.Helper()
	return StartSentinelSet(tb, program, 1)
}

// StartSentinelSet is StartSentinels with so many replicas. settings are lines of
// the configuration of each server that holds data.
func StartSentinelSet(tb testing.TB, program string, replicas int, settings ...string) *Sentinels {
	tb.Helper()
	const name, quorum = "sessionhub", 2
	primary := Start(tb, program, settings...)
	host, port, _ := net.SplitHostPort(primary.Addr())
	set := &Sentinels{Name: name, Servers: []*Server{primary}}
	for range replicas {
		set.Servers = append(set.Servers, Start(tb, program, append([]string{"replicaof " + host + " " + port}, settings...)...))
	}
	primary.until("replicas", func(info string) bool { return strings.Count(info, "state=online") == replicas }, "INFO", "replication")
	for range 3 {
		set.Watch = append(set.Watch, start(tb, program, true, []string{
			fmt.Sprintf("sentinel monitor %s %s %s %d", name, host, port, quorum),
			"sentinel down-after-milliseconds " + name + " 1000",
			"sentinel failover-timeout " + name + " 6000",
		}))
	}
	for _, s := range set.Watch {
		s.until("quorum", func(reply string) bool { return strings.HasPrefix(reply, "OK 3 usable") }, "SENTINEL", "CKQUORUM", name)
		// One that is thought to be down, or whose state is not known, is not promoted.
		s.until("replicas that can be promoted", func(reply string) bool {
			return strings.Count(reply, "flags\nslave\n") == replicas && strings.Count(reply, "master-link-status\nok") == replicas
		}, "SENTINEL", "REPLICAS", name)
	}
	return set
}

// URL names the Sentinels, as --valkey-url takes them.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, w := range s.Watch {
		addrs = append(addrs, w.Addr())
	}
	return "redis://" + strings.Join(addrs, ",") + "?master_set=" + s.Name
}

// Wait makes the Sentinels wait for so long before they call a silent server down: for
// tests that fail over nothing, on a machine that stands still for seconds.
func (s *Sentinels) Wait(silence time.Duration) {
	s.Watch[0].tb.Helper()
	for _, w := range s.Watch {
		w.must("SENTINEL", "SET", s.Name, "down-after-milliseconds", strconv.FormatInt(silence.Milliseconds(), 10))
	}
}

// Primary asks the Sentinels which server is the primary now.
func (s *Sentinels) Primary() *Server {
	tb := s.Watch[0].tb
	tb.Helper()
	reply := s.Watch[0].must("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
	for _, x := range s.Servers {
		if strings.HasSuffix(reply, "\n"+strconv.Itoa(x.port)) {
			return x
		}
	}
	tb.Fatalf("the Sentinels name %q", reply)
	return nil
}

// Replica is a server that is not the primary now.
func (s *Sentinels) Replica() *Server {
	if p := s.Primary(); p == s.Servers[0] {
		return s.Servers[1]
	}
	return s.Servers[0]
}

// AwaitPrimary waits until the Sentinels have made a server the primary.
func (s *Sentinels) AwaitPrimary(want *Server) {
	tb := s.Watch[0].tb
	tb.Helper()
	for deadline := time.Now().Add(patience); s.Primary() != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s did not become the primary in %s", want.Addr(), patience)
		}
	}
	want.until("primary", func(reply string) bool { return strings.HasPrefix(reply, "master") }, "ROLE")
}
