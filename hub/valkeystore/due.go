package valkeystore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sessionhub/hub"
)

// The due-index is a sorted set of sessions by the time when they are due, in
// microseconds, with what lies behind an entry, and the tokens of those that are
// being looked at, in two hashes. All of it is in one slot.
func (s *Store) dueKeys() []string {
	base := s.opt.Prefix + "{due}:"
	return []string{base + "at", base + "behind", base + "tokens", base + "last"}
}

// Arm implements hub.DueIndex.
func (s *Store) Arm(ctx context.Context, id string, due time.Time) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := armScript.Exec(call, s.client, s.dueKeys()[:3], []string{id, strconv.FormatInt(due.UnixMicro(), 10)}).Error()
	if err != nil {
		return s.unavailable(ctx, "arm", "arm session "+id, err)
	}
	return nil
}

// TakeDue implements hub.DueIndex.
func (s *Store) TakeDue(ctx context.Context, n int, hide time.Duration) ([]hub.Due, time.Duration, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	const what = "take what is due"
	v, err := takeScript.Exec(call, s.client, s.dueKeys(),
		[]string{strconv.Itoa(n), strconv.FormatInt(hide.Microseconds(), 10)}).ToArray()
	if err == nil && len(v)%2 == 0 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil {
		return nil, 0, s.unavailable(ctx, "take_due", what, err)
	}
	wait, err := v[0].AsInt64()
	if err != nil {
		return nil, 0, s.unavailable(ctx, "take_due", what, err)
	}
	var due []hub.Due
	for i := 1; i < len(v); i += 2 {
		id, err := v[i].ToString()
		if err != nil {
			return nil, 0, s.unavailable(ctx, "take_due", what, err)
		}
		token, err := v[i+1].AsInt64()
		if err != nil {
			return nil, 0, s.unavailable(ctx, "take_due", what, err)
		}
		due = append(due, hub.Due{ID: id, Token: token})
	}
	return due, time.Duration(wait) * time.Microsecond, nil
}

// Settle implements hub.DueIndex.
func (s *Store) Settle(ctx context.Context, d hub.Due, next time.Time) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	at := int64(0)
	if !next.IsZero() {
		at = max(1, next.UnixMicro())
	}
	err := settleScript.Exec(call, s.client, s.dueKeys()[:3],
		[]string{d.ID, strconv.FormatInt(d.Token, 10), strconv.FormatInt(at, 10)}).Error()
	if err != nil {
		return s.unavailable(ctx, "settle", "settle session "+d.ID, err)
	}
	return nil
}
