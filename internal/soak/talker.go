package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// talker is the person of one session: sends messages one after the other, answers
// questions, cancels now and then, and judges each turn.
type talker struct {
	session *client.Session
	record  *Record
	rng     *rand.Rand // owned by run
	count   *counts
	sent    int
	last    plan // of the message under way
}

// plan is one message and what its turn must look like.
type plan struct {
	text    string
	n, size int // of a /stream
	cancel  time.Duration
}

// next thinks of a message.
func (t *talker) next() plan {
	switch k := t.rng.IntN(20); {
	case k < 12:
		p := plan{n: 10 + t.rng.IntN(60), size: 20 + t.rng.IntN(200)}
		p.text = fmt.Sprintf("/stream %d %d %d", p.n, p.size, 20+t.rng.IntN(60))
		if t.rng.IntN(8) == 0 {
			p.cancel = time.Duration(t.rng.IntN(1000)) * time.Millisecond
		}
		return p
	case k < 16:
		return plan{text: "/approve may I?"}
	case k < 18:
		return plan{text: fmt.Sprintf("/slow %.1f", t.rng.Float64()*2)}
	case k < 19:
		return plan{text: "/crash"}
	default:
		return plan{text: "/think about it"}
	}
}

// run talks until stop is closed, then finishes the message under way. ctx ends
// everything.
func (t *talker) run(ctx context.Context, stop <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-stop:
			return
		default:
		}
		t.turn(ctx, t.next())
		sleep(ctx, time.Duration(t.rng.IntN(300))*time.Millisecond)
	}
}

// turn sends one message and follows it to its end.
func (t *talker) turn(ctx context.Context, p plan) (protocol.CompleteData, bool) {
	t.sent++
	id := fmt.Sprintf("m%d", t.sent)
	if !t.send(ctx, p.text, id) {
		return protocol.CompleteData{}, false
	}
	var cancel <-chan time.Time
	if p.cancel > 0 {
		cancel = time.After(p.cancel)
	}
	for {
		changed := t.record.Changed()
		turn, known := t.record.Turn(id)
		if known && turn.End != nil {
			if err := judge(p, turn); err != nil {
				t.record.Find("%v", err)
			}
			t.count.turn(*turn.End)
			return *turn.End, true
		}
		for _, q := range t.record.Open() {
			t.answer(ctx, q)
		}
		select {
		case <-changed:
		case <-cancel:
			cancel = nil
			_ = t.session.Cancel(ctx, id) // it may be over, or the hub away
		case <-time.After(time.Second): // an answer may have been refused
		case <-ctx.Done():
			return protocol.CompleteData{}, false
		}
	}
}

func judge(p plan, turn Turn) error {
	if p.n > 0 {
		return CheckStream(turn, p.n, p.size)
	}
	return nil
}

// send has the hub accept a message, however often that takes: its id makes a
// repeat harmless.
func (t *talker) send(ctx context.Context, text, id string) bool {
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := t.session.Message(attempt, text, id)
		cancel()
		var refused *client.Error
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		case errors.As(err, &refused) && !refused.Temporary():
			t.record.Find("the message %s was refused: %v", id, err)
			return false
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

func (t *talker) answer(ctx context.Context, q protocol.ToolApprovalData) {
	attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := t.session.Approve(attempt, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce})
	var refused *client.Error
	if errors.As(err, &refused) && !refused.Temporary() && refused.Code != protocol.CodeApprovalResolved {
		t.record.Find("the answer to %s was refused: %v", q.InteractionID, err)
	}
}
