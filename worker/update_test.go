package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestUpdates(t *testing.T) {
	for _, test := range []struct {
		update    string
		eventType protocol.EventType
		data      string
	}{
		{`{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"hm"}}`, protocol.EventOutput,
			`{"messageId":"m1","text":"hm","kind":"thought"}`},
		{`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a\ud800b"}}`, protocol.EventOutput,
			`{"messageId":"m1","text":"a` + "\uFFFD" + `b","kind":"text"}`},
		{`{"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/png"}}`, protocol.EventAgentUpdate,
			`{"kind":"agent_message_chunk","raw":{"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/png"}}}`},
		{`{"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/jpeg"}}`, protocol.EventOutput,
			`{"messageId":"m1","text":"[image left out: the data is image/png and not image/jpeg, as its mimeType says]","kind":"text"}`},
		{`{"sessionUpdate":"tool_call","toolCallId":"t","content":[{"type":"content","content":{"type":"image","data":"PHN2Zy8+","mimeType":"image/png"}},` +
			`{"type":"content","content":{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/png"}}]}`, protocol.EventToolCall,
			`{"messageId":"m1","toolCallId":"t","content":[{"type":"content","content":{"text":"[image left out: the data is not image/png, as its mimeType says]","type":"text"}},` +
				`{"type":"content","content":{"type":"image","data":"iVBORw0KGgo=","mimeType":"image/png"}}]}`},
		{`{"sessionUpdate":"plan","entries":[{"content":"look","priority":"high","status":"pending"}]}`, protocol.EventPlan,
			`{"messageId":"m1","entries":[{"content":"look","priority":"high","status":"pending"}]}`},
		{`{"sessionUpdate":"plan","entries":[]}`, protocol.EventPlan, `{"messageId":"m1","entries":[]}`},
		{`{"sessionUpdate":"tool_call_update","toolCallId":"t","status":"completed","rawOutput":{"a":[1]},"locations":[{"path":"/x"}]}`, protocol.EventToolCall,
			`{"messageId":"m1","toolCallId":"t","status":"completed","output":{"a":[1]},"locations":[{"path":"/x"}]}`},
		{`{"sessionUpdate":"tool_call","title":"no id"}`, protocol.EventAgentUpdate,
			`{"kind":"tool_call","raw":{"sessionUpdate":"tool_call","title":"no id"}}`},
		{`{"sessionUpdate":"brand_new","x":"\uDFFF"}`, protocol.EventAgentUpdate,
			`{"kind":"brand_new","raw":{"sessionUpdate":"brand_new","x":"\ufffd"}}`},
		{`{"sessionUpdate":"deep","x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, protocol.EventAgentUpdate, ""},
		{`{"sessionUpdate":7}`, protocol.EventAgentUpdate,
			`{"kind":"unreadable","raw":{"sessionId":"acp-1","update":{"sessionUpdate":7}}}`},
	} {
		t.Run(clip(test.update, 60), func(t *testing.T) {
			h := start(t, nil)
			s := h.assign("plain")
			s.message("m1", "raw "+test.update)
			s.complete("m1")
			e := s.sinceReady()[0]
			if e.Type != test.eventType || test.data != "" && string(e.Data) != test.data {
				t.Errorf("%s %s", e.Type, clip(string(e.Data), 2000))
			}
			if test.data == "" && !strings.Contains(string(e.Data), `"raw":"{\"sessionUpdate\":\"deep\",\"x\":[[[`) {
				t.Errorf("%s %s", e.Type, clip(string(e.Data), 2000))
			}
		})
	}
}

func TestUpdatesOfAnotherSessionAndUserChunks(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", `line-raw {"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"other","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"x"}}}}`)
	s.complete("m1")
	if e := s.sinceReady()[0]; !strings.HasPrefix(string(e.Data), `{"kind":"other_session"`) {
		t.Errorf("%s %s", e.Type, e.Data)
	}
	s.message("m2", `raw {"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"x"}}`)
	s.complete("m2")
	if got := len(s.sinceReady()); got != 3 {
		t.Errorf("%d events: %s", got, h.summary())
	}
}

func TestContentBlocksArePassedOn(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.command(protocol.WorkerMessage, protocol.MessageData{MessageID: "m1", Content: json.RawMessage(`[{"type":"text","text":"stop refusal"}]`)})
	if c := s.complete("m1"); c.StopReason != protocol.StopRefusal {
		t.Errorf("complete %+v", c)
	}
	s.command(protocol.WorkerMessage, protocol.MessageData{MessageID: "m2", Content: json.RawMessage(`7`)})
	if c := s.complete("m2"); c.Error == nil || c.Error.Code != protocol.TurnAgentFailed || c.Error.Retryable {
		t.Errorf("complete %+v", c)
	}
}

func TestLongLinesAreSplitAndCut(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "line 3000000")
	s.complete("m1")
	if got := s.text("m1"); len(got) != 3000000 || strings.Trim(got, "y") != "" {
		t.Errorf("%d bytes of text", len(got))
	}
	s.message("m2", "big-tool 20000000")
	s.complete("m2")
	call := until(s, protocol.EventToolCall, "the tool call", func(c protocol.ToolCallData) bool { return c.ToolCallID == "t5" })
	if string(call.Input) != `{"path":"p"}` || !strings.Contains(string(call.Output), " bytes left out …") || len(call.Output) < 100<<10 {
		t.Errorf("tool call with input %s and output %.100s", call.Input, call.Output)
	}
}

func TestSomeGarbageIsPassedOn(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "garbage 99")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	shown := 0
	for _, e := range s.events() {
		if e.Type == protocol.EventAgentUpdate && strings.Contains(string(e.Data), "no JSON") {
			shown++
		}
	}
	if shown != garbageShown {
		t.Errorf("%d garbage lines in the log", shown)
	}
}
