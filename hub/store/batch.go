package store

import (
	"time"

	"sessionhub/hub/session"
)

// Batch is one atomic change of a session.
type Batch struct {
	Events []session.NewEvent

	// With a State, the store refuses the change with ErrConflict unless the stored state
	// still has the version Expect. The new state gets Expect+1. If Epoch is given, the log
	// must still be in that epoch. After a failover that loses the log's end, another state
	// can come to have the same version.
	State  *session.State
	Expect uint64
	Epoch  string

	// MaxOpen is the most sessions of the user that count (0: no limit); see Writer.Create.
	// It belongs to a change that can make this session count. The error is
	// ErrSessionLimit.
	MaxOpen int

	// With a Fence, the store refuses the change unless the worker still has the session
	// (State.Has) and these are the worker's next events.
	Fence *Fence

	Commands []session.Command
	Drop     []uint64
	Notes    []session.Note
	Parts    []session.Part // up to protocol.MaxContentPart bytes each
	Dropped  []string       // keys of parts; those of this batch too

	// Listed says that the change is one of what a listing shows of the session. The store
	// announces it to the watchers of State.Info.UserID after it is stored. It goes with a
	// State. Create and Delete are always announced.
	Listed bool

	// Forget drops the events, commands, notes and parts that were there before.
	// The numbering goes on.
	Forget bool
}

// Fence is a worker's place in its own numbering: N counts the worker's events in this
// assignment from 1. A batch can stand for Count consecutive events, of which N is the
// first; 0 means 1. The log may have more or fewer events for them.
//
// ErrRepeat says that N is stored; it says nothing about the numbers after N. A worker that
// sends the same batch again has stored all of it. Another link of the same worker may have
// stored less.
type Fence struct {
	Assignment uint64
	N          uint64
	Count      int
}

// Last is the last event that the batch stands for.
func (f Fence) Last() uint64 { return f.N + uint64(max(f.Count, 1)) - 1 }

// Appended tells where a batch's events are in the log: First to Last. Last < First when
// the batch had none.
type Appended struct {
	First, Last uint64
	Time        time.Time
	Epoch       string // the log's epoch after the append; empty if a store's logs keep theirs while it is open
}
