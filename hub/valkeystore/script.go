package valkeystore

import (
	"embed"

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

func writing(name string) *valkey.Lua { return valkey.NewLuaScript(source(name)) }
func reading(name string) *valkey.Lua { return valkey.NewLuaScriptReadOnly(source(name)) }
