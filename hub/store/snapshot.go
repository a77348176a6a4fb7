package store

import (
	"fmt"
	"slices"
	"time"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// Snapshot is a session as its store knows it.
type Snapshot struct {
	State        *session.State // shared; never changed
	Version      uint64
	Epochs       []EpochStart // at least one, oldest first
	First        uint64       // seq of the first event that the log still has; Last+1 if it has none
	Last         uint64
	Compacted    uint64 // up to here the log has its last form: see Compacter
	LastActivity time.Time
	N            uint64 // last stored event of the present assignment
}

// Epoch is the log's present epoch.
func (s Snapshot) Epoch() string { return s.Epochs[len(s.Epochs)-1].Epoch }

// After returns the snapshot with the log's end moved as an append's answer tells it. The
// caller fills in whatever else the append has changed.
func (s Snapshot) After(a Appended) Snapshot {
	s.Last = max(s.Last, a.Last)
	known := func(e EpochStart) bool { return e.Epoch == a.Epoch }
	if a.Epoch != "" && !slices.ContainsFunc(s.Epochs, known) {
		s.Epochs = append(slices.Clone(s.Epochs), EpochStart{Epoch: a.Epoch, First: a.First})
	}
	return s
}

// EpochStart says that events from First on are numbered in this epoch.
type EpochStart struct {
	Epoch string `json:"epoch"`
	First uint64 `json:"first"`
}

// Visible takes what a store gave and hides deleted sessions from users: ErrNotFound.
func Visible(snap Snapshot, err error) (Snapshot, error) {
	if err == nil && snap.State.Closed == protocol.ClosedDeleted {
		err = fmt.Errorf("session %s: %w", snap.State.Info.SessionID, session.ErrNotFound)
	}
	if err != nil {
		return Snapshot{}, err
	}
	return snap, nil
}
