package chat

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

const (
	// maxInput bounds what is read of stdin; the hub takes less.
	maxInput = 64 << 20
	// maxAttempts is how many connections may fail in a row before a program that
	// waits for the answer is told: about two minutes.
	maxAttempts = 12
	// farewell is how long a chat that was interrupted may take to stop its turn.
	farewell = 5 * time.Second
)

// piped is a chat without a person: one message, one answer. Owned by the
// goroutine of pipe, but for the commands.
type piped struct {
	o       Options
	session opened
	stream  *client.Stream
	message string // id of ours

	wg       sync.WaitGroup // commands
	newline  bool           // the answer ended with one, or is empty
	text     textRun
	said     text.Stream
	unasked  bool // the agent does not ask, and it was said
	titles   map[string]string
	told     map[string]bool // tool calls whose end was said
	result   error
	complete bool
}

// pipe sends stdin as one message and prints the answer.
func pipe(ctx context.Context, o Options) error {
	content, err := io.ReadAll(io.LimitReader(o.In, maxInput))
	if err != nil {
		return fmt.Errorf("read the message: %w", err)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return errors.New("there is nothing to say: stdin is empty")
	}
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	p := &piped{
		o: o, session: s, message: "m_" + rand.Text(), newline: true, titles: map[string]string{}, told: map[string]bool{},
	}
	p.say("session %s", s.session.ID())
	p.warn(sessionOptions{mode: s.info.Mode, asking: s.info.Asking})
	after := ""
	if !s.made {
		after = "latest"
	}
	p.stream = s.session.Stream(client.StreamOptions{
		After: after, Transport: o.Transport, Renew: s.renew(o), MaxAttempts: maxAttempts,
		OnRetry: func(reason error, wait time.Duration) {
			p.say("connection lost: %s; the next in %s", text.Line(reason.Error()), wait.Round(100*time.Millisecond))
		},
	})
	err = p.run(ctx, strings.TrimRight(string(content), "\n"))
	p.stream.Close()
	if o.Remove && s.made {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if rerr := s.session.Delete(end); rerr != nil && err == nil {
			err = rerr
		}
	}
	return err
}

// run sends the message when the stream is there, so that nothing of the answer
// can be missed, and reads to its end.
func (p *piped) run(ctx context.Context, message string) error {
	work, cancel := context.WithCancelCause(ctx)
	defer p.wg.Wait()
	defer cancel(nil)
	sent := false
	for !p.complete {
		f, err := p.stream.Next(work)
		if err != nil {
			return p.stopped(ctx, work, err)
		}
		// From here on nothing of the answer can be missed.
		if !sent && f.Control() == protocol.ControlCaughtUp {
			sent = true
			p.command(work, cancel, func(ctx context.Context) error {
				_, err := p.stream.Message(ctx, message, p.message)
				return err
			})
		}
		if err := p.frame(work, cancel, f); err != nil {
			return err
		}
	}
	if !p.newline && !p.o.JSON {
		if _, err := io.WriteString(p.o.Out, "\n"); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return p.result
}

// stopped says why there is no more of the answer. An interrupt stops the turn.
func (p *piped) stopped(ctx, work context.Context, err error) error {
	if cause := context.Cause(work); ctx.Err() == nil && cause != nil {
		return explain(cause)
	}
	if ctx.Err() != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if cerr := p.session.session.Cancel(end, p.message); cerr != nil {
			p.say("the turn could not be stopped: %s", text.Prose(explain(cerr).Error()))
		}
		return errors.New("interrupted; the turn was stopped")
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the session ended before the answer did: somebody deleted it, or it expired")
	}
	return explain(err)
}

// command runs a command beside Next. Its failure ends the chat.
func (p *piped) command(ctx context.Context, cancel context.CancelCauseFunc, f func(context.Context) error) {
	p.wg.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			cancel(err)
		}
	})
}

// warn says once that the agent does not ask.
func (p *piped) warn(o sessionOptions) {
	unasked := o.unasked() != ""
	if unasked && !p.unasked {
		p.say("the agent does not ask before it acts (mode %s)", oneLine(o.mode, 60))
	}
	p.unasked = unasked
}

func (p *piped) say(format string, args ...any) {
	fmt.Fprintf(p.o.Err, "sessionhub chat: "+format+"\n", args...)
}

