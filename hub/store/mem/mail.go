package mem

import (
	"context"
	"slices"
	"sync"
)

// mail is a store.Mail.
type mail struct {
	mu    sync.Mutex
	boxes map[string][]*box // the slices are replaced, never changed
}

// box is one call of OpenBox. Its mutex is held while deliver runs.
type box struct {
	mu      sync.Mutex
	deliver func([]byte) // nil once it is closed
}

// SendMail implements store.Mail.
func (m *mail) SendMail(_ context.Context, name string, letter []byte) error {
	m.mu.Lock()
	open := m.boxes[name]
	m.mu.Unlock()
	for _, b := range open {
		b.mu.Lock()
		if b.deliver != nil {
			b.deliver(letter)
		}
		b.mu.Unlock()
	}
	return nil
}

// OpenBox implements store.Mail.
func (m *mail) OpenBox(name string, deliver func([]byte)) func() {
	b := &box{deliver: deliver}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes == nil {
		m.boxes = make(map[string][]*box)
	}
	m.boxes[name] = append(slices.Clip(m.boxes[name]), b)
	return func() {
		b.mu.Lock()
		b.deliver = nil
		b.mu.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(m.boxes[name]), func(o *box) bool { return o == b })
		if len(left) == 0 {
			delete(m.boxes, name)
		} else {
			m.boxes[name] = left
		}
	}
}
