package valkey

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"

	"github.com/valkey-io/valkey-go"
)

//go:embed *.lua
var sources embed.FS

// The scripts. The store sends a script that writes only once: its caller decides about a
// repeat.
var (
	// sessions
	appendScript  = writing("append.lua")
	readScript    = reading("read.lua")
	loadNote      = reading("loadnote.lua")
	deleteScript  = writing("delete.lua")
	compactScript = writing("compact.lua")
	weighScript   = reading("weigh.lua")
	seatScript    = writing("seat.lua")
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

	// accounts
	accountScript = writing("account.lua")
)

func source(name string) string {
	text, err := sources.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// script is a Lua script that the servers keep by its hash. It does the same as the
// client's own type, except for one thing.
//
// The client reuses a command's memory once its answer has arrived. If a server does not
// know the script yet, the same goroutine uses that memory for the next command at once.
// Only the network orders this with the client's writer, which the race detector cannot
// see. So the commands of this type keep their memory.
type script struct {
	text, sha1 string
	reads      bool // it changes nothing: the client may repeat it unasked
}

func writing(name string) *script { return newScript(name, false) }
func reading(name string) *script { return newScript(name, true) }

func newScript(name string, reads bool) *script {
	text := source(name)
	sum := sha1.Sum([]byte(text)) // the name for EVALSHA, no secret
	return &script{text: text, sha1: hex.EncodeToString(sum[:]), reads: reads}
}

// Exec runs the script by its hash, and in full if the server does not have it.
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
