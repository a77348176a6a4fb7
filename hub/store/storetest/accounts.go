package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/store"
)

// accounts are calls of the accounts of a store.
type accounts struct{ *ground }

// account reads a user's record.
func (f accounts) account(user string) (string, uint64) {
	f.Helper()
	account, version, err := f.store.LoadAccount(f.ctx, user)
	if err != nil {
		f.Fatalf("load the account of %q: %v", user, err)
	}
	return string(account), version
}

// saveAccount stores a user's record in the place of the present one.
func (f accounts) saveAccount(user, account string) {
	f.Helper()
	_, version := f.account(user)
	if err := f.store.SaveAccount(f.ctx, user, version, []byte(account)); err != nil {
		f.Fatalf("save the account of %q: %v", user, err)
	}
}

func testAccounts(f *fixture) {
	if account, version := f.account("ann"); account != "" || version != 0 {
		f.Errorf("a user without a record has %q of version %d", account, version)
	}
	if err := f.store.SaveAccount(f.ctx, "ann", 1, []byte("x")); !errors.Is(err, store.ErrConflict) {
		f.Errorf("a record in the place of one that is not there: %v", err)
	}
	f.saveAccount("ann", "first")
	_, first := f.account("ann")
	f.saveAccount("ann", "second\x00\xff\r\n")
	account, second := f.account("ann")
	if account != "second\x00\xff\r\n" || first == 0 || second == 0 || first == second {
		f.Errorf("%q of version %d after version %d", account, second, first)
	}
	for _, stale := range []uint64{0, first, second + 1} {
		if err := f.store.SaveAccount(f.ctx, "ann", stale, []byte("lost")); !errors.Is(err, store.ErrConflict) {
			f.Errorf("a change of version %d: %v", stale, err)
		}
	}
	// Names may hold anything, and no name is taken for another one.
	odd := []string{"", "an", "anna", "a}n", "{ann}", "ann:account", "a n\n", strings.Repeat("n", 1000)}
	for _, user := range odd {
		f.saveAccount(user, "of "+user)
	}
	for _, user := range odd {
		if account, _ := f.account(user); account != "of "+user {
			f.Errorf("the record of %q is %q", user, account)
		}
	}
	if again, version := f.account("ann"); again != account || version != second {
		f.Errorf("%q of version %d", again, version)
	}
	// A user without sessions, and one with some, keep their records when sessions go.
	f.create("s1", "ann")
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Error(err)
	}
	if again, _ := f.account("ann"); again != account {
		f.Errorf("%q after a session was deleted", again)
	}
	whole := bytes.Repeat([]byte("a"), store.MaxAccountBytes)
	if err := f.store.SaveAccount(f.ctx, "big", 0, append(whole, 'a')); !errors.Is(err, store.ErrAccountTooLarge) {
		f.Errorf("a record that is too large: %v", err)
	}
	f.saveAccount("big", string(whole))
	if big, _ := f.account("big"); big != string(whole) {
		f.Errorf("%d bytes of the largest record", len(big))
	}
}

// Of many changes that were decided on one version, one is stored.
func testAccountRace(f *fixture) {
	const rounds, at = 20, 8
	for round := range rounds {
		_, version := f.account("ann")
		var won atomic.Int64
		var winner atomic.Value
		var wg sync.WaitGroup
		for i := range at {
			wg.Go(func() {
				text := fmt.Sprint(round, " ", i)
				switch err := f.store.SaveAccount(f.ctx, "ann", version, []byte(text)); {
				case err == nil:
					won.Add(1)
					winner.Store(text)
				case !errors.Is(err, store.ErrConflict):
					f.Error(err)
				}
			})
		}
		wg.Wait()
		if account, _ := f.account("ann"); won.Load() != 1 || account != winner.Load() {
			f.Fatalf("%d changes were stored, and %q is there", won.Load(), account)
		}
	}
}

// The watchers of a user hear of a change after it was stored, and no other user's do.
func testAccountWatch(f *fixture) {
	var told, others atomic.Int64
	stop := f.store.WatchUser("ann", func(n store.UserNotice) {
		if n.Account || n.Lost {
			told.Add(1)
		}
	})
	defer stop()
	defer f.store.WatchUser("bob", func(n store.UserNotice) {
		if n.Account {
			others.Add(1)
		}
	})()
	f.saveAccount("bob", "warm")
	deadline := time.Now().Add(watchTime)
	for told.Load() == 0 || others.Load() == 0 { // the watches are being made
		f.saveAccount("ann", "early")
		f.saveAccount("bob", "early")
		if time.Now().After(deadline) {
			f.Fatal("no notice of an account")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for i := range 20 {
		before := told.Load()
		f.saveAccount("ann", fmt.Sprint("change ", i))
		for told.Load() == before {
			if time.Now().After(deadline.Add(watchTime)) {
				f.Fatalf("no notice of change %d", i)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
