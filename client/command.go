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

// answerPatience is how long an answer over the WebSocket is waited for before
// the command goes out again as a request.
const answerPatience = 10 * time.Second

var (
	errNoSocket = errors.New("no WebSocket is open")
	errNoAnswer = errors.New("the connection ended before the hub answered")
)

// Message sends a user's text and repeats it until the hub has acknowledged or
// refused it, or ctx ends: over the stream's WebSocket where one is open, as a
// request otherwise. However often it was sent it counts once, by its messageID,
// which is made here if it is empty.
//
// Message, Approve and Cancel may be called concurrently with each other and
// with Next. A WebSocket's answers are read by Next: while nobody calls it, a
// command waits for answerPatience and then takes the other way.
func (s *Stream) Message(ctx context.Context, text, messageID string) (protocol.MessageResponse, error) {
	raw, err := json.Marshal(text)
	if err != nil {
		return protocol.MessageResponse{}, failed("send message", err)
	}
	return s.MessageContent(ctx, protocol.MessageRequest{Content: raw, MessageID: messageID})
}

// MessageContent is Message for content in any form that the hub takes.
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

// Approve answers a question of the agent, as Session.Approve does, and repeats
// the answer as Message repeats a message.
func (s *Stream) Approve(ctx context.Context, r protocol.ApproveRequest) (protocol.ApproveResponse, error) {
	var out protocol.ApproveResponse
	again, err := s.repeat(ctx, command{
		op: "approve", kind: protocol.CommandApprove, data: r, out: &out, repeatable: true,
		request: func(ctx context.Context) (err error) { out, err = s.session.Approve(ctx, r); return err },
	})
	var late *Error
	if again && errors.As(err, &late) && late.Code == protocol.CodeApprovalResolved && late.Outcome == protocol.OutcomeSelected &&
		(r.OptionID == "" || r.OptionID == late.OptionID) {
		// An earlier sending got through, and only its answer was lost.
		return protocol.ApproveResponse{InteractionID: r.InteractionID, OptionID: late.OptionID}, nil
	}
	return out, err
}

// Cancel stops a turn, as Session.Cancel does. With a messageID it is repeated
// as Message is; without one only until it may have arrived, since by then it
// could hit another turn.
func (s *Stream) Cancel(ctx context.Context, messageID string) error {
	_, err := s.repeat(ctx, command{
		op: "cancel", kind: protocol.CommandCancel, data: protocol.CancelRequest{MessageID: messageID}, repeatable: messageID != "",
		request: func(ctx context.Context) error { return s.session.Cancel(ctx, messageID) },
	})
	return err
}

// command is one that is under way.
type command struct {
	op         string
	kind       protocol.CommandType
	data, out  any
	repeatable bool
	request    func(context.Context) error // the same over HTTP
}

// repeat sends a command until it is answered. again: an earlier sending may
// have arrived.
func (s *Stream) repeat(ctx context.Context, c command) (again bool, err error) {
	byRequest, renewed := false, false
	for failures := 0; ; {
		token := s.session.bearer()
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
				byRequest = true // the socket has the old one until it is told
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
		if byRequest { // what is between broke: the other way is worth trying at once
			continue
		}
		failures++
		if err := sleep(ctx, max(s.opts.Backoff.wait(failures), least)); err != nil {
			return again, failed(c.op, err)
		}
	}
}

// renewToken replaces a token that was refused, unless somebody else has: Next
// and the commands may find out at the same time.
func (s *Stream) renewToken(ctx context.Context, old string) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if s.session.bearer() != old {
		return nil
	}
	token, err := s.opts.Renew(ctx)
	if err != nil {
		return err
	}
	s.session.SetToken(token)
	return nil
}

// socket is the commands' end of a stream's WebSocket.
type socket struct {
	mu      sync.Mutex // guards the fields below
	conn    *wsConnection
	count   int
	waiting map[string]chan answer // by the command's id; each gets one
}

type answer struct {
	data json.RawMessage
	err  error
}

// attach lets commands out on a connection on which the hub was heard.
func (k *socket) attach(c connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn, _ = c.(*wsConnection)
	k.waiting = map[string]chan answer{}
}

// detach ends what waits for answers.
func (k *socket) detach() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn = nil
	for _, ch := range k.waiting {
		ch <- answer{err: errNoAnswer}
	}
	k.waiting = nil
}

// answered hands an answer to whoever waits for it. It never blocks.
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
			Outcome: e.Error.Outcome, OptionID: e.Error.OptionID,
		}})
	}
}
