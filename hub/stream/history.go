package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// findPlace finds the place of a cursor in the log of a session. It believes that the log
// lacks an event of the reader only if the store confirms it.
func (ss *Streams) findPlace(ctx context.Context, id string, c protocol.Cursor) (store.Snapshot, store.Place, error) {
	snap, err := store.Visible(ss.store.Load(ctx, id))
	if err != nil {
		return store.Snapshot{}, store.Place{}, err
	}
	from, err := store.Resolve(c, snap)
	if err == nil && !from.Lost() {
		return snap, from, nil
	}
	if snap, err = store.Visible(ss.store.Confirm(ctx, id)); err != nil {
		return store.Snapshot{}, store.Place{}, err
	}
	from, err = store.Resolve(c, snap)
	return snap, from, err
}

// Bounds of one page of history.
const (
	MaxHistoryEvents = 1000
	maxHistoryBytes  = 4 << 20
	historyTries     = 4 // StoreRetry apart
)

// History reads a page of the log. ErrUnavailable: the place and the events came from two
// epochs at each of historyTries tries. Then a server that is behind has answered.
func (ss *Streams) History(ctx context.Context, id string, c protocol.Cursor, limit int) (protocol.History, error) {
	if limit <= 0 || limit > MaxHistoryEvents {
		limit = MaxHistoryEvents
	}
	for tries := 1; ; tries++ {
		snap, from, err := ss.findPlace(ctx, id, c)
		if err != nil {
			return protocol.History{}, err
		}
		page, err := ss.store.Read(ctx, id, from.After, limit, maxHistoryBytes)
		switch {
		case err != nil:
			return protocol.History{}, err
		case page.Epoch == snap.Epoch():
			return historyOf(snap, from, page), nil
		case tries == historyTries:
			return protocol.History{}, fmt.Errorf("session %s: %w: %w", id, store.ErrUnavailable, store.ErrBehind)
		}
		// The log went on to another epoch between the two reads.
		select {
		case <-ctx.Done():
			return protocol.History{}, ctx.Err()
		case <-time.After(engine.StoreRetry):
		}
	}
}

// historyOf makes a page of history from a page of the log.
func historyOf(snap store.Snapshot, from store.Place, page store.Page) protocol.History {
	out := protocol.History{
		Events: make([]json.RawMessage, 0, len(page.Entries)), First: page.First, Last: page.Last, Epoch: snap.Epoch(),
	}
	gaps := from.Gaps
	if n := len(page.Entries); n > 0 && page.Entries[0].First() > from.After+1 { // trimmed since the snapshot
		to := page.Entries[0].First() - 1
		if i := len(gaps) - 1; i >= 0 && gaps[i].Reason == protocol.GapTrimmed {
			gaps[i].ToSeq = to
		} else {
			gaps = append(gaps, protocol.Gap{Epoch: snap.Epoch(), FromSeq: from.After + 1, ToSeq: to, Reason: protocol.GapTrimmed})
		}
	}
	switch {
	case len(gaps) > 1:
		// A stream sends both gaps; a page has room for one. It names the events that the
		// caller must forget. The next page names the trimmed ones.
		out.Gap = &gaps[0]
		out.NextAfter = protocol.Cursor{Epoch: snap.Epoch(), Seq: gaps[0].FromSeq - 1}.String()
		return out
	case len(gaps) == 1:
		out.Gap = &gaps[0]
	}
	for _, e := range page.Entries {
		out.Events = append(out.Events, e.AppendJSON(make([]byte, 0, e.JSONLen())))
	}
	if n := len(page.Entries); n > 0 && page.Entries[n-1].Seq < page.Last {
		out.NextAfter = protocol.Cursor{Epoch: snap.Epoch(), Seq: page.Entries[n-1].Seq}.String()
	}
	return out
}
