package valkeystore

import (
	"context"
	"strconv"
	"time"

	"sessionhub/hub"
)

// TakeToken implements hub.Store.
func (s *Store) TakeToken(ctx context.Context, key string, r hub.Rate) (time.Duration, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	wait, err := tokenScript.Exec(call, s.client, []string{s.opt.Prefix + "bucket:" + key},
		[]string{strconv.FormatFloat(r.PerSecond, 'g', -1, 64), strconv.Itoa(r.Burst)}).AsInt64()
	if err != nil {
		return 0, s.unavailable(ctx, "take_token", "take a token", err)
	}
	return time.Duration(wait) * time.Microsecond, nil
}
