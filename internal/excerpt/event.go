package excerpt

import "sessionhub/protocol"

// MaxTitle is the longest title of an event, in bytes of JSON.
const MaxTitle = 4 << 10

// ToolCall shortens a tool call to most bytes of JSON, the output first: what the
// tool was asked to do stays whole longest. Ids are left as they are.
func ToolCall(d *protocol.ToolCallData, most int) {
	d.Title, _ = Text(d.Title, min(MaxTitle, most/4), false)
	size := func() int {
		return fieldNames + 6*(len(d.MessageID)+len(d.ToolCallID)+len(d.Kind)+len(d.Status)) + encodedLen(d.Title) +
			len(d.Input) + len(d.Output) + sum(d.Content) + sum(d.Locations)
	}
	for _, cut := range []func(){
		func() { d.Output, _ = Value(d.Output, most/8, false) },
		func() { d.Content, _, _ = Items(d.Content, most/4, false) },
		func() { d.Input, _ = Value(d.Input, most/8, false) },
		func() { d.Locations, _, _ = Items(d.Locations, most/8, false) },
	} {
		if size() <= most {
			return
		}
		cut()
	}
}

// fieldNames is room for the names of an event's fields, and what stands between
// them. With it the sizes here are never too small, and nothing has to be encoded
// to be measured.
const fieldNames = 256

// Approval shortens a question to most bytes of JSON: its diffs become hunks, then
// content and input are cut. changed says that it is not as it was asked. When
// something that it asks for is missing, Truncated is set.
func Approval(d *protocol.ToolApprovalData, most int) (changed bool) {
	cut := func(did bool) {
		changed = changed || did
		d.Truncated = d.Truncated || did
	}
	var did bool
	d.Title, did = Text(d.Title, min(MaxTitle, most/4), true)
	cut(did)
	rest := fieldNames + 6*(len(d.MessageID)+len(d.InteractionID)+len(d.ToolCallID)+len(d.Kind)) + encodedLen(d.Title) + len(protocol.Marshal(d.Options))
	// What a part may keep is what the others leave, but a share at least.
	if input := len(d.Input); rest+input+sum(d.Content) > most {
		var less bool
		d.Content, did, less = Items(d.Content, max(most/2, most-rest-input), true)
		changed = changed || did
		cut(less)
	}
	if content := sum(d.Content); rest+len(d.Input)+content > most {
		d.Input, did = Value(d.Input, max(most/4, most-rest-content), true)
		cut(did)
	}
	return changed
}
