package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Random sessions change. Notices are lost, reordered and doubled; the store is slow and
// fails at times; readers are slow, come and go. Two seconds behind the last change, every
// reader's picture equals a listing, and every open question was told.
func TestFeedModel(t *testing.T) {
	const seeds = 60
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).run() })
		})
	}
}

type model struct {
	*world
	rand *rand.Rand // of the test's goroutine
	n    int
	live map[string]*modelled

	mu   sync.Mutex
	dice *rand.Rand // of all goroutines
}

// modelled is a session as the model drives it.
type modelled struct {
	turn      string
	turns     int
	questions []string
	asked     time.Time // the newest open question
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{world: newWorld(t), rand: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2)), live: make(map[string]*modelled)}
	m.store.spoilBy(func() error {
		time.Sleep(time.Duration(m.roll(60)) * time.Millisecond)
		if m.roll(20) == 0 {
			return store.ErrUnreachable
		}
		return nil
	})
	m.store.watch = m.faulty
	return m
}

func (m *model) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dice.IntN(n)
}

// faulty is a watch whose notices are lost, doubled and late. A loss is told within half a
// second.
func (m *model) faulty(user string, notify func(store.UserNotice)) func() {
	var mu sync.Mutex
	stopped := false
	tell := func(n store.UserNotice) {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			notify(n)
		}
	}
	var wg sync.WaitGroup
	later := func(n store.UserNotice, most int) {
		wait := time.Duration(m.roll(most)) * time.Millisecond
		wg.Go(func() {
			time.Sleep(wait)
			tell(n)
		})
	}
	stop := m.store.Store.WatchUser(user, func(n store.UserNotice) {
		switch m.roll(6) {
		case 0:
			later(store.UserNotice{Lost: true}, 500)
		case 1:
			later(n, 300)
			tell(n)
		case 2:
			later(n, 300)
		default:
			tell(n)
		}
	})
	return func() {
		stop()
		mu.Lock()
		stopped = true
		mu.Unlock()
	}
}

func (m *model) run() {
	ctx, cancel := context.WithCancel(m.ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		m.stop()
	}()
	for range m.rand.IntN(5) {
		m.step()
	}
	var clients []*client
	begin := func() {
		c := m.open("u1")
		most := 1 << m.rand.IntN(16)
		slow := m.rand.IntN(3) == 0
		c.slow = true
		wg.Go(func() {
			defer c.reader.Close()
			c.follow(ctx, most, func() {
				if slow {
					time.Sleep(time.Duration(m.roll(20)) * time.Millisecond)
				}
			})
		})
		clients = append(clients, c)
	}
	begin()
	for range 4 {
		if m.rand.IntN(2) == 0 {
			begin()
		}
		for range m.rand.IntN(40) {
			m.step()
			if m.rand.IntN(3) == 0 {
				time.Sleep(time.Duration(m.rand.IntN(400)) * time.Millisecond)
			}
		}
		// Within 2 s where the store answers at once. Here it is slow, fails, and tells of a
		// loss half a second late.
		time.Sleep(2*time.Second + 500*time.Millisecond)
		synctest.Wait()
		want := m.listing("u1")
		for _, c := range clients {
			c.equals(want)
			m.told(c)
		}
		if m.t.Failed() {
			return
		}
	}
}

// told checks that a client knows of each open question since it was asked.
func (m *model) told(c *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range m.live {
		if len(s.questions) > 0 && c.needed[id].Before(s.asked) {
			m.t.Errorf("%s: a question from %s was not told; the last was told at %s", id, s.asked, c.needed[id])
		}
	}
}

func (m *model) pick() (id string, s *modelled) {
	at := m.rand.IntN(len(m.live))
	for i := range m.n + 1 { // in an order that the seed alone decides
		id = fmt.Sprint("s", i)
		if s = m.live[id]; s == nil {
			continue
		}
		if at == 0 {
			return id, s
		}
		at--
	}
	panic("unreachable")
}

func (m *model) step() {
	if len(m.live) == 0 || m.rand.IntN(8) == 0 {
		m.n++
		id, user := fmt.Sprint("s", m.n), "u1"
		if m.rand.IntN(8) == 0 {
			m.create("other"+id, "u2")
			return
		}
		m.create(id, user)
		m.live[id] = &modelled{}
		return
	}
	id, s := m.pick()
	switch m.rand.IntN(10) {
	case 0:
		m.change(id, session.InDelete{})
		delete(m.live, id)
	case 1:
		if err := m.store.Delete(m.ctx, id); err != nil {
			m.t.Fatal(err)
		}
		delete(m.live, id)
	case 2, 3:
		m.change(id, session.InRename{Title: fmt.Sprint("title ", m.rand.IntN(5))})
	default:
		m.work(id, s)
	}
}

// work goes on with a turn.
func (m *model) work(id string, s *modelled) {
	switch {
	case s.turn == "":
		s.turns++
		s.turn = fmt.Sprint("m", s.turns)
		m.turn(id, s.turn)
	case len(s.questions) > 0 && m.rand.IntN(2) == 0:
		m.change(id, session.InWithdraw{InteractionID: s.questions[0]})
		s.questions = s.questions[1:]
		if m.rand.IntN(2) == 0 { // another one at once
			m.ask(id, s)
		}
	case len(s.questions) < 3 && m.rand.IntN(2) == 0:
		m.ask(id, s)
	default:
		m.end(id, s.turn)
		s.turn, s.questions = "", nil
	}
}

func (m *model) ask(id string, s *modelled) {
	s.turns++
	q := fmt.Sprint("q", s.turns)
	s.asked = time.Now()
	m.change(id, question(s.turn, q))
	s.questions = append(s.questions, q)
}
