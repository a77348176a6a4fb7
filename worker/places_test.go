package worker

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// One user's requests hang, as many as the hub lets through. Another user's request is worked
// on all the same.
func TestOneUsersRequestsLeaveRoomForOthers(t *testing.T) {
	l := newRepository(t)
	if err := syscall.Unlink(filepath.Join(l.dir, ".git/HEAD")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(l.dir, ".git/HEAD"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 * maxRequestsAtWork {
		l.w.onRequest(protocol.WorkerRequest{ID: "slow", UserID: "one", Method: protocol.MethodGitChanges, WorkingDirectory: l.dir})
	}
	p := l.w.requests.atWork
	judge.Within(t, 10*time.Second, "as many slow requests as may be", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		own := p.byUser["one"]
		return own != nil && own.using == 2*maxRequestsAtWork && len(p.all) == p.perUser
	})
	ctx, cancel := context.WithTimeout(t.Context(), requestTime/2) // before the slow ones end
	defer cancel()
	_, err := l.w.handle(ctx, protocol.WorkerRequest{
		ID: "quick", UserID: "two", Method: protocol.MethodFilesRead, WorkingDirectory: l.dir,
		Params: protocol.Marshal(protocol.FilesReadParams{Path: "a.txt", Limit: 10}),
	})
	if err != nil {
		t.Errorf("the other user's request: %v", err)
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(3, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var release []func()
		for _, user := range []string{"one", "one", "two"} {
			f, err := p.take(ctx, user)
			if err != nil {
				t.Fatal(err)
			}
			release = append(release, f)
		}
		for _, user := range []string{"one", "two", "three"} {
			if _, err := p.take(ctx, user); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a place too many for %s: %v", user, err)
			}
		}
		for _, f := range release {
			f()
		}
		if len(p.all) != 0 || len(p.byUser) != 0 {
			t.Errorf("%d places and %d users stay", len(p.all), len(p.byUser))
		}
	})
}
