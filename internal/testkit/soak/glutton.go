package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

// glutton is a user who sends more messages than one may, on all nodes at once, to
// sessions that no worker takes: all that is accepted stays queued. It finds when
// more are accepted than a session may hold, or than the user's rate allows, and
// when one that was accepted is not in the log.
type glutton struct {
	limits  Limits
	clients []*client.Client
	rng     *rand.Rand // owned by run, then by settle

	mu       sync.Mutex
	moments  []time.Time // of what was accepted
	limited  int         // refusals for the rate
	full     int         // refusals for the queue
	findings []string
}

const (
	gluttonSessions = 4
	gluttonSenders  = 3 // for each session
	// gluttonRound bounds the time in which the sessions are to be full.
	gluttonRound = 4 * time.Second
	// prompt is how long a call takes whose moment is known well enough.
	prompt = time.Second
)

func newGlutton(o Options) *glutton {
	g := &glutton{limits: o.Limits, rng: rand.New(rand.NewPCG(o.Seed, 1<<42))}
	for _, u := range o.URLs {
		g.clients = append(g.clients, &client.Client{BaseURL: u, APIKey: o.APIKey})
	}
	return g
}

func (g *glutton) client() *client.Client { return g.clients[rand.IntN(len(g.clients))] }

func (g *glutton) find(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.findings) < mostFindings {
		g.findings = append(g.findings, fmt.Sprintf(format, args...))
	}
}

// run sends too much until ctx ends, in rounds with a pause behind each.
func (g *glutton) run(ctx context.Context) {
	for ctx.Err() == nil {
		var wg sync.WaitGroup
		for range gluttonSessions {
			wg.Go(func() { g.stuff(ctx, false) })
		}
		wg.Wait()
		sleep(ctx, time.Second+time.Duration(g.rng.IntN(3000))*time.Millisecond)
	}
}

// stuff fills one session with messages, judges what it holds, and deletes it. to
// the end: it goes on until the queue is full, or ctx ends.
func (g *glutton) stuff(ctx context.Context, toTheEnd bool) {
	call, cancel := context.WithTimeout(ctx, hoarderCall)
	made, err := g.client().Create(call, protocol.CreateRequest{UserID: "glutton", Provider: g.limits.Provider}, "")
	cancel()
	if err != nil {
		return // one that was made although nobody knows it is idle, and empty
	}
	m := &meal{glutton: g, id: made.SessionID, token: made.Token, kept: make(map[string]bool)}
	round, cancel := context.WithCancel(ctx)
	if !toTheEnd {
		round, cancel = context.WithTimeout(ctx, gluttonRound)
	}
	var senders sync.WaitGroup
	for i := range gluttonSenders {
		senders.Go(func() { m.send(round, i, cancel) })
	}
	senders.Wait()
	cancel()
	m.judge(ctx, toTheEnd)
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, hoarderCall)
		err := g.client().Session(m.id, m.token).Delete(call)
		cancel()
		var refused *client.Error
		if err == nil || errors.As(err, &refused) && refused.Code == protocol.CodeNotFound {
			return
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// meal is one session of the glutton's.
type meal struct {
	glutton   *glutton
	id, token string

	mu   sync.Mutex
	kept map[string]bool // accepted (true), or nobody knows (false)
	full int
}

// send sends messages of its own until ctx ends. It ends the round when the queue
// is full.
func (m *meal) send(ctx context.Context, sender int, done func()) {
	g := m.glutton
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d-%d", sender, n)
		call, cancel := context.WithTimeout(ctx, hoarderCall)
		began := time.Now()
		_, err := g.client().Session(m.id, m.token).Message(call, "more", id)
		took := time.Since(began)
		cancel()
		var refused *client.Error
		m.mu.Lock()
		switch known := errors.As(err, &refused); {
		case err == nil:
			m.kept[id] = true
		case !known || refused.Status/100 == 5:
			m.kept[id] = false
		case refused.Code == protocol.CodeQueueFull:
			m.full++
			done()
		case m.lost(refused):
			done()
		}
		m.mu.Unlock()
		if err == nil && took < prompt {
			g.accepted(began.Add(took))
			continue
		}
		if refused != nil && refused.Status/100 == 4 && !m.lost(refused) {
			g.refused(refused)
		}
		sleep(ctx, 50*time.Millisecond+rand.N(50*time.Millisecond))
	}
}

// lost reports whether the store has lost the session, which was there.
func (m *meal) lost(e *client.Error) bool {
	return m.glutton.limits.Resets != nil && e.Code == protocol.CodeNotFound
}

func (g *glutton) accepted(at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moments = append(g.moments, at)
}

func (g *glutton) refused(e *client.Error) {
	switch e.Code {
	case protocol.CodeRateLimited:
		g.mu.Lock()
		g.limited++
		g.mu.Unlock()
	case protocol.CodeQueueFull:
		g.mu.Lock()
		g.full++
		g.mu.Unlock()
	case protocol.CodeRequestTimeout: // it was on a link that froze in the middle of it
	default:
		g.find("a message of the glutton was refused: %v", e)
	}
}

// judge compares what was accepted with the limit and with the log.
func (m *meal) judge(ctx context.Context, toTheEnd bool) {
	g := m.glutton
	m.mu.Lock()
	accepted := 0
	for _, sure := range m.kept {
		if sure {
			accepted++
		}
	}
	full := m.full
	m.mu.Unlock()
	if accepted > g.limits.Queued && g.limits.Resets == nil {
		g.find("the session %s accepted %d messages; the limit of its queue is %d", m.id, accepted, g.limits.Queued)
	}
	logged := make(map[string]bool)
	for {
		call, cancel := context.WithTimeout(ctx, hoarderCall)
		page, err := g.client().Session(m.id, m.token).History(call, "", 0)
		cancel()
		if ctx.Err() != nil {
			return
		}
		var refused *client.Error
		if errors.As(err, &refused) && m.lost(refused) {
			return
		}
		if err != nil {
			sleep(ctx, 200*time.Millisecond)
			continue
		}
		record := NewRecord("the session " + m.id)
		for _, raw := range page.Events {
			record.Frame(raw)
		}
		for _, finding := range record.Findings() {
			g.find("%s", finding)
		}
		for id := range record.turns {
			logged[id] = true
		}
		break
	}
	if len(logged) > g.limits.Queued {
		g.find("the session %s holds %d messages; the limit of its queue is %d", m.id, len(logged), g.limits.Queued)
	}
	if full > 0 && toTheEnd && len(logged) != g.limits.Queued {
		g.find("the queue of the session %s is full with %d messages; the limit is %d", m.id, len(logged), g.limits.Queued)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, sure := range m.kept {
		if sure && !logged[id] && g.limits.Resets == nil {
			g.find("the message %s of the session %s was accepted and is not in its log", id, m.id)
		}
	}
}

// settle fills one more session, which must take what the limit allows, and judges
// the rate.
func (g *glutton) settle(ctx context.Context) []string {
	g.stuff(ctx, true)
	g.mu.Lock()
	moments := g.moments
	g.mu.Unlock()
	// A call counts at any moment that it took.
	burst := g.limits.MessageBurst + int(g.limits.MessageRate*prompt.Seconds())
	var resets []time.Time
	if g.limits.Resets != nil {
		resets = g.limits.Resets()
	}
	if n := overRate(moments, g.limits.MessageRate, burst, resets); n > 0 {
		g.find("%d messages more were accepted than the rate allows (%d in all)", n, len(moments))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.findings
}
