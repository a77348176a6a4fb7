package mem

import (
	"slices"
	"sync"

	"sessionhub/hub/store"
)

// UserWatchers is a store.UserWatcher of one process. It loses no notice. The zero value is
// ready. Watchers are called under a lock of their own alone.
type UserWatchers struct {
	mu     sync.RWMutex
	byUser map[string][]*userWatcher // the slices are replaced, never changed
}

// userWatcher is one call of WatchUser. Its mutex is held while notify runs.
type userWatcher struct {
	mu     sync.Mutex
	notify func(store.UserNotice) // nil once it has stopped
}

// WatchUser implements store.UserWatcher.
func (u *UserWatchers) WatchUser(user string, notify func(store.UserNotice)) func() {
	w := &userWatcher{notify: notify}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byUser == nil {
		u.byUser = make(map[string][]*userWatcher)
	}
	u.byUser[user] = append(slices.Clip(u.byUser[user]), w)
	return func() {
		w.mu.Lock()
		w.notify = nil
		w.mu.Unlock()
		u.mu.Lock()
		defer u.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(u.byUser[user]), func(o *userWatcher) bool { return o == w })
		if len(left) == 0 {
			delete(u.byUser, user)
		} else {
			u.byUser[user] = left
		}
	}
}

// TellUser gives a notice to the user's watchers.
func (u *UserWatchers) TellUser(user string, n store.UserNotice) {
	u.mu.RLock()
	watchers := u.byUser[user]
	u.mu.RUnlock()
	for _, w := range watchers {
		w.call(n)
	}
}

func (w *userWatcher) call(n store.UserNotice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify != nil {
		w.notify(n)
	}
}
