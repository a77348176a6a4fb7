package fakemodel

import (
	"encoding/json"
	"fmt"
	"strings"
)

// messagesRequest is what matters of Anthropic's POST /v1/messages
// (docs.anthropic.com/en/api/messages).
type messagesRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"` // a string or a list of blocks
	} `json:"messages"`
	Tools []struct {
		Name        string `json:"name"`
		InputSchema struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"input_schema"`
	} `json:"tools"`
}

func decodeMessages(body []byte) (Turn, error) {
	var request messagesRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return Turn{}, fmt.Errorf("decode a messages request: %w", err)
	}
	turn := Turn{Model: request.Model}
	for _, message := range request.Messages {
		if message.Role != "user" {
			continue
		}
		for _, block := range messageBlocks(message.Content) {
			switch {
			case block.Type == "tool_result":
				output := strings.Join(contentTexts(block.Content), "\n")
				turn.ToolOutputs = append(turn.ToolOutputs, ToolOutput{CallID: block.ToolUseID, Text: output})
			case userText([]string{block.Text}) != "":
				turn.UserText, turn.ToolOutputs = userText([]string{block.Text}), nil
			}
		}
	}
	for _, tool := range request.Tools {
		turn.Tools = append(turn.Tools, Tool{Name: tool.Name, Properties: properties(tool.InputSchema.Properties)})
	}
	return turn, nil
}

type messagesBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"` // of a tool's result
}

// messageBlocks reads a message's content. The order of the blocks counts: behind
// a tool's result in the same message can stand a reminder of the agent's, and
// after a cancelled turn also the user's next text.
func messageBlocks(content json.RawMessage) []messagesBlock {
	var plain string
	if json.Unmarshal(content, &plain) == nil {
		return []messagesBlock{{Type: "text", Text: plain}}
	}
	var blocks []messagesBlock
	if json.Unmarshal(content, &blocks) != nil {
		return nil // a form that no script looks at
	}
	return blocks
}

// messagesWire streams a reply as Anthropic's Messages API does: one message
// made of content blocks, each started, filled by deltas and stopped.
type messagesWire struct {
	out    *stream
	model  string
	index  int  // of the block that is being written
	open   bool // the text block has been started and not yet stopped
	reason string
}

func newMessagesWire(out *stream, turn Turn) wire {
	return &messagesWire{out: out, model: turn.Model, reason: "end_turn"}
}

func (w *messagesWire) start() {
	w.out.event("message_start", map[string]any{"message": map[string]any{
		"id": w.out.id("msg"), "type": "message", "role": "assistant", "model": w.model, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "usage": map[string]any{"input_tokens": 100, "output_tokens": 1},
	}})
}

func (w *messagesWire) thought(text string) {
	w.startBlock(map[string]any{"type": "thinking", "thinking": "", "signature": ""})
	for _, piece := range pieces(text) {
		w.delta(map[string]any{"type": "thinking_delta", "thinking": piece})
	}
	w.delta(map[string]any{"type": "signature_delta", "signature": "c2NyaXB0ZWQ="})
	w.stopBlock()
}

func (w *messagesWire) text(delta string) {
	if !w.open {
		w.open = true
		w.startBlock(map[string]any{"type": "text", "text": ""})
	}
	w.delta(map[string]any{"type": "text_delta", "text": delta})
}

func (w *messagesWire) tool(callID string, call ToolCall) {
	w.closeText()
	w.startBlock(map[string]any{"type": "tool_use", "id": "toolu_" + callID, "name": call.Name, "input": map[string]any{}})
	w.delta(map[string]any{"type": "input_json_delta", "partial_json": encode(call.Arguments)})
	w.stopBlock()
	w.reason = "tool_use"
}

func (w *messagesWire) end() {
	w.closeText()
	w.out.event("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": w.reason, "stop_sequence": nil},
		"usage": map[string]any{"output_tokens": 10},
	})
	w.out.event("message_stop", map[string]any{})
}

func (w *messagesWire) closeText() {
	if w.open {
		w.open = false
		w.stopBlock()
	}
}

func (w *messagesWire) startBlock(block map[string]any) {
	w.out.event("content_block_start", map[string]any{"index": w.index, "content_block": block})
}

func (w *messagesWire) delta(delta map[string]any) {
	w.out.event("content_block_delta", map[string]any{"index": w.index, "delta": delta})
}

func (w *messagesWire) stopBlock() {
	w.out.event("content_block_stop", map[string]any{"index": w.index})
	w.index++
}
