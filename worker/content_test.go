package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// An image under a wrong name never reaches the agent, also when an older hub has
// let it through: the session goes on.
func TestMislabelledImageIsRefused(t *testing.T) {
	const block = `[{"type":"text","text":"hi"},{"type":"image","mimeType":"image/jpeg","data":"iVBORw0KGgo="}]`
	h := start(t, nil, "sees")
	s := h.assign("sees")
	s.command(protocol.WorkerMessage, protocol.MessageData{MessageID: "m1", Content: json.RawMessage(block), UserID: "u"})
	c := s.complete("m1")
	if errorCode(c) != protocol.TurnAgentFailed || c.Error.Retryable || !strings.Contains(c.Error.Message, "content[1]: the data is image/png and not image/jpeg") {
		t.Errorf("complete %s", protocol.Marshal(c))
	}
	s.command(protocol.WorkerMessage, protocol.MessageData{
		MessageID: "m2", Content: json.RawMessage(strings.Replace(block, "jpeg", "png", 1)), UserID: "u",
	})
	if c := s.complete("m2"); c.Error != nil || s.text("m2") != "hello" {
		t.Errorf("complete %s, text %q", protocol.Marshal(c), s.text("m2"))
	}
}
