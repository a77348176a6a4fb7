package disk

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
)

// accounts is a store.Accounts. A record is a version and the account's bytes. The mutex is
// held while a record is written, which waits for the disk: people change accounts rarely.
type accounts struct {
	base  *database
	users *mem.UserWatchers

	writing sync.Mutex
}

// metaAccount begins the names of accounts among the 'm' keys. Versions without accounts
// pass over the names that they do not know, so they can open this store and check it.
const metaAccount = "account:"

func accountKey(user string) []byte { return metaKey(metaAccount + user) }

// LoadAccount implements store.Accounts.
func (a *accounts) LoadAccount(_ context.Context, user string) ([]byte, uint64, error) {
	if err := a.base.enter(); err != nil {
		return nil, 0, err
	}
	defer a.base.gate.RUnlock()
	return a.load(user)
}

func (a *accounts) load(user string) ([]byte, uint64, error) {
	record, ok, err := a.base.get(accountKey(user))
	if err != nil || !ok {
		return nil, 0, err
	}
	version, account, err := decodeAccount(record)
	if err != nil {
		return nil, 0, fmt.Errorf("the account of a user: %w", damaged(err))
	}
	return account, version, nil
}

// decodeAccount takes a record apart. A record of version 0 is none.
func decodeAccount(record []byte) (version uint64, account []byte, err error) {
	version, n := binary.Uvarint(record)
	if n <= 0 || version == 0 {
		return 0, nil, errShort
	}
	return version, record[n:], nil
}

// SaveAccount implements store.Accounts.
func (a *accounts) SaveAccount(_ context.Context, user string, expect uint64, account []byte) error {
	if len(account) > store.MaxAccountBytes {
		return fmt.Errorf("%w: %d bytes", store.ErrAccountTooLarge, len(account))
	}
	if err := a.base.enter(); err != nil {
		return err
	}
	defer a.base.gate.RUnlock()
	a.writing.Lock()
	defer a.writing.Unlock()
	_, version, err := a.load(user)
	if err != nil {
		return err
	}
	if version != expect {
		return store.ErrConflict
	}
	batch := a.base.db.NewBatch()
	defer batch.Close()
	if err := batch.Set(accountKey(user), append(binary.AppendUvarint(nil, version+1), account...), nil); err != nil {
		return err
	}
	if err := a.base.apply(batch); err != nil {
		return err
	}
	a.users.TellUser(user, store.UserNotice{Account: true})
	return nil
}

// accountRecords reads the records of accounts, all of which must decode.
func (c *checker) accountRecords() {
	it, err := c.db.NewIter(nil)
	if err != nil {
		c.fault("", doRestore, "read the accounts: %v", err)
		return
	}
	first := accountKey("")
	for ok := it.SeekGE(first); ok && len(it.Key()) >= len(first) && string(it.Key()[:len(first)]) == string(first); ok = it.Next() {
		record, err := it.ValueAndErr()
		if err == nil {
			_, _, err = decodeAccount(record)
		}
		if err != nil {
			c.fault("", doRestore, "the account of the user %q does not decode: %v", it.Key()[len(first):], err)
		}
	}
	if err := it.Error(); err != nil {
		c.fault("", doRestore, "read the accounts: %v", err)
	}
	_ = it.Close()
}
