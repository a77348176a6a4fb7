package mem

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sessionhub/hub/store"
)

// accounts is a store.Accounts. Its watchers are called under its lock, so that notices come
// in order.
type accounts struct {
	users *UserWatchers

	mu     sync.Mutex
	byUser map[string]accountRecord
}

type accountRecord struct {
	account []byte // never changed
	version uint64
}

// LoadAccount implements store.Accounts.
func (a *accounts) LoadAccount(_ context.Context, user string) ([]byte, uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.byUser[user]
	return r.account, r.version, nil
}

// SaveAccount implements store.Accounts.
func (a *accounts) SaveAccount(_ context.Context, user string, expect uint64, account []byte) error {
	if len(account) > store.MaxAccountBytes {
		return fmt.Errorf("%w: %d bytes", store.ErrAccountTooLarge, len(account))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byUser[user].version != expect {
		return store.ErrConflict
	}
	if a.byUser == nil {
		a.byUser = make(map[string]accountRecord)
	}
	a.byUser[user] = accountRecord{slices.Clone(account), expect + 1}
	a.users.TellUser(user, store.UserNotice{Account: true})
	return nil
}
