package docs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sessionhub/docs"
)

// Every event, control frame and command has a message, and the other way
// round. The payload of each says its type.
func TestMessagesAreDocumented(t *testing.T) {
	doc, all, src := parse(t, docs.AsyncAPI()), schemas(t), readSource(t)
	messages := doc.at(t, "components", "messages")
	names := map[string][]string{}
	for _, key := range messages.keys() {
		group, name, found := strings.Cut(key, ".")
		if !found {
			name = key
		}
		names[group] = append(names[group], name)
		m := messages.at(t, key)
		if m["name"] != name {
			t.Errorf("the message %s has the name %v", key, m["name"])
		}
		ref, _ := m.at(t, "payload")["$ref"].(string)
		if got := typeOf(all.at(t, ref[strings.LastIndex(ref, "/")+1:])); got != name {
			t.Errorf("the payload of %s has the type %q", key, got)
		}
	}
	same(t, "events", names["event"], src.consts["EventType"])
	same(t, "control frames", names["control"], src.consts["ControlType"])
	same(t, "commands", names["command"], src.consts["CommandType"])
	if len(names) != 5 || names["ack"] == nil || names["error"] == nil {
		t.Errorf("the messages are %v", messages.keys())
	}

	// The hub sends the same on the WebSocket and as events; only a WebSocket takes commands.
	// The connections for many sessions send more, and take their own commands.
	var down, shared []string
	for _, key := range messages.keys() {
		switch group, _, _ := strings.Cut(key, "."); {
		case slices.Contains(onlyShared, key):
			if group == "control" && key != "control.refused" {
				shared = append(shared, key)
			}
		case group == "event", group == "control":
			down, shared = append(down, key), append(shared, key)
		}
	}
	ofSession := func(k string) bool { return slices.Contains(onlyShared, k) }
	same(t, "the WebSocket's channel", doc.at(t, "channels", "websocket", "messages").keys(), slices.DeleteFunc(messages.keys(), ofSession))
	same(t, "the event stream's channel", doc.at(t, "channels", "sse", "messages").keys(), down)
	same(t, "sendOnWebSocket", operation(t, doc, "sendOnWebSocket"), down)
	same(t, "sendOnSSE", operation(t, doc, "sendOnSSE"), down)
	same(t, "takeCommands", operation(t, doc, "takeCommands"),
		slices.DeleteFunc(messages.keys(), func(k string) bool { return !strings.HasPrefix(k, "command.") || ofSession(k) }))
	taken := []string{"command.subscribe", "command.unsubscribe", "command.auth", "command.ping"}
	same(t, "the shared WebSocket's channel", doc.at(t, "channels", "sharedWebsocket", "messages").keys(),
		slices.Concat(shared, taken, []string{"ack", "error"}))
	same(t, "sendOnSharedWebSocket", operation(t, doc, "sendOnSharedWebSocket"), shared)
	same(t, "takeSubscriptions", operation(t, doc, "takeSubscriptions"), taken)
	shared = append(shared, "control.refused") // a POST has been answered by the time
	same(t, "the shared event stream's channel", doc.at(t, "channels", "sharedSse", "messages").keys(), shared)
	same(t, "sendOnSharedSSE", operation(t, doc, "sendOnSharedSSE"), shared)
}

// onlyShared are the messages of connections for many sessions alone.
var onlyShared = []string{
	"control.ready", "control.unsubscribed", "control.refused", "command.subscribe", "command.unsubscribe",
	"control.listed", "control.unlisted", "control.list_complete",
}

// The channels are the routes of the two streams.
func TestChannelsAreRoutes(t *testing.T) {
	paths := parse(t, docs.OpenAPI()).at(t, "paths")
	doc := parse(t, docs.AsyncAPI())
	if doc["asyncapi"] != "3.0.0" {
		t.Errorf("AsyncAPI %v", doc["asyncapi"])
	}
	for _, name := range doc.at(t, "channels").keys() {
		address := fmt.Sprint(doc.at(t, "channels", name)["address"])
		paths.at(t, address, "get")
	}
}

// A union of events has each of them, under its own name.
func TestLoggedEventHasEachEvent(t *testing.T) {
	all, src := schemas(t), readSource(t)
	union := all.at(t, "LoggedEvent")
	mapping := union.at(t, "discriminator", "mapping")
	same(t, "the discriminator", mapping.keys(), src.consts["EventType"])
	var listed, mapped []string
	for _, v := range union["oneOf"].([]any) {
		listed = append(listed, v.(tree)["$ref"].(string))
	}
	for _, name := range mapping.keys() {
		ref := mapping[name].(string)
		mapped = append(mapped, ref)
		if got := typeOf(all.at(t, ref[strings.LastIndex(ref, "/")+1:])); got != name {
			t.Errorf("%s leads to a schema for %q", name, got)
		}
	}
	same(t, "LoggedEvent", listed, mapped)
}

// typeOf is the constant that a frame's schema asks of its type.
func typeOf(schema tree) string {
	parts, _ := schema["allOf"].([]any)
	for _, part := range append(parts, schema) {
		n, _ := part.(tree)
		properties, _ := n["properties"].(tree)
		kind, _ := properties["type"].(tree)
		if c, ok := kind["const"].(string); ok {
			return c
		}
	}
	return ""
}

func operation(t *testing.T, doc tree, name string) []string {
	t.Helper()
	var out []string
	list, _ := doc.at(t, "operations", name)["messages"].([]any)
	for _, v := range list {
		ref, _ := v.(tree)["$ref"].(string)
		out = append(out, ref[strings.LastIndex(ref, "/")+1:])
	}
	return out
}
