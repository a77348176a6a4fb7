package app

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// before puts a proxy before a server.
func before(t *testing.T, addr string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// waits counts how often f waits for the store: the servers' answers are held, and let
// through when no more of them come. What else the node asks at that moment can only add to
// it.
func waits(proxies []*faultproxy.Proxy, f func()) (n int) {
	done := make(chan struct{})
	all := func(do func(*faultproxy.Proxy)) {
		for _, p := range proxies {
			do(p)
		}
	}
	held := func() (n int) {
		all(func(p *faultproxy.Proxy) { n += p.Held() })
		return n
	}
	all(func(p *faultproxy.Proxy) { p.Hold(true) })
	defer all(func(p *faultproxy.Proxy) { p.Hold(false) })
	go func() {
		defer close(done)
		f()
	}()
	const still = 20 * time.Millisecond
	for last := 0; ; {
		select {
		case <-done:
			return n
		case <-time.After(still):
		}
		if now := held(); now > 0 && now == last {
			n++
			all((*faultproxy.Proxy).Release)
			last = 0
		} else {
			last = now
		}
	}
}

// From a POST until its message is in the log and its session queued the hub waits three
// times for the store at most, and twice for a later message. It was seven times.
func TestMessageWaitsForValkey(t *testing.T) {
	env := map[string]string{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}
	for name, start := range map[string]func(*testing.T) (url string, proxies []*faultproxy.Proxy){
		"one server": func(t *testing.T) (string, []*faultproxy.Proxy) {
			p := before(t, valkeytest.Start(t, valkeytest.Valkey(t)).Addr())
			return "redis://" + p.Addr(), []*faultproxy.Proxy{p}
		},
		"a cluster": func(t *testing.T) (string, []*faultproxy.Proxy) {
			cluster := valkeytest.StartCluster(t, valkeytest.Valkey(t))
			var proxies []*faultproxy.Proxy
			var addrs []string
			for _, s := range cluster.Servers {
				p := before(t, s.Addr())
				_, port, _ := net.SplitHostPort(p.Addr())
				if _, err := s.Do("CONFIG", "SET", "cluster-announce-port", port); err != nil {
					t.Fatal(err)
				}
				proxies, addrs = append(proxies, p), append(addrs, p.Addr())
			}
			judge.Within(t, time.Minute, "all servers name the proxies", func() bool {
				for _, s := range cluster.Servers {
					nodes, err := s.Do("CLUSTER", "NODES")
					for _, addr := range addrs {
						if err != nil || !strings.Contains(nodes, addr+"@") {
							return false
						}
					}
				}
				return true
			})
			return "redis://" + strings.Join(addrs, ","), proxies
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, proxies := start(t)
			h := startHubEnv(t, env, "--valkey-url", url, "--worker", "none", "--rate-messages", "1000/s:1000", "--rate-sessions", "1000/s:1000")
			least := map[int]int{} // by the number of the message
			for range 6 {
				s := h.create(protocol.CreateRequest{})
				for message := range 2 {
					n := waits(proxies, func() {
						code, body, err := h.request(t.Context(), s, http.MethodPost, "/api/sessions/"+s.SessionID+"/messages", protocol.MessageRequest{Content: json.RawMessage(`"hi"`), MessageID: fmt.Sprint("m", message)})
						if err != nil || code != http.StatusAccepted {
							t.Errorf("message: %d %s, %v", code, body, err)
						}
					})
					if have, ok := least[message]; !ok || n < have {
						least[message] = n
					}
				}
			}
			for i, p := range proxies {
				if now, _ := p.Connections(); now == 0 {
					t.Errorf("nobody has asked server %d through its proxy", i)
				}
			}
			t.Logf("waits: %v", least)
			if least[0] > 3 || least[1] > 2 || least[1] < 1 {
				t.Errorf("a first message waits %d times for the store, a later one %d times; want 3 and 2 at most", least[0], least[1])
			}
		})
	}
}
