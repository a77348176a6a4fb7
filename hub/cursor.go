package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"sessionhub/protocol"
)

// start is where a reader begins: after the event with this seq, once the gaps
// have been named.
type start struct {
	epoch string // that after counts in
	after uint64
	gaps  []protocol.Gap
}

// resolve finds the place of a cursor in a log. It is pure. A bare seq that the
// log has not reached is a caller's mistake; a cursor of another epoch, or one
// that this log has lost, is answered by a gap.
func resolve(c protocol.Cursor, s Snapshot) (start, error) {
	epoch := s.Epoch()
	out := start{epoch: epoch}
	switch {
	case c.Latest:
		out.after = s.Last
		return out, nil
	case c.Epoch == "":
		if c.Seq > s.Last {
			return start{}, fmt.Errorf("%w: seq %d lies beyond the end of the log, %d", ErrUnsupportedCursor, c.Seq, s.Last)
		}
		out.after = c.Seq
	default:
		// The cursor's epoch ends where the next one begins; the present one
		// ends at the log's end. Of an unknown one nothing is common.
		common := uint64(0)
		for i, e := range s.Epochs {
			if e.Epoch != c.Epoch {
				continue
			}
			common = s.Last
			if i+1 < len(s.Epochs) {
				common = s.Epochs[i+1].First - 1
			}
			break
		}
		out.after = min(c.Seq, common)
		if c.Seq > common {
			out.gaps = append(out.gaps, protocol.Gap{
				Epoch: epoch, FromSeq: common + 1, ToSeq: c.Seq, Reason: protocol.GapEpochChanged,
			})
		}
	}
	if out.after+1 < s.First {
		out.gaps = append(out.gaps, protocol.Gap{
			Epoch: epoch, FromSeq: out.after + 1, ToSeq: s.First - 1, Reason: protocol.GapTrimmed,
		})
		out.after = s.First - 1
	}
	return out, nil
}

// lost reports whether the log has lost something that the cursor's owner has seen.
func (s start) lost() bool {
	return slices.ContainsFunc(s.gaps, func(g protocol.Gap) bool { return g.Reason == protocol.GapEpochChanged })
}

// lacks reports whether a log has lost something before a cursor.
func lacks(snap Snapshot, seen protocol.Cursor) bool {
	if seen.Epoch == "" {
		return false
	}
	from, err := resolve(seen, snap)
	return err == nil && from.lost()
}

// place finds the place of a cursor in the log of a session. That the log does not
// reach so far is believed of a store that confirms it only.
func (h *Hub) place(ctx context.Context, id string, c protocol.Cursor) (Snapshot, start, error) {
	snap, err := h.Load(ctx, id)
	if err != nil {
		return Snapshot{}, start{}, err
	}
	from, err := resolve(c, snap)
	if err == nil && !from.lost() {
		return snap, from, nil
	}
	if snap, err = visible(h.store.Confirm(ctx, id)); err != nil {
		return Snapshot{}, start{}, err
	}
	from, err = resolve(c, snap)
	return snap, from, err
}

// Bounds of one page of history.
const (
	MaxHistoryEvents = 1000
	maxHistoryBytes  = 4 << 20
)

// History reads a piece of the log.
func (h *Hub) History(ctx context.Context, id string, c protocol.Cursor, limit int) (protocol.History, error) {
	snap, from, err := h.place(ctx, id, c)
	if err != nil {
		return protocol.History{}, err
	}
	if limit <= 0 || limit > MaxHistoryEvents {
		limit = MaxHistoryEvents
	}
	page, err := h.store.Read(ctx, id, from.after, limit, maxHistoryBytes)
	if err != nil {
		return protocol.History{}, err
	}
	if page.Epoch != snap.Epoch() { // the log went on to another epoch between the two reads
		return h.History(ctx, id, c, limit)
	}
	out := protocol.History{
		Events: make([]json.RawMessage, 0, len(page.Entries)), First: page.First, Last: page.Last, Epoch: snap.Epoch(),
	}
	gaps := from.gaps
	if n := len(page.Entries); n > 0 && page.Entries[0].First() > from.after+1 { // trimmed since it was looked at
		to := page.Entries[0].First() - 1
		if i := len(gaps) - 1; i >= 0 && gaps[i].Reason == protocol.GapTrimmed {
			gaps[i].ToSeq = to
		} else {
			gaps = append(gaps, protocol.Gap{Epoch: snap.Epoch(), FromSeq: from.after + 1, ToSeq: to, Reason: protocol.GapTrimmed})
		}
	}
	switch {
	case len(gaps) > 1:
		// A stream sends both; a page has room for one. It names what the caller
		// has to forget, and the next page, from there, what is not kept.
		out.Gap = &gaps[0]
		out.NextAfter = protocol.Cursor{Epoch: snap.Epoch(), Seq: gaps[0].FromSeq - 1}.String()
		return out, nil
	case len(gaps) == 1:
		out.Gap = &gaps[0]
	}
	for _, e := range page.Entries {
		out.Events = append(out.Events, e.AppendJSON(make([]byte, 0, e.JSONLen())))
	}
	if n := len(page.Entries); n > 0 && page.Entries[n-1].Seq < page.Last {
		out.NextAfter = protocol.Cursor{Epoch: snap.Epoch(), Seq: page.Entries[n-1].Seq}.String()
	}
	return out, nil
}
