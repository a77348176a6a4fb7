package fakemodel

import (
	"encoding/json"
	"fmt"
)

// geminiRequest is what matters of Google's POST
// /v1beta/models/MODEL:streamGenerateContent (ai.google.dev/api/generate-content).
// The model stands in the path only, so that a Turn of it names none.
type geminiRequest struct {
	Contents []struct {
		Role  string       `json:"role"`
		Parts []geminiPart `json:"parts"`
	} `json:"contents"`
	Tools []struct {
		Functions []struct {
			Name   string       `json:"name"`
			Schema geminiSchema `json:"parametersJsonSchema"`
			Older  geminiSchema `json:"parameters"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
}

type geminiSchema struct {
	Properties map[string]json.RawMessage `json:"properties"`
}

type geminiPart struct {
	Text     string `json:"text"`
	Response *struct {
		ID       string          `json:"id"`
		Response json.RawMessage `json:"response"`
	} `json:"functionResponse"`
}

func decodeGemini(body []byte) (Turn, error) {
	var request geminiRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return Turn{}, fmt.Errorf("decode a generate content request: %w", err)
	}
	var turn Turn
	for _, content := range request.Contents {
		if content.Role != "user" {
			continue
		}
		for _, part := range content.Parts {
			if part.Response != nil {
				turn.ToolOutputs = append(turn.ToolOutputs, ToolOutput{CallID: part.Response.ID, Text: geminiOutput(part.Response.Response)})
			} else if text := userText([]string{part.Text}); text != "" {
				turn.UserText, turn.ToolOutputs = text, nil
			}
		}
	}
	for _, tools := range request.Tools {
		for _, function := range tools.Functions {
			schema := function.Schema
			if schema.Properties == nil {
				schema = function.Older
			}
			turn.Tools = append(turn.Tools, Tool{Name: function.Name, Properties: properties(schema.Properties)})
		}
	}
	return turn, nil
}

// geminiOutput is the text of a tool's result: an object with the output or the
// error.
func geminiOutput(raw json.RawMessage) string {
	var result struct {
		Output string `json:"output"`
		Error  string `json:"error"`
	}
	_ = json.Unmarshal(raw, &result) // another form has no text
	return result.Output + result.Error
}

// geminiWire streams a reply as Google's API does: each event is a whole response
// with a part of the answer.
type geminiWire struct{ out *stream }

func newGeminiWire(out *stream, _ Turn) wire { return &geminiWire{out: out} }

func (w *geminiWire) start() {}

func (w *geminiWire) thought(text string) {
	for _, piece := range pieces(text) {
		w.part(map[string]any{"text": piece, "thought": true}, "")
	}
}

func (w *geminiWire) text(delta string) { w.part(map[string]any{"text": delta}, "") }

func (w *geminiWire) tool(callID string, call ToolCall) {
	w.part(map[string]any{"functionCall": map[string]any{"id": callID, "name": call.Name, "args": call.Arguments}}, "")
}

func (w *geminiWire) end() { w.part(map[string]any{"text": ""}, "STOP") }

func (w *geminiWire) part(part map[string]any, reason string) {
	candidate := map[string]any{"index": 0, "content": map[string]any{"role": "model", "parts": []any{part}}}
	if reason != "" {
		candidate["finishReason"] = reason
	}
	w.out.data(encode(map[string]any{
		"candidates":    []any{candidate},
		"usageMetadata": map[string]any{"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110},
	}))
}
