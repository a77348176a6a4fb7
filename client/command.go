package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"sessionhub/protocol"
)

// answerPatience is how long a command waits for its answer over the WebSocket. After that
// the command is sent again as a request.
const answerPatience = 10 * time.Second

var (
	errNoSocket = errors.New("no WebSocket is open")
	errNoAnswer = errors.New("the connection ended before the hub answered")
)

// Message sends a user's text. It repeats the message until the hub has acknowledged or
// refused it, or ctx ends. It uses the stream's WebSocket while one is open, and a request
// otherwise. A message counts once by its messageID, however often it was sent; Message
// makes the id if it is empty.
//
// Message, Approve, Answer and Cancel may be called concurrently with each other and with Next.
// Next reads the WebSocket's answers. While nobody calls Next, a command waits for 10 s
// (answerPatience) and then goes out as a request.
func (s *Stream) Message(ctx context.Context, text, messageID string) (protocol.MessageResponse, error) {
	raw, err := json.Marshal(text)
	if err != nil {
		return protocol.MessageResponse{}, failed("send message", err)
	}
	return s.MessageContent(ctx, protocol.MessageRequest{Content: raw, MessageID: messageID})
}

// MessageContent is Message for content in any form that the hub accepts.
func (s *Stream) MessageContent(ctx context.Context, r protocol.MessageRequest) (protocol.MessageResponse, error) {
	if r.MessageID == "" {
		r.MessageID = "m_" + rand.Text()
	}
	var out protocol.MessageResponse
	_, err := s.repeat(ctx, command{
		op: "send message", kind: protocol.CommandMessage, data: r, out: &out, repeatable: true,
		request: func(ctx context.Context) (err error) { out, err = s.session.MessageContent(ctx, r); return err },
	})
	return out, err
}

// Approve answers a question of the agent, as Session.Approve does. It repeats the answer
// as Message repeats a message.
func (s *Stream) Approve(ctx context.Context, r protocol.ApproveRequest) (protocol.ApproveResponse, error) {
	var out protocol.ApproveResponse
	again, err := s.repeat(ctx, command{
		op: "approve", kind: protocol.CommandApprove, data: r, out: &out, repeatable: true,
		request: func(ctx context.Context) (err error) { out, err = s.session.Approve(ctx, r); return err },
	})
	var late *Error
	if again && errors.As(err, &late) && late.Code == protocol.CodeApprovalResolved && late.Outcome == protocol.OutcomeSelected &&
		(r.OptionID == "" || r.OptionID == late.OptionID) {
		// An earlier attempt got through, and only its answer was lost.
		return protocol.ApproveResponse{InteractionID: r.InteractionID, OptionID: late.OptionID}, nil
	}
	return out, err
}

// Cancel stops a turn, as Session.Cancel does. With a messageID it is repeated as a message
// is. Without one it is repeated only until it may have arrived: after that, it could stop
// another turn.
func (s *Stream) Cancel(ctx context.Context, messageID string) error {
	return s.cancel(ctx, protocol.CancelRequest{MessageID: messageID})
}

// command is a command under way.
type command struct {
	op         string
	kind       protocol.CommandType
	data, out  any
	repeatable bool
	request    func(context.Context) error // the same over HTTP
}

