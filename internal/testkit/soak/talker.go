package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// talker is the person of one session: sends messages one after the other, answers
// questions, cancels now and then, and judges each turn.
type talker struct {
	nodes  []*client.Session // the session through each node
	record *Record
	rng    *rand.Rand // owned by run
	count  *counts
	group  Group
	loses  bool // the store may lose what it has acknowledged
	sent   int

	quiet atomic.Bool // run has ended
}

// missed is after how long a message that is not in the log is sent again to a
// store that loses things.
const missed = 3 * time.Second

// session is the session through any of the nodes: another one each time, as a
// balancer does it. It is for whoever owns rng.
func (t *talker) session() *client.Session { return t.nodes[t.rng.IntN(len(t.nodes))] }

// run talks until stop is closed, then finishes the message under way. ctx ends
// everything.
func (t *talker) run(ctx context.Context, stop <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-stop:
			t.quiet.Store(true)
			return
		default:
		}
		t.turn(ctx, t.group.Next(t.rng))
		sleep(ctx, time.Duration(t.rng.IntN(300))*time.Millisecond)
	}
}

// turn sends one message and follows it to its end.
func (t *talker) turn(ctx context.Context, p Plan) (protocol.CompleteData, bool) {
	t.sent++
	id := fmt.Sprintf("m%d", t.sent)
	if _, ok := t.send(ctx, p.Text, id); !ok {
		return protocol.CompleteData{}, false
	}
	sent := time.Now()
	var cancel <-chan time.Time
	if p.Cancel > 0 {
		cancel = time.After(p.Cancel)
	}
	for {
		changed := t.record.Changed()
		turn, known := t.record.Turn(id)
		if known && turn.End != nil {
			if p.Check != nil {
				if err := p.Check(turn); err != nil {
					t.record.Find("%v", err)
				}
			}
			t.count.turn(*turn.End)
			return *turn.End, true
		}
		if t.loses && !known && time.Since(sent) > missed {
			// Its id makes this harmless if it was kept.
			kept, ok := t.send(ctx, p.Text, id)
			if !ok {
				return protocol.CompleteData{}, false
			}
			if !kept {
				t.count.lose()
			}
			sent = time.Now()
		}
		for _, q := range t.record.Open() {
			t.answer(ctx, q)
		}
		select {
		case <-changed:
		case <-cancel:
			cancel = nil
			t.cancel(ctx, id)
		case <-time.After(time.Second): // an answer may have been refused
		case <-ctx.Done():
			return protocol.CompleteData{}, false
		}
	}
}

// send has the hub accept a message, however often that takes: its id makes a
// repeat harmless. kept: it had accepted it before.
func (t *talker) send(ctx context.Context, text, id string) (kept, ok bool) {
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		answer, err := t.session().Message(attempt, text, id)
		cancel()
		var refused *client.Error
		switch {
		case err == nil:
			return answer.Duplicate, true
		case ctx.Err() != nil:
			return false, false
		case errors.As(err, &refused) && !refused.Temporary():
			t.record.Find("the message %s was refused: %v", id, err)
			return false, false
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// cancel tries once: the turn may be over, or the hub away.
func (t *talker) cancel(ctx context.Context, id string) {
	attempt, end := context.WithTimeout(ctx, 10*time.Second)
	defer end()
	_ = t.session().Cancel(attempt, id)
}

func (t *talker) answer(ctx context.Context, q protocol.ToolApprovalData) {
	attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := t.session().Approve(attempt, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce})
	var refused *client.Error
	switch {
	case !errors.As(err, &refused) || refused.Temporary() || refused.Code == protocol.CodeApprovalResolved:
	case t.loses && refused.Code == protocol.CodeNotFound: // the question was lost; its gap is on its way
	default:
		t.record.Find("the answer to %s was refused: %v", q.InteractionID, err)
	}
}
