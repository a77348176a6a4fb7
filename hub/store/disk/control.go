package disk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/protocol"
)

// A process that has a store open takes orders from its operator, on a Unix socket in the
// directory. From its first moment on, the socket is open to its owner alone. The right to
// write the store's files is the right to give orders. A connection carries one order and
// one answer, each a line of JSON.

// order is what the operator wants.
type order struct {
	Backup string `json:"backup,omitempty"` // the directory to copy to
}

// answer tells what became of an order.
type answer struct {
	Copied *Copied `json:"copied,omitempty"`
	Error  string  `json:"error,omitempty"`
}

const (
	maxOrder  = 16 << 10 // bytes of an order, and of an answer
	orderTime = 5 * time.Second
	maxOrders = 4 // connections at once; the others are closed
)

// errNoAnswer says that no process listens, or that it has stopped.
var errNoAnswer = errors.New("no answer")

// takeOrders listens until ctx ends. If a directory can have no socket, its store works all
// the same, but without backups while it runs.
func (s *Store) takeOrders(ctx context.Context) {
	if vfs.Root(s.opt.fs) != vfs.Default {
		return // a test's file system in memory: there is no such directory
	}
	listener, err := listenControl(s.opt.Dir)
	if err != nil {
		s.log.Warn("store: `sessionhub backup` will not work while this node runs", "error", fmt.Errorf("listen on %s in %s: %w", controlSocket, s.opt.Dir, err))
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	s.wg.Go(func() {
		defer stop()
		defer removeControl(s.opt.Dir)
		defer listener.Close()
		places := make(chan struct{}, maxOrders)
		for {
			conn, err := listener.Accept()
			switch {
			case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
				if conn != nil {
					_ = conn.Close()
				}
				return
			case err != nil: // such as too many open files
				s.log.Warn("store: take an order", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
				continue
			}
			select {
			case places <- struct{}{}:
				s.wg.Go(func() {
					defer func() { <-places }()
					s.serveOrder(ctx, conn)
				})
			default:
				_ = conn.Close()
			}
		}
	})
}

// serveOrder carries out the order of one connection, until the connection ends.
func (s *Store) serveOrder(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	defer cancel()
	_ = conn.SetReadDeadline(time.Now().Add(orderTime))
	var o order
	if err := readLine(conn, &o); err != nil {
		s.log.Warn("store: an order cannot be read", "error", err)
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if ctx.Err() != nil {
		return
	}
	wg.Go(func() { // a client that has gone wants nothing any more
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	})
	var a answer
	if o.Backup != "" {
		made, err := s.backup(ctx, o.Backup)
		if a.Copied = &made; err != nil {
			a = answer{Error: err.Error()}
		}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(orderTime))
	_, _ = conn.Write(append(protocol.Marshal(a), '\n'))
}

// ask gives an order to the process that has the store in a directory open. It waits for
// the answer until ctx ends.
func ask(ctx context.Context, dir string, o order) (a answer, err error) {
	conn, err := dialControl(dir)
	if err != nil {
		return a, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_, err = conn.Write(append(protocol.Marshal(o), '\n'))
	if err == nil {
		err = readLine(conn, &a)
	}
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return a, ctx.Err()
	}
	return a, fmt.Errorf("%w: %w", errNoAnswer, err)
}

// readLine reads one line of JSON, and refuses one longer than maxOrder.
func readLine(conn net.Conn, to any) error {
	line, err := bufio.NewReader(io.LimitReader(conn, maxOrder)).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, to)
}
