package valkey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// accounts is a store.Accounts: a hash for each user. A version is a random number. After a
// failover that lost a change, no version comes again that somebody has read before.
type accounts struct{ *calls }

func (c *calls) accountKey(user string) string { return c.opt.Prefix + "{u:" + user + "}:account" }

// LoadAccount implements store.Accounts.
func (a *accounts) LoadAccount(ctx context.Context, user string) ([]byte, uint64, error) {
	call, cancel := a.deadline(ctx)
	defer cancel()
	const what = "read an account"
	v, err := a.client.Do(call, a.client.B().Hmget().Key(a.accountKey(user)).Field("version", "account").Build()).ToArray()
	if err != nil {
		return nil, 0, a.unavailable(ctx, "load_account", what, err)
	}
	if len(v) != 2 {
		return nil, 0, a.unavailable(ctx, "load_account", what, fmt.Errorf("the server gave %d values", len(v)))
	}
	if v[0].IsNil() {
		return nil, 0, nil
	}
	text, err := v[0].ToString()
	if err != nil {
		return nil, 0, a.unavailable(ctx, "load_account", what, err)
	}
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, 0, a.unavailable(ctx, "load_account", what, err)
	}
	account, err := v[1].ToString()
	if err != nil {
		return nil, 0, a.unavailable(ctx, "load_account", what, err)
	}
	return []byte(account), version, nil
}

// SaveAccount implements store.Accounts.
func (a *accounts) SaveAccount(ctx context.Context, user string, expect uint64, account []byte) error {
	if len(account) > store.MaxAccountBytes {
		return fmt.Errorf("%w: %d bytes", store.ErrAccountTooLarge, len(account))
	}
	call, cancel := a.deadline(ctx)
	defer cancel()
	next := rand.Uint64N(1<<63-1) + 1
	stored, err := accountScript.Exec(call, a.client, []string{a.accountKey(user)}, []string{
		strconv.FormatUint(expect, 10), strconv.FormatUint(next, 10), valkey.BinaryString(account), a.userChannel(user),
	}).AsInt64()
	switch {
	case err != nil:
		return a.unavailable(ctx, "save_account", "store an account", err)
	case stored == 0:
		return store.ErrConflict
	}
	return nil
}
