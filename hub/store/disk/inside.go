package disk

import (
	"encoding/json"
	"slices"

	"sessionhub/protocol"
)

// maxInside bounds how many inside workers of earlier processes the store remembers. Each
// of them still has a session, which the first node that works takes away. An inside worker
// beyond the bound gets a lease like a remote one, and its sessions wait that long.
const maxInside = 64

// inside returns the inside workers of earlier processes that still have a session, and
// notes this process's own. A process can end before it has taken their sessions away, for
// example when its start fails.
func (s *Store) inside(all []*record) (ended []string, err error) {
	last, _, err := s.get(metaKey(metaWorker))
	if err != nil {
		return nil, err
	}
	before, ok, err := s.get(metaKey(metaInside))
	if err != nil {
		return nil, err
	}
	if ok {
		if err := json.Unmarshal(before, &ended); err != nil {
			return nil, damaged(err)
		}
	}
	ended = append(ended, string(last))
	busy := make(map[string]bool)
	for _, x := range all {
		busy[x.head.Load().state.Worker] = true
	}
	ended = slices.DeleteFunc(ended, func(worker string) bool { return worker == "" || !busy[worker] })
	ended = ended[max(0, len(ended)-maxInside):]
	batch := s.db.NewBatch()
	defer batch.Close()
	_ = batch.Set(metaKey(metaInside), protocol.Marshal(ended), nil)
	_ = batch.Set(metaKey(metaWorker), []byte(s.opt.Worker), nil)
	return ended, s.apply(batch)
}
