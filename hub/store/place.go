package store

import (
	"errors"
	"fmt"
	"slices"

	"sessionhub/protocol"
)

// ErrUnsupportedCursor says that a cursor has no place in the log.
var ErrUnsupportedCursor = errors.New("invalid cursor")

// Place is where a reader begins: after the event with this seq, once the reader has been
// told of the gaps.
type Place struct {
	Epoch string // the epoch that After counts in
	After uint64
	Gaps  []protocol.Gap
}

// Resolve finds the place of a cursor in a log. It is a pure function. A bare seq beyond
// the log's end is the caller's mistake. A cursor of another epoch, or one that this log
// has lost, is answered by a gap.
func Resolve(c protocol.Cursor, s Snapshot) (Place, error) {
	epoch := s.Epoch()
	out := Place{Epoch: epoch}
	switch {
	case c.Latest:
		out.After = s.Last
		return out, nil
	case c.Epoch == "":
		if c.Seq > s.Last {
			return Place{}, fmt.Errorf("%w: seq %d lies beyond the end of the log, %d", ErrUnsupportedCursor, c.Seq, s.Last)
		}
		out.After = c.Seq
	default:
		// The cursor's epoch ends where the next one begins; the present epoch ends at the
		// log's end. The log has nothing in common with an unknown epoch.
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
		out.After = min(c.Seq, common)
		if c.Seq > common {
			out.Gaps = append(out.Gaps, protocol.Gap{
				Epoch: epoch, FromSeq: common + 1, ToSeq: c.Seq, Reason: protocol.GapEpochChanged,
			})
		}
	}
	if out.After+1 < s.First {
		out.Gaps = append(out.Gaps, protocol.Gap{
			Epoch: epoch, FromSeq: out.After + 1, ToSeq: s.First - 1, Reason: protocol.GapTrimmed,
		})
		out.After = s.First - 1
	}
	return out, nil
}

// Lost reports whether the log has lost events that the cursor's owner has seen.
func (p Place) Lost() bool {
	return slices.ContainsFunc(p.Gaps, func(g protocol.Gap) bool { return g.Reason == protocol.GapEpochChanged })
}

// Lacks reports whether a log has lost events before a cursor.
func Lacks(snap Snapshot, seen protocol.Cursor) bool {
	if seen.Epoch == "" {
		return false
	}
	from, err := Resolve(seen, snap)
	return err == nil && from.Lost()
}
