package demoagent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

// session is one conversation. Its methods may be called at the same time.
type session struct {
	id  acp.SessionId // immutable
	cwd string        // immutable, absolute

	running sync.Mutex // held by the turn that runs; taken before mu

	mu      sync.Mutex // guards the fields below; no callbacks under it
	mode    acp.SessionModeId
	options map[string]acp.SessionConfigValueId
	rules   map[string]bool // what was answered with "always", by toolCall.rule
	waiting []*turn         // arrived, not yet taken up, oldest first
	current []*turn         // taken up

	background []*turn // what goes on behind the end of a turn; at most maxBackground

	heard   int // bytes of all prompts
	written int // bytes of all answers
}

// maxRules bounds the answers that are remembered; further ones hold once.
const maxRules = 1000

// arrive makes the turn of a prompt that has just been read, so that a cancel
// which is read next finds it.
func (s *session) arrive(life context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, newTurn(life, s))
}

// takeUp returns the oldest turn that waits.
func (s *session) takeUp(life context.Context) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := newTurn(life, s)
	if len(s.waiting) > 0 {
		t.cancel()
		t, s.waiting = s.waiting[0], s.waiting[1:]
	}
	s.current = append(s.current, t)
	return t
}

func (s *session) done(t *turn) {
	t.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = slices.DeleteFunc(s.current, func(other *turn) bool { return other == t })
	s.background = slices.DeleteFunc(s.background, func(other *turn) bool { return other == t })
}

// cancel ends the turns, or what goes on in the background if there is none. all: both.
func (s *session) cancel(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns := slices.Concat(s.waiting, s.current)
	if all || len(turns) == 0 {
		turns = append(turns, s.background...)
	}
	for _, t := range turns {
		t.cancel()
	}
}

func (s *session) settings() (acp.SessionModeId, acp.SessionConfigValueId) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode, s.options[modelOption]
}

// ruled returns the remembered answer to a tool call.
func (s *session) ruled(rule string) (allowed, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	allowed, known = s.rules[rule]
	return allowed, known
}

func (s *session) remember(rule string, allowed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rules) < maxRules {
		s.rules[rule] = allowed
	}
}

// use adds a turn's bytes to the session's usage. It returns the turn's in tokens of four
// bytes: real agents count the turn, although ACP's text speaks of all turns.
func (s *session) use(heard, written int) *acp.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard += heard
	s.written += written
	in, out := (heard+3)/4, (written+3)/4
	return &acp.Usage{InputTokens: in, OutputTokens: out, TotalTokens: in + out}
}

// tokens is what all turns that have ended have used.
func (s *session) tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.heard+3)/4 + (s.written+3)/4
}

// errCancelled ends a turn whose question was answered with "cancelled".
var errCancelled = errors.New("turn cancelled")

// turn is one prompt under way. Its fields belong to the goroutine that runs it;
// cancel may be called by anyone, any number of times.
type turn struct {
	ctx     context.Context
	cancel  context.CancelFunc
	s       *session
	conn    *acp.AgentSideConnection
	agent   *agent
	written int // bytes of text sent

	nudge   chan struct{} // has a value when the turn was steered
	steered []string      // guarded by s.mu: what it was steered by, and has not answered
	ending  bool          // guarded by s.mu: it takes nothing more
}

func newTurn(life context.Context, s *session) *turn {
	t := &turn{s: s, nudge: make(chan struct{}, 1)}
	t.ctx, t.cancel = context.WithCancel(life)
	return t
}

// send reports progress; after a cancel it fails.
func (t *turn) send(u acp.SessionUpdate) error {
	return t.conn.SessionUpdate(t.ctx, acp.SessionNotification{SessionId: t.s.id, Update: u})
}

// settle reports how a tool call ended, also after a cancel (ACP,
// "Cancellation": an agent may send updates before it answers the prompt).
func (t *turn) settle(u acp.SessionUpdate) error {
	return t.conn.SessionUpdate(context.WithoutCancel(t.ctx), acp.SessionNotification{SessionId: t.s.id, Update: u})
}

func (t *turn) say(text string) error {
	t.written += len(text)
	return t.send(acp.UpdateAgentMessageText(text))
}

func (t *turn) think(text string) error {
	t.written += len(text)
	return t.send(acp.UpdateAgentThoughtText(text))
}

// wait is a sleep that a cancel ends. Meanwhile the turn can be steered.
func (t *turn) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-t.nudge:
			if err := t.takeIn(false); err != nil {
				return err
			}
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
}