// frame does what a frame asks for. Only what belongs to the message that was
// sent here is printed, answered and waited for: others may use the session, too.
func (p *piped) frame(ctx context.Context, cancel context.CancelCauseFunc, f client.Frame) error {
	if f.Control() != "" {
		if f.Control() == protocol.ControlGap {
			p.say("a part of the answer is not kept any more")
		}
		return nil
	}
	if p.o.JSON {
		if _, err := p.o.Out.Write(append(text.JSON(f.Raw), '\n')); err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
	}
	switch f.Type {
	case protocol.EventOutput:
		if d, ok := decode[protocol.OutputData](f.Data); ok && d.MessageID == p.message && d.Kind != protocol.OutputThought {
			return p.print(p.said.Write(p.text.unseen(f.Event, d)))
		}
	case protocol.EventConfigOptions:
		if d, ok := decode[protocol.ConfigOptionsData](f.Data); ok {
			p.warn(sessionOptions{mode: d.Mode, asking: d.Asking})
		}
	case protocol.EventToolCall:
		if d, ok := decode[protocol.ToolCallData](f.Data); ok && d.MessageID == p.message {
			p.tool(d)
		}
	case protocol.EventToolApproval:
		if d, ok := decode[protocol.ToolApprovalData](f.Data); ok && d.MessageID == p.message {
			p.answer(ctx, cancel, d)
		}
	case protocol.EventElicitation:
		if q, ok := decode[protocol.ElicitationData](f.Data); ok && q.MessageID == p.message {
			p.elicitation(ctx, cancel, q)
		}
	case protocol.EventStatus:
		if d, ok := decode[protocol.StatusData](f.Data); ok && d.Status == protocol.StatusFailed {
			p.say("the session failed: %s", failed(d.Detail))
		}
	case protocol.EventComplete:
		if d, ok := decode[protocol.CompleteData](f.Data); ok && d.MessageID == p.message {
			p.complete = true
			if err := p.print(p.said.End()); err != nil {
				return err
			}
			if d.StopReason != protocol.StopEndTurn {
				p.result = fmt.Errorf("%w: %s", ErrUnfinished, failure(d))
			}
		}
	}
	return nil
}

func (p *piped) print(piece string) error {
	if p.o.JSON || piece == "" {
		return nil
	}
	p.newline = strings.HasSuffix(piece, "\n")
	if _, err := io.WriteString(p.o.Out, piece); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

func (p *piped) tool(d protocol.ToolCallData) {
	if d.Title != "" {
		p.titles[d.ToolCallID] = oneLine(d.Title, 200)
	}
	// A call can go on behind its end, and comes again as a compacted event does.
	if finished(d.Status) && !p.told[d.ToolCallID] && !p.o.JSON {
		p.told[d.ToolCallID] = true
		p.say("tool %s: %s", d.Status, p.titles[d.ToolCallID])
	}
}

// answer answers a question of the agent as --approve says. Nobody is there who
// could be asked: without it, the answer is no.
func (p *piped) answer(ctx context.Context, cancel context.CancelCauseFunc, d protocol.ToolApprovalData) {
	decision := protocol.RejectOnce
	switch title := text.ExactLine(d.Title); p.o.Approve {
	case ApproveAllow:
		decision = protocol.AllowOnce
		p.say("allowed: %s", title)
		if d.Truncated {
			p.say("it has %d bytes, of which the log shows a part", d.FullBytes)
		}
	case ApproveReject:
		p.say("rejected: %s", title)
	default:
		p.say("rejected, since nobody can be asked here (--approve allow says otherwise): %s", title)
	}
	p.command(ctx, cancel, func(ctx context.Context) error {
		if d.Truncated && decision == protocol.AllowOnce { // the hub wants it to be opened first
			if _, err := p.session.session.ApprovalContent(ctx, d.InteractionID); err != nil {
				return err
			}
		}
		_, err := p.stream.Approve(ctx, protocol.ApproveRequest{InteractionID: d.InteractionID, Decision: decision})
		var refused *client.Error
		if !errors.As(err, &refused) {
			return err
		}
		switch refused.Code {
		case protocol.CodeApprovalResolved, protocol.CodeApprovalExpired: // somebody else was faster
			return nil
		case protocol.CodeUnknownOption: // the agent has no way to be told so
			return p.stream.Cancel(ctx, p.message)
		}
		return err
	})
}
