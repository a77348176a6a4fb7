package fakemodel

import (
	"encoding/json"
	"fmt"
	"strings"
)

// chatRequest is what matters of OpenAI's POST /v1/chat/completions
// (platform.openai.com/docs/api-reference/chat), which many vendors have copied.
type chatRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role       string          `json:"role"`
		Content    json.RawMessage `json:"content"` // a string or a list of parts
		ToolCallID string          `json:"tool_call_id"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name       string `json:"name"`
			Parameters struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

func decodeChat(body []byte) (Turn, error) {
	var request chatRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return Turn{}, fmt.Errorf("decode a chat completions request: %w", err)
	}
	turn := Turn{Model: request.Model}
	for _, message := range request.Messages {
		texts := contentTexts(message.Content)
		switch message.Role {
		case "user":
			if text := userText(texts); text != "" {
				turn.UserText, turn.ToolOutputs = text, nil
			}
		case "tool":
			turn.ToolOutputs = append(turn.ToolOutputs, ToolOutput{CallID: message.ToolCallID, Text: strings.Join(texts, "\n")})
		}
	}
	for _, tool := range request.Tools {
		turn.Tools = append(turn.Tools, Tool{Name: tool.Function.Name, Properties: properties(tool.Function.Parameters.Properties)})
	}
	return turn, nil
}

// chatWire streams a reply as chat completions do: chunks that carry a piece of
// the message, one that tells why it ended, and a mark.
type chatWire struct {
	out    *stream
	model  string
	reason string
}

func newChatWire(out *stream, turn Turn) wire {
	return &chatWire{out: out, model: turn.Model, reason: "stop"}
}

func (w *chatWire) start() { w.chunk(map[string]any{"role": "assistant", "content": ""}, nil) }

// thought uses the field that DeepSeek began and others read.
func (w *chatWire) thought(text string) {
	for _, piece := range pieces(text) {
		w.chunk(map[string]any{"reasoning_content": piece}, nil)
	}
}

func (w *chatWire) text(delta string) { w.chunk(map[string]any{"content": delta}, nil) }

func (w *chatWire) tool(callID string, call ToolCall) {
	w.chunk(map[string]any{"tool_calls": []any{map[string]any{
		"index": 0, "id": callID, "type": "function",
		"function": map[string]any{"name": call.Name, "arguments": encode(call.Arguments)},
	}}}, nil)
	w.reason = "tool_calls"
}

func (w *chatWire) end() {
	w.chunk(map[string]any{}, w.reason)
	w.out.data(encode(w.envelope([]any{}, map[string]any{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})))
	w.out.data("[DONE]")
}

func (w *chatWire) chunk(delta map[string]any, reason any) {
	w.out.data(encode(w.envelope([]any{map[string]any{"index": 0, "delta": delta, "finish_reason": reason}}, nil)))
}

func (w *chatWire) envelope(choices []any, usage any) map[string]any {
	return map[string]any{
		"id": w.out.id("chatcmpl"), "object": "chat.completion.chunk", "created": 1, "model": w.model,
		"choices": choices, "usage": usage,
	}
}
