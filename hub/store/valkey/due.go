package valkey

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sessionhub/hub/store"
)

// dueIndex is a store.DueIndex. A sorted set holds the sessions by due time, in
// microseconds. One hash holds the times behind the entries, another the tokens of sessions
// that are being checked. All of it is in one hash slot.
type dueIndex struct{ *calls }

func (s *dueIndex) dueKeys() []string {
	base := s.opt.Prefix + "{due}:"
	return []string{base + "at", base + "behind", base + "tokens", base + "last"}
}

// Arm implements store.DueIndex.
func (s *dueIndex) Arm(ctx context.Context, id string, due time.Time) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := armScript.Exec(call, s.client, s.dueKeys()[:3], []string{id, strconv.FormatInt(due.UnixMicro(), 10)}).Error()
	if err != nil {
		return s.unavailable(ctx, "arm", "arm session "+id, err)
	}
	return nil
}

// TakeDue implements store.DueIndex.
func (s *dueIndex) TakeDue(ctx context.Context, n int, hide time.Duration) ([]store.Due, time.Duration, error) {
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
	var due []store.Due
	for i := 1; i < len(v); i += 2 {
		id, err := v[i].ToString()
		if err != nil {
			return nil, 0, s.unavailable(ctx, "take_due", what, err)
		}
		token, err := v[i+1].AsInt64()
		if err != nil {
			return nil, 0, s.unavailable(ctx, "take_due", what, err)
		}
		due = append(due, store.Due{ID: id, Token: token})
	}
	return due, time.Duration(wait) * time.Microsecond, nil
}

// Settle implements store.DueIndex.
func (s *dueIndex) Settle(ctx context.Context, d store.Due, next time.Time) error {
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
