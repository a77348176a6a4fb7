package transcript

import (
	"slices"

	"sessionhub/protocol"
)

// queue is what a maker does with messages that wait.
type queue struct{ *Maker }

// onEdited gives a waiting message its new content. A message that was written before gets
// an entry of its own.
func (m queue) onEdited(d protocol.MessageEditedData, time string) {
	edited := message{Type: typeMessage, MessageID: d.MessageID, Content: blocksOf(d.Content), EditedBy: d.UserID, EditedAt: time}
	i := m.waitingAt(d.MessageID)
	if i < 0 {
		edited.UserID, edited.Time = d.UserID, time
		m.write(edited)
		return
	}
	edited.UserID, edited.Time = m.waiting[i].message.UserID, m.waiting[i].message.Time
	m.waiting[i].message, m.waiting[i].size = edited, sizeOf(edited)
	m.boundWaiting()
}

// onQueue puts the waiting messages into the order of the queue. Those that it does not
// name are over, or about to run.
func (m queue) onQueue(d protocol.QueueData) {
	order := make(map[string]int)
	for i, id := range slices.Concat(d.MessageIDs, d.Held) {
		order[id] = i + 1
	}
	slices.SortStableFunc(m.waiting, func(a, b waiting) int { return order[a.message.MessageID] - order[b.message.MessageID] })
}

// onSteered writes a message where the running turn took it in.
func (m queue) onSteered(d protocol.SteeredData) {
	if d.Outcome != protocol.SteerInjected {
		return // it comes with its own turn
	}
	m.enter(d.Into)
	if i := m.waitingAt(d.MessageID); i >= 0 {
		w := m.waiting[i].message
		w.Into = d.Into
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.write(w)
	}
	if len(m.steered) < maxHeldCount {
		m.steered = append(m.steered, d.MessageID)
	}
}

// tookIn reports whether the completion is that of a message that a turn took in. That one
// has no end of its own.
func (m queue) tookIn(messageID string) bool {
	i := slices.Index(m.steered, messageID)
	if i >= 0 {
		m.steered = slices.Delete(m.steered, i, i+1)
	}
	return i >= 0
}

// sizeOf is about how many bytes a message holds.
func sizeOf(w message) (size int) {
	for _, b := range w.Content {
		if size += 100; b.Text != nil {
			size += len(*b.Text)
		}
	}
	return size
}

// boundWaiting writes the oldest waiting messages if more is held back than fits.
func (m queue) boundWaiting() {
	size := 0
	for _, w := range m.waiting {
		size += w.size
	}
	for len(m.waiting) > maxHeldCount || size > maxHeld && len(m.waiting) > 0 {
		first := m.waiting[0]
		m.waiting, size = m.waiting[1:], size-first.size
		m.write(first.message)
		if first.done != nil {
			m.write(*first.done)
		}
	}
}
