package valkeystore

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"

	"github.com/valkey-io/valkey-go"
)

//go:embed *.lua
var sources embed.FS

// The scripts. Those that write are sent once: whether to send them again is
// their caller's decision.
var (
	// sessions
	appendScript  = writing("append.lua")
	readScript    = reading("read.lua")
	deleteScript  = writing("delete.lua")
	placeScript   = writing("place.lua")
	releaseScript = writing("release.lua")
	tokenScript   = writing("token.lua")
	beatScript    = writing("beat.lua")

	// what is due
	armScript    = writing("arm.lua")
	takeScript   = writing("take.lua")
	settleScript = writing("settle.lua")

	// what waits for a worker
	enqueueScript = writing("enqueue.lua")
	dequeueScript = writing("dequeue.lua")
	queuedScript  = reading("queued.lua")

	// workers and nodes
	renewScript   = writing("renew.lua")
	leaseScript   = writing("lease.lua")
	workersScript = reading("workers.lua")
	nodeScript    = writing("node.lua")
	slotScript    = writing("slot.lua")
)

func source(name string) string {
	text, err := sources.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// script is a Lua script that the servers keep by its hash. It does what the
// client's own type does, but for one thing: the client takes a command's memory
// back when its answer is there, and uses it for the next command, which for a
// script that a server does not know yet is the same goroutine's at once. The
// client's writer orders that by the network alone, and the race detector cannot
// see it. So these commands keep their memory.
type script struct {
	text, sha1 string
	reads      bool // it changes nothing: the client may send it again by itself
}

func writing(name string) *script { return newScript(name, false) }
func reading(name string) *script { return newScript(name, true) }

func newScript(name string, reads bool) *script {
	text := source(name)
	sum := sha1.Sum([]byte(text)) // what EVALSHA names it by, and no secret
	return &script{text: text, sha1: hex.EncodeToString(sum[:]), reads: reads}
}

// Exec runs the script: by its hash, and in full where the server has not got it.
func (s *script) Exec(ctx context.Context, c valkey.CoreClient, keys, args []string) valkey.ValkeyResult {
	n := int64(len(keys))
	var known, whole valkey.Completed
	if s.reads {
		known = c.B().EvalshaRo().Sha1(s.sha1).Numkeys(n).Key(keys...).Arg(args...).Build()
	} else {
		known = c.B().Evalsha().Sha1(s.sha1).Numkeys(n).Key(keys...).Arg(args...).Build()
	}
	r := c.Do(ctx, known.Pin())
	if e, ok := valkey.IsValkeyErr(r.Error()); !ok || !e.IsNoScript() {
		return r
	}
	if s.reads {
		whole = c.B().EvalRo().Script(s.text).Numkeys(n).Key(keys...).Arg(args...).Build()
	} else {
		whole = c.B().Eval().Script(s.text).Numkeys(n).Key(keys...).Arg(args...).Build()
	}
	return c.Do(ctx, whole.Pin())
}
