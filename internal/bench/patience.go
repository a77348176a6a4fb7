package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"sessionhub/client"
)

// How long a request is made again while the hub says 503, and how soon. That is
// its answer while its store does not, and its clients do as it says.
const (
	maxPatience = 30 * time.Second
	askAgain    = time.Second
)

// patience makes requests again that were refused for a while. Any goroutine may
// use it.
type patience struct{ refused atomic.Uint64 }

func (p *patience) ask(ctx context.Context, request func() error) error {
	until := time.Now().Add(maxPatience)
	for {
		err := request()
		if !unavailable(err) {
			return err
		}
		p.refused.Add(1)
		if time.Now().After(until) {
			return err
		}
		if paused := pause(ctx, askAgain); paused != nil {
			return errors.Join(err, paused)
		}
	}
}

func unavailable(err error) bool {
	var answer *client.Error
	var head *refusedError
	return errors.As(err, &answer) && answer.Status == http.StatusServiceUnavailable ||
		errors.As(err, &head) && bytes.HasPrefix(head.head, []byte("HTTP/1.1 503 "))
}

// refusedError is an answer other than that which opens a stream.
type refusedError struct{ head []byte }

func (e *refusedError) Error() string { return fmt.Sprintf("refused: %.300q", e.head) }
