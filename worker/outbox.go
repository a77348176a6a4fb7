package worker

import (
	"sync"

	"sessionhub/protocol"
)

// outbox is the worker's end of one assignment's stream. It holds frames in their order,
// from the runner that makes them to the hub that acknowledges them. Events are numbered
// from 1 and kept until they are acknowledged. A new link sends all kept frames again.
//
// Its bound depends on the runner: a push never fails, and the runner stops reading from
// its agent while the outbox is full. So it holds at most its limit, the events of one
// agent's message, and the few events of a turn's end.
//
// All methods may be called concurrently: one runner pushes, one link writer takes, one
// link reader acknowledges. Its lock is the innermost.
type outbox struct {
	sessionID  string        // immutable
	assignment uint64        // immutable
	limit      int64         // immutable, bytes
	room       chan struct{} // signalled when a full outbox has room again; never closed

	mu       sync.Mutex
	hub      protocol.Welcome // says which events the hub takes
	items    []outItem        // all kept frames
	next     int              // items[:next] were taken for this link
	written  int              // items[:written] were written to it
	last     uint64           // n of the newest event
	acked    uint64           // n of the newest acknowledged event
	bytes    int64
	finished uint64             // newest message whose complete is acknowledged
	turn     protocol.HelloTurn // the newest message that was taken
	final    bool               // a release was pushed: nothing comes after it
	revoked  bool               // nothing is sent any more
}

// outItem is one frame.
type outItem struct {
	frame   []byte
	n       uint64 // the event's number; for done and release, the number of the event before
	event   bool
	kind    protocol.EventType
	done    uint64 // for a done: the message's seq
	release bool
}

func newOutbox(sessionID string, assignment, message uint64, limit int64) *outbox {
	return &outbox{
		sessionID: sessionID, assignment: assignment, finished: message,
		limit: limit, room: make(chan struct{}, 1),
	}
}

// begin notes the message that later events are about.
func (o *outbox) begin(message protocol.HelloTurn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn = message
}

// pushEvent numbers an event and appends it.
func (o *outbox) pushEvent(t protocol.EventType, data any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final || o.revoked {
		return
	}
	o.last++
	item := o.eventItem(protocol.WorkerEvent{
		SessionID: o.sessionID, Assignment: o.assignment, N: o.last, Type: t, Data: protocol.Marshal(data),
	})
	o.items = append(o.items, item)
	o.bytes += int64(len(item.frame))
}

// eventItem is the frame of an event. A type that the hub does not take goes out as an
// agent_update that holds it. It is called with mu held.
func (o *outbox) eventItem(ev protocol.WorkerEvent) outItem {
	if !o.hub.Takes(ev.Type) {
		if ev.Type == protocol.EventPrivateElicitation {
			ev.Data = []byte("{}") // the link went to an older hub, which would log it
		}
		ev.Data = protocol.Marshal(protocol.AgentUpdateData{Kind: string(ev.Type), Raw: ev.Data})
		ev.Type = protocol.EventAgentUpdate
	}
	return outItem{frame: protocol.NewFrame(protocol.FrameEvent, ev), n: ev.N, event: true, kind: ev.Type}
}

// meet notes the hub that the next frames go to. Another hub may take fewer types of events
// than the last one. So kept events get the form that this hub takes.
func (o *outbox) meet(hub protocol.Welcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hub = hub
	for i := range o.items {
		item := &o.items[i]
		if !item.event || hub.Takes(item.kind) {
			continue
		}
		var frame protocol.Frame
		var ev protocol.WorkerEvent
		if protocol.Decode(item.frame, &frame) != nil || protocol.Decode(frame.Data, &ev) != nil {
			continue // impossible: the worker has made it
		}
		o.bytes -= int64(len(item.frame))
		*item = o.eventItem(ev)
		o.bytes += int64(len(item.frame))
	}
}

// pushDone appends the frame that says that a message is finished.
func (o *outbox) pushDone(message uint64) {
	o.pushItem(outItem{done: message, frame: protocol.NewFrame(protocol.FrameDone, protocol.Done{
		SessionID: o.sessionID, Assignment: o.assignment, Message: message,
	})})
}

// pushRelease appends the last frame of the assignment.
func (o *outbox) pushRelease(reason string, retry bool) {
	o.pushItem(outItem{release: true, frame: protocol.NewFrame(protocol.FrameRelease, protocol.Release{
		SessionID: o.sessionID, Assignment: o.assignment, Reason: reason, Retry: retry,
	})})
}

func (o *outbox) pushItem(item outItem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final || o.revoked {
		return
	}
	item.n = o.last
	o.final = item.release
	o.items = append(o.items, item)
	o.bytes += int64(len(item.frame))
}

// full reports whether the runner should stop reading from its agent.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes >= o.limit
}

// size is how many bytes are kept.
func (o *outbox) size() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// revoke forgets everything. The number of the last event stays.
func (o *outbox) revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revoked = true
	o.items, o.next, o.written, o.bytes = nil, 0, 0, 0
	o.signalRoom()
}

// resend makes a new link send everything that is kept.
func (o *outbox) resend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next, o.written = 0, 0
}

// take appends up to limit bytes of frames that were not sent on this link, but at least
// one frame if there is one. The caller must not change the frames.
func (o *outbox) take(frames [][]byte, limit int) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for size := 0; o.next < len(o.items) && (size == 0 || size < limit); o.next++ {
		frames = append(frames, o.items[o.next].frame)
		size += len(o.items[o.next].frame)
	}
	return frames
}

// pending reports whether there is anything to send on this link.
func (o *outbox) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next < len(o.items)
}

// ack forgets the events up to n.
func (o *outbox) ack(n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n > o.last {
		n = o.last
	}
	o.acked = max(o.acked, n)
	o.trim()
}

// wrote notes that so many taken frames were written. It forgets those that need no
// acknowledgement.
func (o *outbox) wrote(frames int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// An acknowledgement can have removed some of them already.
	o.written = min(o.written+frames, o.next)
	o.trim()
}

// over reports whether the assignment has ended: its release was sent, and all its events
// are stored.
func (o *outbox) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.final && len(o.items) == 0
}

// trim is called with mu held.
func (o *outbox) trim() {
	wasFull := o.bytes >= o.limit
	drop := 0
	for drop < len(o.items) {
		item := &o.items[drop]
		if item.n > o.acked {
			break
		}
		if item.done != 0 {
			o.finished = max(o.finished, item.done)
		}
		if !item.event && drop >= o.written {
			break // done and release have no acknowledgement of their own
		}
		o.bytes -= int64(len(item.frame))
		*item = outItem{}
		drop++
	}
	o.items = o.items[drop:]
	o.next, o.written = max(0, o.next-drop), max(0, o.written-drop)
	if len(o.items) == 0 {
		o.items = nil
	}
	if wasFull && o.bytes < o.limit {
		o.signalRoom()
	}
}

func (o *outbox) signalRoom() {
	select {
	case o.room <- struct{}{}:
	default:
	}
}

// hello describes the assignment to a hub after a reconnect.
func (o *outbox) hello() (h protocol.HelloSession, alive bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h = protocol.HelloSession{
		SessionID: o.sessionID, Assignment: o.assignment, Message: o.finished, Event: o.last, Acked: o.acked,
	}
	if turn := o.turn; turn.Seq != 0 {
		h.Turn = &turn
	}
	return h, !o.revoked
}
