package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// update waits for an agent_update of a kind.
func (s *scene) update(kind string) protocol.AgentUpdateData {
	s.h.t.Helper()
	return until(s, protocol.EventAgentUpdate, kind, func(u protocol.AgentUpdateData) bool { return u.Kind == kind })
}

func TestNoticeOfAgent(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "tell notices")
	s.complete("m1")
	s.message("m2", "client")
	s.complete("m2")
	if got := s.text("m2"); !strings.Contains(got, `"notices":{}`) {
		t.Errorf("the agent does not know that it may send notices: %s", got)
	}
	n := s.notice(protocol.NoticeAgent)
	if n.Severity != protocol.SeverityWarning || n.Title != "Context is low" || n.Description != "5 % are left" || string(n.Data) != `{"left":5}` {
		t.Errorf("notice %+v %s", n, n.Data)
	}
	severe := until(s, protocol.EventNotice, "the second one", func(n protocol.NoticeData) bool { return n.Title == "As bad as it gets" })
	if severe.Severity != protocol.SeverityInfo {
		t.Errorf("an unknown severity became %q", severe.Severity)
	}
	// Without a title it is no notice.
	if u := s.update("notice"); string(u.Raw) != `{"sessionUpdate":"notice","severity":"info","title":""}` {
		t.Errorf("update %s", u.Raw)
	}
	// An agent does not speak in the worker's name.
	s.update("agent.history_lost")
	s.update("agent.agent_started")
	for _, e := range s.events() {
		if e.Type == protocol.EventNotice && decodeTo[protocol.NoticeData](t, e.Data).Kind != protocol.NoticeAgent {
			t.Errorf("the agent speaks as the worker: %s", e.Data)
		}
	}
}

// A hub of an earlier version gets what it does not know in a form that it takes.
func TestEarlierHubGetsUpdates(t *testing.T) {
	h := prepare(t, nil)
	h.early = true
	h.run()
	s := h.assign("plain")
	s.message("m1", "tell notices")
	s.complete("m1")
	checkEarlyNotice(t, s)
	s.message("m2", "client")
	s.complete("m2")
	if got := s.text("m2"); got != `{"fs":{"readTextFile":false,"writeTextFile":false},"terminal":false}` {
		t.Errorf("the agent is told that it may send what the hub does not take: %s", got)
	}
}

func checkEarlyNotice(t *testing.T, s *scene) {
	t.Helper()
	n := decodeTo[protocol.NoticeData](t, s.update("notice").Raw)
	if n.Kind != protocol.NoticeAgent || n.Title != "Context is low" {
		t.Errorf("notice %+v", n)
	}
	for _, e := range s.events() {
		if !(protocol.Welcome{}).Takes(e.Type) {
			t.Errorf("an earlier hub gets %s %s", e.Type, e.Data)
		}
	}
}

// The link to a new hub broke with events that nobody had acknowledged. The hub of the next
// link was of an earlier version, refused them, and they were lost.
func TestNextHubIsEarlier(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	h.mu.Lock()
	h.silent = true
	h.mu.Unlock()
	s.message("m1", "tell notices")
	s.complete("m1")
	h.mu.Lock()
	h.silent, h.early = false, true
	clear(h.events) // the next hub has none of them
	hellos, conn := len(h.hellos), h.conn
	h.mu.Unlock()
	_ = conn.Close()
	h.wait("another link", func() bool { return len(h.hellos) > hellos })
	s.complete("m1")
	checkEarlyNotice(t, s)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.repeats > 0 {
		t.Errorf("%d events were stored before", h.repeats)
	}
}

// The outbox counts its bytes also when it gives events another form.
func TestOutboxCountsBytesOfAnotherForm(t *testing.T) {
	o := newOutbox("s1", 1, 0, 1<<20)
	o.meet(protocol.Welcome{Events: protocol.WorkerEvents()})
	o.pushEvent(protocol.EventNotice, protocol.NoticeData{Kind: "agent", Severity: protocol.SeverityInfo, Title: "t"})
	o.pushEvent(protocol.EventOutput, protocol.OutputData{Text: "x"})
	o.pushDone(1)
	o.meet(protocol.Welcome{})
	var size int64
	var types []protocol.EventType
	for _, frame := range o.take(nil, 1<<20) {
		size += int64(len(frame))
		var f protocol.Frame
		var ev protocol.WorkerEvent
		if json.Unmarshal(frame, &f) == nil && f.Type == protocol.FrameEvent && json.Unmarshal(f.Data, &ev) == nil {
			types = append(types, ev.Type)
		}
	}
	if size != o.size() {
		t.Errorf("%d bytes are counted, %d are there", o.size(), size)
	}
	if len(types) != 2 || types[0] != protocol.EventAgentUpdate || types[1] != protocol.EventOutput {
		t.Errorf("types %v", types)
	}
	o.wrote(3)
	o.ack(2)
	if o.size() != 0 {
		t.Errorf("%d bytes are left", o.size())
	}
}
