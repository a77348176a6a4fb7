package client

import (
	"context"
	"net/http"

	"sessionhub/protocol"
)

// Stop is Cancel, and holds what waits: no message runs before somebody sends it
// (protocol.QueueRelease).
func (s *Session) Stop(ctx context.Context, messageID string) error {
	return s.cancel(ctx, protocol.CancelRequest{MessageID: messageID, Hold: true})
}

func (s *Session) cancel(ctx context.Context, r protocol.CancelRequest) error {
	return s.do(ctx, "cancel", http.MethodPost, "/cancel", nil, r, nil)
}

// Queue reads the messages that wait, the next one first.
func (s *Session) Queue(ctx context.Context) (protocol.Queue, error) {
	var out protocol.Queue
	err := s.do(ctx, "read the queue", http.MethodGet, "/queue", nil, nil, &out)
	return out, err
}

// ChangeQueue changes the messages that wait, and gives the queue as it is then. An *Error
// with protocol.CodeMessageRunning says that a worker has the message, or that it is over.
func (s *Session) ChangeQueue(ctx context.Context, r protocol.QueueRequest) (protocol.Queue, error) {
	var out protocol.Queue
	err := s.do(ctx, "change the queue", http.MethodPost, "/queue", nil, r, &out)
	return out, err
}

// Stop is Cancel, and holds what waits, as Session.Stop does. Without a messageID it is not
// repeated after it may have arrived.
func (s *Stream) Stop(ctx context.Context, messageID string) error {
	return s.cancel(ctx, protocol.CancelRequest{MessageID: messageID, Hold: true})
}

func (s *Stream) cancel(ctx context.Context, r protocol.CancelRequest) error {
	_, err := s.repeat(ctx, command{
		op: "cancel", kind: protocol.CommandCancel, data: r, repeatable: r.MessageID != "",
		request: func(ctx context.Context) error { return s.session.cancel(ctx, r) },
	})
	return err
}

// ChangeQueue changes the messages that wait, as Session.ChangeQueue does. It is not
// repeated after it may have arrived: somebody could have changed the queue since.
func (s *Stream) ChangeQueue(ctx context.Context, r protocol.QueueRequest) (protocol.Queue, error) {
	var out protocol.Queue
	_, err := s.repeat(ctx, command{
		op: "change the queue", kind: protocol.CommandQueue, data: r, out: &out,
		request: func(ctx context.Context) (err error) { out, err = s.session.ChangeQueue(ctx, r); return err },
	})
	return out, err
}
