package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// maxEpochs bounds the epochs that a log remembers. A cursor of an older epoch counts as
// one of an unknown epoch: its reader gets the whole log again.
const maxEpochs = 64

// recover reads the sessions. It begins a new epoch if the last process did not end
// cleanly. It makes anew everything that ended with the last process.
func (s *Store) recover() error {
	mark, err := s.directory.readClosed()
	if err != nil {
		return err
	}
	was, _, err := s.get(metaKey(metaClosed))
	if err != nil {
		return err
	}
	epoch, ok, err := s.get(metaKey(metaEpoch))
	if err != nil {
		return err
	}
	all, err := s.readSessions()
	if err != nil {
		return err
	}
	if err := judgeEnd(mark, string(was), ok, len(all)); err != nil {
		return err
	}
	if s.epoch = string(epoch); !ok || mark == "" {
		if err := s.beginEpoch(all); err != nil {
			return err
		}
	}
	if !ok {
		// Pebble begins a new store with a log of its oldest format, which does not say
		// what was synced: see checkLogs. The log after this flush does.
		if err := s.flush(context.Background()); err != nil {
			return err
		}
	}
	if err := s.directory.dropClosed(); err != nil {
		return err
	}
	ended, err := s.inside(all)
	if err != nil {
		return err
	}
	return s.resume(all, ended)
}

// judgeEnd compares the mark of a clean end in the directory with the one in the database.
// known says that the database has an epoch.
func judgeEnd(mark, was string, known bool, sessions int) error {
	if mark != "" && mark != was || !known && (mark != "" || sessions > 0) {
		return damaged(errors.New("what was stored last before a clean end is not there"))
	}
	return nil
}

// readSessions reads the part of every session that is kept in memory. It returns them
// oldest first.
func (s *sessions) readSessions() ([]*record, error) {
	var all []*record
	by := make(map[uint64]*record)
	heads := make(map[uint64]*head)
	err := s.scan(kindIdentity, func(order uint64, value []byte) error {
		var who identity
		if err := json.Unmarshal(value, &who); err != nil || len(who.Epochs) == 0 {
			return damaged(fmt.Errorf("identity %d: %w", order, err))
		}
		x := &record{store: s, id: who.ID, order: order}
		by[order], heads[order] = x, &head{epochs: who.Epochs}
		all, s.byID[who.ID], s.created = append(all, x), x, max(s.created, order)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := 0
	err = s.scan(kindHead, func(order uint64, value []byte) error {
		h, err := decodeHead(value)
		if err != nil || by[order] == nil {
			return damaged(fmt.Errorf("head %d: %w", order, err))
		}
		h.epochs, heads[order] = heads[order].epochs, h
		found++
		return nil
	})
	if err != nil {
		return nil, err
	}
	states := 0
	err = s.scan(kindState, func(order uint64, value []byte) error {
		state := new(session.State)
		if err := json.Unmarshal(value, state); err != nil || by[order] == nil {
			return damaged(fmt.Errorf("state %d: %w", order, err))
		}
		h := heads[order]
		h.state = state
		by[order].show(h)
		s.ages.Add(state.Info.UserID, by[order])
		s.recount(nil, state)
		states++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found != len(by) || states != len(by) || len(s.byID) != len(by) {
		return nil, damaged(fmt.Errorf("%d sessions, %d heads, %d states", len(by), found, states))
	}
	return all, s.scan(kindGarbage, func(order uint64, _ []byte) error {
		s.created = max(s.created, order) // it is not given again
		s.eraser.add(order)
		return nil
	})
}

// beginEpoch names a new epoch, in which every log goes on. Events that a client has seen
// beyond a log's end are void.
func (s *sessions) beginEpoch(all []*record) error {
	s.epoch = newEpoch()
	batch := s.db.NewBatch()
	defer batch.Close()
	_ = batch.Set(metaKey(metaEpoch), []byte(s.epoch), nil)
	for _, x := range all {
		h := *x.head.Load()
		h.epochs = append(slices.Clone(h.epochs), store.EpochStart{Epoch: s.epoch, First: h.last + 1})
		if over := len(h.epochs) - maxEpochs; over > 0 {
			h.epochs = h.epochs[over:]
		}
		x.head.Store(&h)
		_ = batch.Set(key(kindIdentity, x.order), protocol.Marshal(identity{ID: x.id, Epochs: h.epochs}), nil)
	}
	return s.apply(batch)
}

// resume has every session checked soon, and gives a lease to each worker that has a
// session. Workers in ended get none: they ended with their processes.
func (s *Store) resume(all []*record, ended []string) error {
	ctx, now := context.Background(), time.Now()
	for _, x := range all {
		st := x.head.Load().state
		if st.Worker != "" {
			if err := s.Hold(ctx, st.Worker, store.Holding{Session: x.id, Assignment: st.Assignment}); err != nil {
				return err
			}
			if !slices.Contains(ended, st.Worker) {
				if err := s.RenewWorker(ctx, store.WorkerInfo{Name: st.Worker, Workspace: st.Workspace}, s.opt.Lease); err != nil {
					return err
				}
			}
		}
		if st.NeedsWorker() {
			w := store.Waiting{ID: x.id, User: st.Info.UserID, Provider: st.Info.Provider, Workspace: st.Workspace}
			if err := s.Enqueue(ctx, w); err != nil {
				return err
			}
		}
		if err := s.Arm(ctx, x.id, now); err != nil {
			return err
		}
	}
	return nil
}
