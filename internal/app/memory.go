package app

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go keeps memory that it has freed for the next allocations: up to as much as is
// in use. For a hub that is a poor bargain after every wave of connects. What the
// handshakes left is not needed again while the connections idle, and they idle
// for hours.
const (
	// memoryLook is how often the use of memory is looked at.
	memoryLook = time.Second
	// memoryRest is the shortest time from one giving back to the next. Each costs
	// a garbage collection, 60 to 100 ms of CPU with 10,000 connections.
	memoryRest = 20 * time.Second
	// leastSpare is how much must be spare at least: below it nobody would notice.
	leastSpare = 4 << 20
)

// memoryUse is what the runtime says of the heap, in bytes.
type memoryUse struct {
	allocated uint64 // ever
	objects   uint64 // live ones, and garbage that was not collected yet
	live      uint64 // after the last collection
	free      uint64 // kept by the runtime for later
}

// spare is about how much could be given back. Objects that are new since the
// last collection count as garbage, which most of them are.
func (u memoryUse) spare() uint64 { return u.free + u.objects - min(u.live, u.objects) }

// worthGiving reports whether memory should go back: there is enough of it, and at
// the rate of allocation since the look before it would last longer than until
// memory could be given back again. A busy hub therefore keeps what it has.
func (u memoryUse) worthGiving(before memoryUse) bool {
	spare := u.spare()
	soon := (u.allocated - before.allocated) * uint64(memoryRest/memoryLook)
	return spare >= max(leastSpare, u.live/8) && soon < spare
}

func readMemoryUse() memoryUse {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return memoryUse{
		allocated: samples[0].Value.Uint64(), objects: samples[1].Value.Uint64(),
		live: samples[2].Value.Uint64(), free: samples[3].Value.Uint64(),
	}
}

// giveMemoryBack runs until ctx ends. There is one for the process: what it looks
// at and what it does belong to the whole of it.
func giveMemoryBack(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(memoryLook)
	defer tick.Stop()
	before, last := readMemoryUse(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			use := readMemoryUse()
			give := use.worthGiving(before) && now.Sub(last) >= memoryRest
			before = use
			if !give {
				continue
			}
			debug.FreeOSMemory()
			before, last = readMemoryUse(), time.Now()
			log.Debug("gave memory back", "spare", use.spare(), "left", before.spare(), "live", before.live)
		}
	}
}
