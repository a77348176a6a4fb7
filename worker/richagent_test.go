package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// A rich agent has options of all kinds. Its traits say how it treats them:
//
//	older       modes and models in the older form
//	refuses     answers each change with an error
//	stays       answers each change as if it were made, and makes none
//	mute        answers no change
//	unruly      goes back to "yolo" whenever it was taken out of it
//	starts-yolo begins in a mode that nobody has allowed
//	thousand    a thousand options and models
//	wrong       among them, options that break every rule
func (a *scripted) richSession() string {
	if a.set == nil {
		a.set = map[string]any{"mode": "ask", "model": "small", "effort": "low", "fast": false, "grants": "some"}
		if a.is("starts-yolo") {
			a.set["mode"] = "yolo"
		}
	}
	return `{"sessionId":"acp-1",` + a.richOptions() + `}`
}

func (a *scripted) richOptions() string {
	a.mu.Lock()
	set := maps.Clone(a.set)
	a.mu.Unlock()
	if a.is("older") {
		return fmt.Sprintf(`"modes":{"currentModeId":%q,"availableModes":[{"id":"ask","name":"Ask"},{"id":"plan","name":"Plan"},{"id":"auto","name":"Auto"},{"id":"yolo","name":"All"}]},`+
			`"models":{"currentModelId":%q,"availableModels":[{"modelId":"small","name":"S"},{"modelId":"large","name":"L"}]}`, set["mode"], set["model"])
	}
	list := []map[string]any{
		{"id": "model", "name": "Model", "category": "model", "type": "select", "currentValue": set["model"], "options": []any{value("small"), value("large"), value("yolo")}},
		{"id": "effort", "name": "Effort", "category": "thought_level", "type": "select", "currentValue": set["effort"], "options": []any{
			map[string]any{"group": "g", "name": "Usual", "options": []any{value("low"), value("high")}},
		}},
		{"id": "approval", "name": "Mode", "category": "mode", "type": "select", "currentValue": set["mode"], "options": []any{value("ask"), value("plan"), value("auto"), value("yolo")}},
		{"id": "fast", "name": "Fast", "type": "boolean", "currentValue": set["fast"]},
		{"id": "grants", "name": "Grants", "category": "other", "type": "select", "currentValue": set["grants"], "options": []any{value("some"), value("yolo")}},
	}
	if a.is("thousand") {
		for i := range 1000 {
			list = append(list, map[string]any{"id": fmt.Sprint("o", i), "name": strings.Repeat("n", 100), "type": "boolean", "currentValue": true})
		}
		var models []any
		for i := range 1000 {
			models = append(models, value(fmt.Sprint("model-", i)))
		}
		list[0]["options"] = append(list[0]["options"].([]any), models...)
	}
	raw, _ := json.Marshal(list)
	if a.is("wrong") {
		raw = append(raw[:len(raw)-1], `,7,null,{"id":""},{"id":"a","type":"select","currentValue":7},{"id":"b","type":"colour","currentValue":"red"},`+
			`{"id":"c","type":"boolean","currentValue":"true"},{"id":"model","type":"boolean","currentValue":true},{"id":"d\u0007","type":"boolean","currentValue":true},`+
			`{"id":"e","type":"select","currentValue":"x","options":{"x":1}},{"id":"f","type":"select","currentValue":"x","options":[{"value":7},{"value":"x"},{"value":"x"},"y"]}]`...)
	}
	return `"configOptions":` + string(raw)
}

func value(id string) map[string]any { return map[string]any{"value": id, "name": strings.ToUpper(id)} }

// setOption answers a change. It reports whether it did.
func (a *scripted) setOption(id json.RawMessage, config, kind string, v any) bool {
	if config == "approval" {
		config = "mode"
	}
	if on, boolean := v.(bool); boolean != (kind == "boolean") {
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"a boolean of the type %q: %v"}}`, id, kind, on)
		return true
	}
	a.mu.Lock()
	was := a.set["mode"]
	if !a.is("refuses") && !a.is("stays") {
		a.set[config] = v
	}
	a.mu.Unlock()
	switch {
	case a.is("mute"):
	case a.is("refuses"):
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"not today"}}`, id)
	case a.is("older"):
		a.print(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	default:
		a.print(`{"jsonrpc":"2.0","id":%s,"result":{%s}}`, id, a.richOptions())
	}
	if a.is("unruly") && was == "yolo" && config == "mode" {
		a.become("yolo")
	}
	return true
}

// become is the agent's own change of its mode.
func (a *scripted) become(mode string) {
	a.mu.Lock()
	a.set["mode"] = mode
	a.mu.Unlock()
	if a.is("older") {
		a.update(fmt.Sprintf(`{"sessionUpdate":"current_mode_update","currentModeId":%q}`, mode))
		return
	}
	a.update(`{"sessionUpdate":"config_option_update",` + a.richOptions() + `}`)
}

// richPrompt changes the mode, or says the values.
func (a *scripted) richPrompt(words []string) {
	if words[0] == "become" {
		a.become(words[1])
		return
	}
	a.mu.Lock()
	raw, _ := json.Marshal(a.set)
	a.mu.Unlock()
	a.say(string(raw))
}
