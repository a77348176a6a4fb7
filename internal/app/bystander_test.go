package app

import (
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// A node that has neither the worker nor a subscriber of a session hears nothing
// of its events: what goes between it and Valkey while they go by is what goes
// there at rest.
func TestNodeWithoutSubscriberDoesNoWork(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 1)
	through := func() (*hubUnderTest, *faultproxy.Proxy) {
		p, err := faultproxy.New(server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return startHubEnv(t, clusterEnv, "--valkey-url", "redis://"+p.Addr(), "--worker", "none"), p
	}
	subscribed, itsBytes := through()
	bystander, bytes := through()
	s := nodes[0].create(protocol.CreateRequest{WorkingDirectory: nodes[0].root})
	stream := openSSE(t, subscribed, s)

	const seconds, perSecond, size = 4, 500, 500
	before := bytes.Passed()
	time.Sleep(seconds * time.Second) // the measure of rest, not a wait for something
	atRest := bytes.Passed() - before

	before, itsBefore, began := bytes.Passed(), itsBytes.Passed(), time.Now()
	nodes[0].send(s, "/stream 2000 500 500")
	until(t, stream, isType(protocol.EventComplete))
	took := time.Since(began)
	meanwhile, its := bytes.Passed()-before, itsBytes.Passed()-itsBefore

	const all = seconds * perSecond * size
	if its < all {
		t.Errorf("the subscriber's node had %d bytes from Valkey for %d of text", its, all)
	}
	// Its own heartbeats and leases come when they come, and more of them if it took
	// longer. All events would be a million bytes.
	if most := atRest*int64(took/time.Second+1)/seconds + all/50; meanwhile > most {
		t.Errorf("a node without a subscriber exchanged %d bytes with Valkey in %s, want %d at most (at rest %d in %d s)", meanwhile, took, most, atRest, seconds)
	}
	if n := metric(t, bystander, `sessionhub_relay_seconds_count`); n != 0 {
		t.Errorf("it heard of %v events", n)
	}
	if n := metric(t, subscribed, `sessionhub_relay_seconds_count`); n == 0 {
		t.Error("the subscriber's node heard of no event")
	}
	t.Logf("at rest %d bytes in %d s; while %d bytes of text went by %d in %s; the subscriber's node %d", atRest, seconds, all, meanwhile, took, its)
}
