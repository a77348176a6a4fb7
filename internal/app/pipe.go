package app

import (
	"context"
	"io"
	"sync"
)

// pipe is one end of a worker link inside this process: the embedded worker and
// the hub speak the same frames over it as over a WebSocket. It holds no frame:
// a writer waits until the other end has read.
type pipe struct {
	in     <-chan []byte
	out    chan<- []byte
	closed chan struct{} // shared by both ends
	close  func()
}

// newPipe returns both ends. Closing one closes the other.
func newPipe() (a, b *pipe) {
	to, from := make(chan []byte), make(chan []byte)
	closed := make(chan struct{})
	end := sync.OnceFunc(func() { close(closed) })
	return &pipe{in: to, out: from, closed: closed, close: end}, &pipe{in: from, out: to, closed: closed, close: end}
}

func (p *pipe) ReadFrame(ctx context.Context) ([]byte, error) {
	select {
	case f := <-p.in:
		return f, nil
	case <-p.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) WriteFrame(ctx context.Context, frame []byte) error {
	select {
	case p.out <- frame:
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) Close() error {
	p.close()
	return nil
}
