package hub_test

import (
	"encoding/json"
	"testing/synctest"

	"sessionhub/protocol"
)

// obey has the workers do at once what they were told: run their messages to the
// end, and close agents. It returns the messages that were run, in order, when
// nobody has anything to do any more.
func (w *world) obey(workers ...*peer) (ran []string) {
	w.t.Helper()
	over := make(map[string]uint64) // by session: the assignment that ended
	for range 10_000 {
		synctest.Wait()
		told := false
		for _, p := range workers {
			for _, f := range p.take() {
				told = true
				if id := p.act(f, over); id != "" {
					ran = append(ran, id)
				}
			}
		}
		if !told {
			return ran
		}
	}
	w.t.Fatal("the workers are told something without end")
	return nil
}

func (p *peer) take() []protocol.Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.frames
	p.frames = nil
	return frames
}

// act does what one frame asks for, and names the message that it ran. What comes
// behind a close is not for this worker any more.
func (p *peer) act(f protocol.Frame, over map[string]uint64) (ran string) {
	if f.Type != protocol.FrameCommand {
		return ""
	}
	var c protocol.WorkerCommand
	var m struct{ MessageID string }
	if err := protocol.Decode(f.Data, &c); err != nil {
		p.w.t.Fatal(err)
	}
	if err := json.Unmarshal(c.Data, &m); err != nil {
		p.w.t.Fatal(err)
	}
	if over[c.SessionID] >= c.Assignment {
		return ""
	}
	switch c.Type {
	case protocol.WorkerMessage:
		p.complete(c.SessionID, c.Assignment, p.w.load(c.SessionID).N+1, m.MessageID)
		p.finish(c.SessionID, c.Assignment, c.Seq)
		return m.MessageID
	case protocol.WorkerClose:
		over[c.SessionID] = c.Assignment
		p.send(protocol.FrameRelease, protocol.Release{SessionID: c.SessionID, Assignment: c.Assignment, Reason: protocol.ReleaseClosed, Retry: true})
	}
	return ""
}
