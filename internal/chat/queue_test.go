package chat

import (
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// queueOf is the queue after a log.
func queueOf(events ...any) messageQueue {
	q := newMessageQueue()
	for i := 0; i < len(events); i += 2 {
		kind := events[i].(protocol.EventType)
		q.event(protocol.Event{Type: kind, Data: protocol.Marshal(events[i+1])})
	}
	return q
}

func saidAs(id string) []any {
	return []any{protocol.EventMessage, protocol.MessageData{MessageID: id, Content: protocol.Marshal("text of " + id), UserID: "u"}}
}

// The queue that a person sees follows from the log.
func TestQueueOfTheLog(t *testing.T) {
	log := slices.Concat(saidAs("m1"), []any{protocol.EventStatus, protocol.StatusData{Status: protocol.StatusRunning, MessageID: "m1"}}, saidAs("m2"), saidAs("m3"), []any{
		protocol.EventMessage, protocol.MessageData{MessageID: "s1", Content: protocol.Marshal("left"), Delivery: protocol.DeliverSteer},
		protocol.EventQueue, protocol.QueueData{MessageIDs: []string{"s1", "m3"}, Held: []string{"m2"}},
		protocol.EventMessageEdited, protocol.MessageEditedData{MessageID: "m2", Content: protocol.Marshal("better")},
		protocol.EventAgentStarted, protocol.AgentStartedData{Steering: true},
	})
	q := queueOf(log...)
	want := []waitingMessage{{id: "s1", text: "left", steering: true}, {id: "m3", text: "text of m3"}, {id: "m2", text: "better", held: true}}
	if got := q.list(); !slices.Equal(got, want) || !q.steers {
		t.Errorf("it lists %+v", got)
	}
	if row := q.row(); row != "≡ 2 queued, 1 held: /queue send or /queue discard   /queue lists them" {
		t.Errorf("it says %q", row)
	}
	done := queueOf(append(log,
		protocol.EventSteered, protocol.SteeredData{MessageID: "s1", Into: "m1", Outcome: protocol.SteerInjected},
		protocol.EventComplete, protocol.CompleteData{MessageID: "m1"}, protocol.EventComplete, protocol.CompleteData{MessageID: "s1"},
		protocol.EventComplete, protocol.CompleteData{MessageID: "m2"},
		protocol.EventStatus, protocol.StatusData{Status: protocol.StatusStarting, MessageID: "m3"},
	)...)
	if done.row() != "" {
		t.Errorf("it says %q", done.row())
	}
}

// A command of the queue names a message by its number.
func TestQueueCommands(t *testing.T) {
	list := []waitingMessage{{id: "s", steering: true}, {id: "a"}, {id: "b"}, {id: "c", held: true}, {id: "d", held: true}}
	for line, want := range map[string]string{
		"":                    "",
		"hold":                `{"action":"hold"}`,
		"send":                `{"action":"release"}`,
		"discard":             `{"action":"discard"}`,
		"edit 2 better text ": `{"action":"edit","messageId":"a","content":"better text"}`,
		"remove 3":            `{"action":"remove","messageId":"b"}`,
		"now 4":               `{"action":"send_now","messageId":"c"}`,
		"up 3":                `{"action":"order","messageIds":["b","a"]}`,
		"down 4":              `{"action":"order","messageIds":["d","c"]}`,
		"up 2":                `{"action":"order","messageIds":["a","b"]}`,
		"edit 2":              "usage", "remove 9": "usage", "remove 0": "usage", "sort 1": "usage", "now": "usage",
	} {
		r, ok, err := queueChange(line, list)
		got := ""
		switch {
		case err != nil:
			got = "usage"
		case ok:
			got = string(protocol.Marshal(r))
		}
		if got != want {
			t.Errorf("/queue %s: %s, want %s", line, got, want)
		}
	}
	if !strings.Contains(queueUsage.Error(), "/queue edit N TEXT") {
		t.Error("the usage does not say how to edit")
	}
}
