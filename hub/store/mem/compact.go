package mem

import (
	"context"
	"slices"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Compact implements store.Compacter.
func (s *sessions) Compact(_ context.Context, id string, c store.Compaction) error {
	x, err := s.find(id)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.deleted {
		return notFound(id)
	}
	if err := c.Fits(s.epochs[0].Epoch, x.first(), x.last, x.compact); err != nil {
		return err
	}
	x.replace(c)
	return nil
}

// replace puts entries in the place of others. The younger entries behind them move up:
// they are not compacted yet. Called with x.mu held.
func (x *record) replace(c store.Compaction) {
	from, to := x.behind(c.First()-1), x.behind(c.Last())
	for _, e := range x.entries[from:to] {
		x.bytes -= int64(e.JSONLen())
	}
	for _, e := range c.Entries {
		x.bytes += int64(e.JSONLen())
	}
	x.entries = slices.Replace(x.entries, from, to, c.Entries...)
	if cap(x.entries) > 2*len(x.entries) {
		x.entries = append(make([]protocol.Entry, 0, len(x.entries)), x.entries...)
	}
	x.compact = c.Last()
}

// behind returns the index of the first entry that holds an event behind seq. Called with
// x.mu held.
func (x *record) behind(seq uint64) int {
	i, _ := slices.BinarySearchFunc(x.entries, seq, func(e protocol.Entry, seq uint64) int {
		if e.Seq <= seq {
			return -1
		}
		return 1
	})
	return i
}