// repeat sends a command until it is answered. again says that an earlier attempt may have
// arrived.
func (s *Stream) repeat(ctx context.Context, c command) (again bool, err error) {
	byRequest, renewed := false, false
	for waits := s.opts.Backoff.begin(); ; {
		token := s.credential.bearer()
		err = errNoSocket
		if !byRequest {
			err = s.socket.send(ctx, c)
		}
		if errors.Is(err, errNoSocket) {
			err = c.request(ctx)
		}
		if err == nil {
			return again, nil
		}
		if ctx.Err() != nil {
			return again, failed(c.op, ctx.Err())
		}
		var refused *Error
		var least time.Duration
		if errors.As(err, &refused) {
			switch {
			case refused.unauthorized() && s.opts.Renew != nil && !renewed:
				renewed = true
				if err := s.renewToken(ctx, token); err != nil {
					return again, fmt.Errorf("renew the token: %w (it was refused: %w)", err, refused)
				}
				byRequest = true // the hub knows only the old token on the WebSocket
				continue
			case !refused.Temporary():
				return again, err
			}
			least = refused.RetryAfter
		} else {
			if !c.repeatable && !unreachable(err) {
				return again, err
			}
			again = true
		}
		byRequest = errors.Is(err, errNoAnswer)
		if byRequest { // the WebSocket broke: a request is worth trying at once
			continue
		}
		if err := sleep(ctx, max(waits.Next(), least)); err != nil {
			return again, failed(c.op, err)
		}
	}
}

// socket is what the commands need of a stream's WebSocket.
type socket struct {
	mu      sync.Mutex // guards the fields below
	conn    *wsConnection
	count   int
	waiting map[string]chan answer // by the command's id; each channel gets one answer
}

type answer struct {
	data json.RawMessage
	err  error
}

// attach sends commands over a connection from now on. The hub was heard on it.
func (k *socket) attach(c connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn, _ = c.(*wsConnection)
	k.waiting = map[string]chan answer{}
}

// detach ends all waits for answers.
func (k *socket) detach() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn = nil
	for _, ch := range k.waiting {
		ch <- answer{err: errNoAnswer}
	}
	k.waiting = nil
}

// answered passes an answer to the command that waits for it. It never blocks.
func (k *socket) answered(id string, a answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ch := k.waiting[id]; ch != nil {
		delete(k.waiting, id)
		ch <- a
	}
}

// send sends a command and waits for its answer.
func (k *socket) send(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	data, err := json.Marshal(c.data)
	if err != nil {
		return failed(c.op, err)
	}
	id, conn, got := k.enter()
	if conn == nil {
		return errNoSocket
	}
	defer k.leave(id)
	raw, err := json.Marshal(protocol.Command{Type: c.kind, ID: id, Data: data})
	if err != nil {
		return failed(c.op, err)
	}
	if err := conn.write(ctx, raw); err != nil {
		return fmt.Errorf("%s: %w: %w", c.op, errNoAnswer, err)
	}
	select {
	case a := <-got:
		switch {
		case a.err != nil:
			return failed(c.op, a.err)
		case c.out == nil:
			return nil
		}
		if err := json.Unmarshal(a.data, c.out); err != nil {
			return fmt.Errorf("%s: read the answer: %w", c.op, err)
		}
		return nil
	case <-ctx.Done():
		return failed(c.op, errNoAnswer)
	}
}

func (k *socket) enter() (string, *wsConnection, chan answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return "", nil, nil
	}
	k.count++
	id := "c" + strconv.Itoa(k.count)
	got := make(chan answer, 1)
	k.waiting[id] = got
	return id, k.conn, got
}

func (k *socket) leave(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.waiting, id)
}

// The types of the frames that answer commands.
const (
	frameAck   = "ack"
	frameError = "error"
)

// takeAnswer reads the answer to a command.
func (s *Stream) takeAnswer(kind protocol.EventType, raw []byte) {
	if kind == frameAck {
		var a protocol.Ack
		if json.Unmarshal(raw, &a) == nil {
			s.socket.answered(a.ID, answer{data: a.Data})
		}
		return
	}
	var e protocol.CommandError
	if json.Unmarshal(raw, &e) == nil {
		s.socket.answered(e.ID, answer{err: &Error{
			Op: "command", Code: e.Error.Code, Detail: e.Error.Detail, RetryAfter: time.Duration(e.Error.RetryAfter) * time.Second,
			Outcome: e.Error.Outcome, OptionID: e.Error.OptionID, Field: e.Error.Field,
		}})
	}
}
